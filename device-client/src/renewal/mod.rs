//! A certificate for the device before the one it has runs out, and a first one.
//!
//! The identity that works is given up only for one that was seen to work: a new certificate is
//! judged, tried at the broker, written down whole, and used; until then the old one stays.

mod application;
mod enrolment;
mod error;
mod est;
mod probe;
mod schedule;
mod task;
mod trust;

use std::path::PathBuf;

use crate::identity::Identity;
use est::Server;
use schedule::{Pace, Term};

pub use enrolment::Enrolment;
pub use error::{EnrolError, Unfit};
pub(crate) use probe::Prober;
pub(crate) use task::{Renewer, Renewing, Replacement};
pub use trust::TrustBundleError;

/// How the certificate of a device is renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "nothing is renewed before it is given to a device"]
pub struct Renewal {
    server: Server,
    pace: Pace,
    key: RenewalKey,
    trust: RenewalTrust,
    bundle: Option<PathBuf>,
}

/// Whom a device trusts once its certificate was renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RenewalTrust {
    /// The roots that the enrolment server tells of, over a connection that proves itself by those
    /// that are trusted already; others are given up when both the server and the broker have
    /// proved themselves without them. Where `ca.pem` holds anything but roots, it stays as it is.
    #[default]
    Followed,
    /// Those that are trusted already, for ever.
    Kept,
}

/// The key of a new certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RenewalKey {
    /// Another one of the same algorithm, made on the device; P-256 in the place of one that is not
    /// issued. One in a token (PKCS #11) stays.
    #[default]
    New,
    /// The one that the device has.
    Same,
}

impl Renewal {
    /// From an enrolment server (EST, RFC 7030) at `https://HOST[:PORT]`, with or without the path
    /// under which certificates are asked for; by default `/.well-known/est`. It must prove itself
    /// by the same authorities as the broker.
    ///
    /// # Errors
    /// [`EnrolError::Url`] when `url` is no such address.
    pub fn by_est(url: &str) -> Result<Self, EnrolError> {
        Ok(Self {
            server: Server::parse(url)?,
            pace: Pace {
                latest: 667,
                jitter: 100,
            },
            key: RenewalKey::New,
            trust: RenewalTrust::Followed,
            bundle: None,
        })
    }

    /// The share of its lifetime, in thousandths, after which a certificate is renewed at the
    /// latest; 667 by default, from 50 to 950.
    pub fn at(mut self, thousandths: u32) -> Self {
        self.pace.latest = thousandths.clamp(50, 950);
        self.pace.jitter = self.pace.jitter.min(self.pace.latest);
        self
    }

    /// By how much of its lifetime, in thousandths, a certificate may be renewed before that, so
    /// that devices that were issued together do not come together; 100 by default. Drawn anew for
    /// each certificate.
    pub fn jitter(mut self, thousandths: u32) -> Self {
        self.pace.jitter = thousandths.min(self.pace.latest);
        self
    }

    /// The key of the new certificate; by default another one.
    pub fn key(mut self, key: RenewalKey) -> Self {
        self.key = key;
        self
    }

    /// Whom to trust from then on; by default the roots that the enrolment server tells of.
    pub fn trust(mut self, trust: RenewalTrust) -> Self {
        self.trust = trust;
        self.bundle = None;
        self
    }

    /// Trusts from then on the roots of the trust bundle in this file, which `countersign trust
    /// export` has made, and nobody else, whatever an enrolment server tells.
    ///
    /// The file is read at each renewal. A root that is trusted already must have signed it, and
    /// its number may not be lower than that of the last. One that is not believed changes nothing
    /// and holds up no renewal; [`crate::CertificateStatus::bundle_failure`] says why. A root that
    /// is not in it is given up when both the enrolment server and the broker have proved
    /// themselves without it.
    pub fn trust_bundle(mut self, file: impl Into<PathBuf>) -> Self {
        self.trust = RenewalTrust::Kept;
        self.bundle = Some(file.into());
        self
    }
}

impl Term {
    fn of(identity: &Identity) -> Self {
        let (not_before, not_after) = identity.term();
        Self {
            not_before,
            not_after,
        }
    }
}
