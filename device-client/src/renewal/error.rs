//! Why there is no new certificate, each named for what there is to do about it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use thiserror::Error;

use super::schedule::Setback;
use crate::error::ConnectError;
use crate::identity::IdentityError;

/// Why a device got no certificate.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The address of the enrolment server is none.
    #[error("`{url}` is no address of an enrolment server: https://HOST[:PORT]")]
    Url {
        /// What was given.
        url: String,
    },
    /// There is no way to the enrolment server.
    #[error("the enrolment server cannot be reached")]
    Unreachable {
        /// What went wrong.
        #[source]
        source: Arc<io::Error>,
    },
    /// What answered could not prove that it is the enrolment server.
    #[error("the enrolment server is not trusted ({why:?}): see ca.pem")]
    NotTrusted {
        /// What is wrong with its certificate.
        why: CertificateError,
    },
    /// The enrolment server did not answer in time.
    #[error("the enrolment server did not answer in time")]
    TimedOut,
    /// What the enrolment server sent is not HTTP as it should be.
    #[error("the enrolment server broke the protocol: {what}")]
    Protocol {
        /// What was wrong.
        what: String,
    },
    /// The enrolment server refuses: the device is revoked or unknown, or the token is used up.
    #[error("the enrolment server refuses ({status}): {text}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// Its own words, the first of them.
        text: String,
    },
    /// The enrolment server does not accept the certificate that we have.
    #[error("the enrolment server refuses the certificate of the device ({alert})")]
    CertificateRefused {
        /// How it put it.
        alert: String,
    },
    /// The enrolment server wants to be asked again later.
    #[error("the enrolment server wants to be asked again ({status})")]
    NotNow {
        /// The status of its answer.
        status: u16,
        /// When, if it says so.
        retry_after: Option<Duration>,
    },
    /// What it answered holds no certificates.
    #[error("the answer of the enrolment server holds no certificates: {0}")]
    Answer(&'static str),
    /// The new certificate is not what it should be.
    #[error("the new certificate is not accepted: {0}")]
    Unfit(Unfit),
    /// There is no new key, or no request by it.
    #[error("no certificate can be asked for: {what}")]
    Key {
        /// What went wrong.
        what: String,
    },
    /// The new certificate was tried at the broker, and it is not let in.
    #[error("the broker does not let the new certificate in")]
    Probe(#[source] ConnectError),
    /// The identity cannot be read or written.
    #[error("the identity cannot be replaced")]
    Identity(#[source] Arc<IdentityError>),
}

/// What is wrong with a new certificate.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Unfit {
    /// It cannot be read, or is not valid now: why, in words.
    Unusable(String),
    /// No certificate in the answer is of the key that was asked for.
    OtherKey,
    /// It does not lead to an authority we know.
    NoPath(CertificateError),
    /// It names another device, or another trust domain.
    OtherDevice,
    /// It ends no later than the one we have.
    EndsTooSoon,
}

impl EnrolError {
    /// What to do about it.
    pub(super) fn setback(&self) -> Setback {
        match self {
            Self::Url { .. }
            | Self::NotTrusted { .. }
            | Self::Refused { .. }
            | Self::CertificateRefused { .. }
            | Self::Unfit(
                Unfit::Unusable(_) | Unfit::OtherKey | Unfit::NoPath(_) | Unfit::OtherDevice,
            )
            | Self::Answer(_)
            | Self::Identity(_)
            | Self::Key { .. } => Setback::Refused,
            Self::NotNow {
                retry_after: Some(after),
                ..
            } => Setback::ComeAgain(*after),
            Self::Probe(error) if error.is_lasting() => Setback::Refused,
            // The one that we have is as good as that, for now.
            Self::Unfit(Unfit::EndsTooSoon)
            | Self::Probe(_)
            | Self::NotNow { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut
            | Self::Protocol { .. } => Setback::Passing,
        }
    }

    /// What a server says in TLS need not be about our certificate.
    pub(super) fn alert(alert: AlertDescription) -> Self {
        let told = format!("{alert:?}");
        if ConnectError::alert(alert).is_about_certificate() {
            Self::CertificateRefused { alert: told }
        } else {
            let what = format!("it ended TLS ({told})");
            Self::Protocol { what }
        }
    }

    pub(super) fn io(error: io::Error) -> Self {
        let error = match error.downcast::<rustls::Error>() {
            Ok(rustls::Error::InvalidCertificate(why)) => return Self::NotTrusted { why },
            Ok(rustls::Error::AlertReceived(alert)) => return Self::alert(alert),
            Ok(tls) => io::Error::other(tls),
            Err(error) => error,
        };
        Self::Unreachable {
            source: error.into(),
        }
    }
}

impl From<IdentityError> for EnrolError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error.into())
    }
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unusable(why) => write!(f, "{why}"),
            Self::OtherKey => write!(f, "it is of another key"),
            Self::NoPath(why) => write!(f, "it leads to no authority we know ({why:?})"),
            Self::OtherDevice => write!(f, "it names another device"),
            Self::EndsTooSoon => write!(f, "it ends no later than the present one"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_that_is_not_about_our_certificate_may_pass() {
        for (alert, told, setback) in [
            (
                AlertDescription::CertificateRevoked,
                "the enrolment server refuses the certificate of the device (CertificateRevoked)",
                Setback::Refused,
            ),
            (
                AlertDescription::InternalError,
                "the enrolment server broke the protocol: it ended TLS (InternalError)",
                Setback::Passing,
            ),
        ] {
            let alert = io::Error::other(rustls::Error::AlertReceived(alert));
            let error = EnrolError::io(alert);
            assert_eq!((&*error.to_string(), error.setback()), (told, setback));
        }
    }
}
