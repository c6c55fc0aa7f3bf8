//! That somebody was revoked: when and why.

use std::fmt;

use rustls_pki_types::UnixTime;

use crate::status::RevocationReason;
use crate::text::time::TimeText;

/// When and why a certificate or a device was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// When whoever revoked it did so.
    pub at: UnixTime,
    /// Why.
    pub reason: RevocationReason,
}

/// `at 2026-11-22T07:14:18Z (key-compromise)`, to be put behind "revoked".
impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} ({})", TimeText(self.at), self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn when_and_why_is_said_in_one_line() {
        let reason = RevocationReason::KeyCompromise;
        for (seconds, words) in [
            (1_795_331_658, "at 2026-11-22T07:14:18Z (key-compromise)"),
            (u64::MAX, "at second 18446744073709551615 (key-compromise)"),
        ] {
            assert_eq!(
                Revoked {
                    at: at(seconds),
                    reason
                }
                .to_string(),
                words
            );
        }
    }
}
