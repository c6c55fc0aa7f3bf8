//! The keys that are used: how a token describes them, and how the rest of the world writes what
//! they sign.
//!
//! A token hashes nothing here, for many offer the bare ECDSA operation alone.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, UnparsedPublicKey,
    VerificationAlgorithm,
};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};

/// What a key in a token signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// `CKA_EC_PARAMS`: the name of a curve (PKCS #11 §6.3.3).
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
const ED25519_OID: &[u8] = b"\x06\x03\x2b\x65\x70";
const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";

/// What precedes the point in a subject public key info (RFC 5480 §2, RFC 8410 §4).
const P256_INFO: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\
    \x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P384_INFO: &[u8] = b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\
    \x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
const ED25519_INFO: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

impl Algorithm {
    /// The algorithm of a key on the curve that is called `params`.
    pub(crate) fn of_curve(params: &[u8]) -> Option<Self> {
        if params == P256 {
            Some(Self::P256)
        } else if params == P384 {
            Some(Self::P384)
        } else if params == ED25519_OID || params == ED25519_NAME {
            Some(Self::Ed25519)
        } else {
            None
        }
    }

    /// What a token calls the curve.
    pub(crate) fn curve(self) -> &'static [u8] {
        match self {
            Self::P256 => P256,
            Self::P384 => P384,
            Self::Ed25519 => ED25519_NAME,
        }
    }

    /// A subject public key info of `point`, which the token wraps in an OCTET STRING, or does not.
    pub(crate) fn info(self, point: &[u8]) -> Option<Box<[u8]>> {
        let (before, len) = match self {
            Self::P256 => (P256_INFO, 65),
            Self::P384 => (P384_INFO, 97),
            Self::Ed25519 => (ED25519_INFO, 32),
        };
        let wrapped = point.strip_prefix(&[4, len]);
        let point = wrapped
            .filter(|it| it.len() == usize::from(len))
            .unwrap_or(point);
        (point.len() == usize::from(len)).then(|| [before, point].concat().into())
    }

    /// What the token signs of `message`, and how.
    pub(crate) fn operation(self, message: &[u8]) -> (Mechanism<'static>, Vec<u8>) {
        let hash = |algorithm| digest::digest(algorithm, message).as_ref().to_vec();
        match self {
            Self::P256 => (Mechanism::Ecdsa, hash(&digest::SHA256)),
            Self::P384 => (Mechanism::Ecdsa, hash(&digest::SHA384)),
            Self::Ed25519 => {
                let pure = EddsaParams::new(EddsaSignatureScheme::Pure);
                (Mechanism::Eddsa(pure), message.to_vec())
            }
        }
    }

    /// A signature of the token as X.509 and TLS write it: of ECDSA `Ecdsa-Sig-Value` (RFC 3279
    /// §2.2.3). `None` when it cannot be one.
    pub(crate) fn written(self, signature: Vec<u8>) -> Option<Vec<u8>> {
        let half = match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::Ed25519 => return (signature.len() == 64).then_some(signature),
        };
        if signature.len() != 2 * half {
            return None;
        }
        let (r, s) = signature.split_at_checked(half)?;
        let both = [integer(r)?, integer(s)?].concat();
        Some([&[0x30, u8::try_from(both.len()).ok()?], &*both].concat())
    }

    /// Whether `signature` is one over `message` by the key in `info`.
    pub(crate) fn verifies(self, info: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
            Self::Ed25519 => &ED25519,
        };
        let key = UnparsedPublicKey::new(algorithm, info);
        key.verify(message, signature).is_ok()
    }
}

/// A positive INTEGER, at most 48 octets long.
fn integer(octets: &[u8]) -> Option<Vec<u8>> {
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let octets = octets.get(zeros..)?;
    let sign: &[u8] = if *octets.first()? < 0x80 { &[] } else { &[0] };
    let len = u8::try_from(sign.len() + octets.len()).ok()?;
    Some([&[2, len], sign, octets].concat())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    };

    use super::*;

    #[test]
    fn signatures_of_two_numbers_become_such_as_others_verify() {
        for (algorithm, signing) in [
            (Algorithm::P256, &ECDSA_P256_SHA256_FIXED_SIGNING),
            (Algorithm::P384, &ECDSA_P384_SHA384_FIXED_SIGNING),
        ] {
            let key = EcdsaKeyPair::generate(signing).unwrap();
            let info = algorithm.info(key.public_key().as_ref()).unwrap();
            // Numbers that are short, or begin with a bit set, come up among so many.
            for number in 0..1_000_u32 {
                let message = number.to_string();
                let signed = key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
                let signed = algorithm.written(signed.as_ref().to_vec()).unwrap();
                assert!(algorithm.verifies(&info, message.as_bytes(), &signed));
                assert!(!algorithm.verifies(&info, b"another", &signed));
            }
        }
    }

    #[test]
    fn what_is_no_signature_is_not_written() {
        for (algorithm, len) in [
            (Algorithm::P256, 64),
            (Algorithm::P384, 96),
            (Algorithm::Ed25519, 64),
        ] {
            assert!(algorithm.written(vec![1; len]).is_some());
            for wrong in [0, len - 1, len + 1] {
                assert_eq!(algorithm.written(vec![1; wrong]), None);
            }
        }
        assert_eq!(Algorithm::P256.written(vec![0; 64]), None);
    }

    #[test]
    fn a_point_is_read_wrapped_and_bare() {
        for (algorithm, len) in [
            (Algorithm::P256, 65_u8),
            (Algorithm::P384, 97),
            (Algorithm::Ed25519, 32),
        ] {
            let bare = vec![4; usize::from(len)];
            let wrapped = [&[4, len], &*bare].concat();
            let info = algorithm.info(&bare).unwrap();
            assert_eq!(algorithm.info(&wrapped).unwrap(), info);
            assert!(info.ends_with(&bare));
            assert_eq!(algorithm.info(&wrapped[1..]), None);
            assert_eq!(algorithm.info(&bare[1..]), None);
            assert_eq!(Algorithm::of_curve(algorithm.curve()), Some(algorithm));
        }
        assert_eq!(Algorithm::of_curve(b"\x06\x05\x2b\x81\x04\x00\x23"), None);
    }
}
