//! Why somebody is not enrolled, in words that tell a stranger nothing he does not know.

use certs::{Refusal, TimeText};
use rustls_pki_types::UnixTime;
use thiserror::Error;

use super::super::RegistryError;
use super::pending::WAITING_MAX;
use crate::error::{CommandError, ExitClass};

/// Why somebody is not enrolled.
#[derive(Debug, Error)]
pub(crate) enum NotEnrolled {
    /// Nobody was given this token, or somebody else was.
    #[error("the token is not one of this device")]
    UnknownToken,
    #[error("the token has expired; ask for a new one")]
    TokenExpired,
    #[error("the token was used for another key; ask for a new one")]
    TokenUsed,
    #[error("the token was revoked; ask for a new one")]
    TokenRevoked,
    #[error("the request was denied")]
    Denied,
    #[error("{WAITING_MAX} others wait for approval")]
    TooManyWait,
    /// It chains to us, and we know nothing of it.
    #[error("the certificate is not on record")]
    NotOnRecord,
    #[error("the device was taken out of the inventory")]
    Removed,
    #[error("the certificate is not accepted")]
    NotAdmitted(#[from] Refusal),
    #[error("the device is suspended since {}", TimeText(*.0))]
    Suspended(UnixTime),
    /// What was issued before for the same request counts no longer.
    #[error("the certificate issued for this request counts no longer; ask for a new token")]
    Over,
    /// What was asked for could not be done.
    #[error(transparent)]
    Failed(CommandError),
}

impl NotEnrolled {
    /// Whether it is the fault of who asks.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(self, Self::Failed(error) if error.exit_class() != ExitClass::Refused)
    }
}

impl From<RegistryError> for NotEnrolled {
    fn from(error: RegistryError) -> Self {
        Self::Failed(error.into())
    }
}
