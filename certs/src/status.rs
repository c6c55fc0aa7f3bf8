//! The life of a certificate: issued, perhaps superseded, perhaps revoked.
//!
//! Nothing leads back: a certificate revoked stays revoked, whoever restores which backup.
//! Expiry is not part of it; that is for the clock to say.

use std::fmt;

use thiserror::Error;

/// Where a certificate is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was recorded and may have been handed out.
    Issued,
    /// Its holder was given another one since; this one still counts until it expires.
    Superseded,
    /// It counts no longer.
    Revoked(RevocationReason),
}

impl Status {
    /// The status after this one, when `to` may follow.
    ///
    /// # Errors
    /// [`IllegalTransition`] when it may not.
    pub fn advance(self, to: Self) -> Result<Self, IllegalTransition> {
        match (self, to) {
            (Self::Issued, Self::Superseded | Self::Revoked(_))
            | (Self::Superseded, Self::Revoked(_)) => Ok(to),
            (Self::Issued | Self::Superseded | Self::Revoked(_), _) => {
                Err(IllegalTransition { from: self, to })
            }
        }
    }
}

impl Status {
    /// What the status is called where it is kept, without its reason.
    pub fn name(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Superseded => "superseded",
            Self::Revoked(_) => "revoked",
        }
    }

    /// The reason, when the status has one.
    pub fn reason(self) -> Option<RevocationReason> {
        match self {
            Self::Issued | Self::Superseded => None,
            Self::Revoked(reason) => Some(reason),
        }
    }

    /// Puts together what [`Status::name`] and [`Status::reason`] took apart.
    pub fn from_parts(name: &str, reason: Option<RevocationReason>) -> Option<Self> {
        match (name, reason) {
            ("issued", None) => Some(Self::Issued),
            ("superseded", None) => Some(Self::Superseded),
            ("revoked", Some(reason)) => Some(Self::Revoked(reason)),
            _ => None,
        }
    }
}

/// Why a certificate was revoked, with the codes of RFC 5280 §5.3.1.
///
/// `certificateHold` and `removeFromCRL` are missing: nothing leads back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationReason {
    /// No reason was given.
    Unspecified,
    /// Somebody else may have its key.
    KeyCompromise,
    /// Somebody else may have its issuer's key.
    CaCompromise,
    /// Its holder is not what the certificate says any more.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// It is not needed any more.
    CessationOfOperation,
    /// Its holder may not do any more what it may by it.
    PrivilegeWithdrawn,
}

impl RevocationReason {
    const ALL: [Self; 7] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The code in a revocation list.
    pub fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::PrivilegeWithdrawn => 9,
        }
    }

    /// The reason with `code`, when it is one that we give.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// A certificate cannot go back, or stay where it is, in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a certificate that is {from} cannot become {to}")]
pub struct IllegalTransition {
    from: Status,
    to: Status,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVOKED: Status = Status::Revoked(RevocationReason::KeyCompromise);

    #[test]
    fn nothing_leads_back() {
        use Status::{Issued, Superseded};
        let also = Status::Revoked(RevocationReason::Unspecified);
        for (from, to, legal) in [
            (Issued, Superseded, true),
            (Issued, REVOKED, true),
            (Superseded, REVOKED, true),
            (Issued, Issued, false),
            (Superseded, Issued, false),
            (Superseded, Superseded, false),
            (REVOKED, Issued, false),
            (REVOKED, Superseded, false),
            (REVOKED, also, false),
        ] {
            let expected = if legal {
                Ok(to)
            } else {
                Err(IllegalTransition { from, to })
            };
            assert_eq!(from.advance(to), expected);
        }
    }

    #[test]
    fn a_status_is_read_as_it_was_kept() {
        for status in [Status::Issued, Status::Superseded, REVOKED] {
            assert_eq!(
                Status::from_parts(status.name(), status.reason()),
                Some(status)
            );
        }
        assert_eq!(Status::from_parts("revoked", None), None);
        assert_eq!(Status::from_parts("valid", None), None);
    }

    #[test]
    fn rfc_5280_5_3_1_a_reason_is_read_as_it_was_written() {
        for reason in RevocationReason::ALL {
            assert_eq!(RevocationReason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(RevocationReason::from_code(6), None);
    }
}
