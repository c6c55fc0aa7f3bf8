//! The life of a certificate: issued, perhaps superseded, perhaps revoked.
//!
//! Nothing leads back: a certificate revoked stays revoked, whoever restores which backup.
//! Expiry is not part of it; that is for the clock to say.

use std::fmt;

use serde::{Deserialize, Serialize};
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
/// `removeFromCRL` is missing: nothing leads back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// Its holder is suspended. It is a revocation for as long as the list says so; it is given by
    /// suspending, and is not a status that a certificate has.
    CertificateHold,
    /// Its holder may not do any more what it may by it.
    PrivilegeWithdrawn,
    /// The authority that attested its attributes was compromised; we never give it.
    AaCompromise,
}

impl RevocationReason {
    /// The reasons that we give.
    pub const GIVEN: [Self; 7] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// Those that nobody is revoked for here: on our lists by suspending, and on others' lists.
    const FOREIGN: [Self; 2] = [Self::CertificateHold, Self::AaCompromise];

    /// The code in a revocation list.
    pub fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }

    /// The reason with `code`; `None` for `removeFromCRL` and for codes that do not exist.
    pub fn from_code(code: u8) -> Option<Self> {
        let all = Self::GIVEN.into_iter().chain(Self::FOREIGN);
        all.into_iter().find(|reason| reason.code() == code)
    }

    /// The reason in words joined by hyphens, as commands take it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::CaCompromise => "ca-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::CertificateHold => "certificate-hold",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
            Self::AaCompromise => "aa-compromise",
        }
    }

    /// The reason called `text`, when it is one that we give.
    pub fn parse(text: &str) -> Option<Self> {
        Self::GIVEN
            .into_iter()
            .find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
        for reason in RevocationReason::GIVEN
            .into_iter()
            .chain(RevocationReason::FOREIGN)
        {
            assert_eq!(RevocationReason::from_code(reason.code()), Some(reason));
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("\"{reason}\""));
        }
        for code in [7, 8, 11, 255] {
            assert_eq!(RevocationReason::from_code(code), None, "{code}");
        }
    }

    #[test]
    fn a_hold_is_read_and_never_given() {
        let [given, hold] = [
            RevocationReason::KeyCompromise,
            RevocationReason::CertificateHold,
        ];
        assert_eq!(RevocationReason::parse(given.as_str()), Some(given));
        assert_eq!(RevocationReason::parse(hold.as_str()), None);
        assert_eq!(RevocationReason::from_code(6), Some(hold));
    }
}
