//! How a device stands with its broker.

use std::time::{Duration, Instant};

use crate::error::ConnectError;
use crate::outbox::OutboxCounts;
use crate::renewal::{EnrolError, TrustBundleError};

/// How a device stands. A snapshot: it may have changed since.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The connection.
    pub link: Link,
    /// How often it has been connected.
    pub connections: u32,
    /// Messages accepted by `publish` and not acknowledged yet.
    pub unacknowledged: usize,
    /// Messages that were acknowledged or, at quality of service 0, written. This and what else is
    /// counted here begins at zero with the device, and again after 2³²: whoever draws a curve asks
    /// from time to time and takes the difference.
    pub published: u32,
    /// Messages that were accepted and will not arrive, as their receipts have told.
    pub failed: u32,
    /// Messages that came.
    pub received: u32,
    /// What became of messages that could not be accepted or kept.
    pub outbox: OutboxCounts,
    /// Messages of quality of service 0 that came and were dropped, because their subscription was
    /// not read and its queue was full.
    pub dropped: u32,
    /// Messages that came and were dropped, because nobody had subscribed to them.
    pub unclaimed: u32,
    /// The certificate, and its renewal.
    pub certificate: CertificateStatus,
}

/// How it stands with the certificate of a device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CertificateStatus {
    /// The last second of its validity, since 1970.
    pub not_after: Duration,
    /// When it is to be renewed next, since 1970; `None` where it is not renewed.
    pub next_renewal: Option<Duration>,
    /// How often it was renewed since the device was connected.
    pub renewals: u32,
    /// What went wrong last, unless it was renewed since.
    pub last_failure: Option<EnrolError>,
    /// Why the trust bundle was not followed at the last renewal, where one is.
    pub bundle_failure: Option<TrustBundleError>,
}

/// The connection of a device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Link {
    /// An attempt to connect is under way.
    Connecting,
    /// Connected.
    Connected {
        /// Since when.
        since: Instant,
        /// Whether the broker had kept the session.
        resumed: bool,
    },
    /// Not connected; the next attempt is to come.
    Waiting {
        /// When.
        until: Instant,
        /// How many attempts have failed since a connection lasted.
        attempts: u32,
        /// What went wrong last.
        cause: ConnectError,
    },
    /// Disconnected, as the application wished.
    Disconnected,
    /// Given up.
    Stopped {
        /// Why.
        cause: ConnectError,
    },
}

impl Status {
    pub(crate) fn new(not_after: Duration) -> Self {
        Self {
            link: Link::Connecting,
            connections: 0,
            unacknowledged: 0,
            published: 0,
            failed: 0,
            received: 0,
            outbox: OutboxCounts::default(),
            dropped: 0,
            unclaimed: 0,
            certificate: CertificateStatus {
                not_after,
                next_renewal: None,
                renewals: 0,
                last_failure: None,
                bundle_failure: None,
            },
        }
    }

    /// Whether messages can go out and come in now.
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Connected { .. })
    }
}
