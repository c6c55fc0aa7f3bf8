//! What an authority says of an audit chain: that at a time it had this many entries, and the last
//! one this hash. Whoever writes the chain anew, from whichever entry, cannot say so.

use rustls_pki_types::UnixTime;

use super::document::Algorithm;
use crate::authority::Authority;
use crate::refusal::Refusal;
use crate::text::hex::Hex;

/// Nothing else that an authority signs begins so: a certificate and a list are DER, an export and
/// its like are JSON.
const PURPOSE: &str = "countersign audit checkpoint v1";

/// Where an audit chain stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCheckpoint {
    /// How many entries it had.
    pub entries: u64,
    /// The hash of the last one, and so of all.
    pub hash: [u8; 32],
    /// When that one was written.
    pub at: UnixTime,
}

impl AuditCheckpoint {
    /// What is signed.
    pub fn to_octets(&self) -> Vec<u8> {
        let (entries, hash, at) = (self.entries, Hex(&self.hash), self.at.as_secs());
        format!("{PURPOSE}\n{entries}\n{hash}\n{at}\n").into_bytes()
    }

    /// Verifies that `authority` has signed it.
    ///
    /// # Errors
    /// [`Refusal::BadSignature`].
    pub fn verify(&self, signature: &[u8], authority: &Authority) -> Result<(), Refusal> {
        let algorithm = Algorithm::of_key(&authority.certificate().public_key);
        let algorithm = algorithm.ok_or(Refusal::BadSignature)?;
        let verified = authority.verify_octets(&self.to_octets(), algorithm.to_der(), signature);
        verified.map_err(|_| Refusal::BadSignature)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_signed_is_fixed() {
        let checkpoint = AuditCheckpoint {
            entries: 7,
            hash: [0xab; 32],
            at: UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_001)),
        };
        let hash = "ab".repeat(32);
        let expected = format!("countersign audit checkpoint v1\n7\n{hash}\n1800000001\n");
        assert_eq!(checkpoint.to_octets(), expected.as_bytes());
    }
}
