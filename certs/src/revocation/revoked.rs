//! That somebody was revoked: when and why.

use std::fmt;

use rustls_pki_types::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::status::RevocationReason;

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
        write!(f, "at {} ({})", Rfc3339Time(self.at), self.reason)
    }
}

/// A time as people and other programs read it.
struct Rfc3339Time(UnixTime);

impl fmt::Display for Rfc3339Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let date = i64::try_from(seconds).ok().and_then(|seconds| {
            OffsetDateTime::from_unix_timestamp(seconds)
                .ok()?
                .format(&Rfc3339)
                .ok()
        });
        match date {
            Some(date) => f.write_str(&date),
            None => write!(f, "second {seconds}"),
        }
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
