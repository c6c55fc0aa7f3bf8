//! What the audit log tells, and how it is written.
//!
//! A field that is there today has the same meaning tomorrow: programs read these lines.

use crate::refusals::{Reason, Whom};
use serde::Serialize;
use std::net::SocketAddr;

/// Something that whoever audits a broker wants to know.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A device came in and sent its CONNECT.
    Connected {
        /// Its address.
        peer: SocketAddr,
        /// Who it is.
        #[serde(flatten)]
        whom: Whom,
    },
    /// Somebody was not let in, or got no session.
    Refused {
        /// Its address.
        peer: SocketAddr,
        /// Who it said it was.
        #[serde(flatten)]
        whom: Whom,
        /// Why.
        #[serde(flatten)]
        reason: Reason,
    },
    /// A connection ended.
    Closed {
        /// Its address.
        peer: SocketAddr,
        /// Who it was.
        #[serde(flatten)]
        whom: Whom,
        /// Why; absent where the client said goodbye.
        #[serde(flatten)]
        reason: Option<Reason>,
    },
    /// Somebody changed what the broker goes by.
    Changed {
        /// What.
        what: Changed,
        /// To what, and on whose word.
        words: Box<str>,
    },
}

/// What can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Changed {
    /// The policy.
    Policy,
    /// Anchors, our certificate and key, TLS settings.
    Trust,
    /// Who is revoked.
    Revocation,
    /// Who is registered.
    Registry,
    /// Settings.
    Configuration,
}

impl Event {
    /// Whether it is of a peer that showed no certificate.
    pub(super) fn is_nameless(&self) -> bool {
        match self {
            Self::Refused { whom, .. } => whom.sha256.is_none(),
            Self::Connected { .. } | Self::Closed { .. } | Self::Changed { .. } => false,
        }
    }
}

/// An event and when it was.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) at_ms: u64,
    pub(super) event: Event,
}

/// A line: an event, or something about the log itself.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Entry {
    Event(Event),
    OfLog(OfLog),
}

/// What is told about the log.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum OfLog {
    /// The first line of a file.
    Begins {
        /// How the lines are to be read.
        format: u32,
        /// Who wrote it.
        broker: &'static str,
        /// The last link of the file before, or zeros.
        follows: Box<str>,
    },
    /// The broker was started again.
    Continued {
        /// So many bytes of a line that was not written to its end were cut off.
        torn_bytes: u64,
    },
    /// Peers that showed no certificate were refused faster than each could have its line.
    MoreRefused {
        /// How many.
        count: u64,
    },
    /// The disk was too slow.
    Lost {
        /// How many events have no line.
        count: u64,
    },
    /// The last line of a file that another one follows.
    Rotated {},
    /// The broker ended in good order.
    Ended {},
}
