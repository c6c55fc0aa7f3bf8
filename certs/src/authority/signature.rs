//! Whether a signature is one over these octets, by every algorithm that is accepted here.
//!
//! The parser knows those with RSA and elliptic curves; ML-DSA (RFC 9881) is verified here. The
//! parser would verify SHA-1 too, which callers refuse.

use aws_lc_rs::signature::{ML_DSA_44, ML_DSA_65, PqdsaVerificationAlgorithm, UnparsedPublicKey};
use x509_parser::asn1_rs::BitString;
use x509_parser::error::X509Error;
use x509_parser::verify::verify_signature;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// One of the parameter sets of ML-DSA (FIPS 204) that are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MlDsa {
    MlDsa44,
    MlDsa65,
}

impl MlDsa {
    const ALL: [Self; 2] = [Self::MlDsa44, Self::MlDsa65];

    /// The one that `algorithm` names, whether of a key or of a signature (RFC 9881 §2: there are
    /// no parameters).
    pub(crate) fn of(algorithm: &AlgorithmIdentifier<'_>) -> Option<Self> {
        let oid = algorithm.algorithm.as_bytes();
        let bare = algorithm.parameters.is_none();
        Self::ALL.into_iter().find(|it| bare && it.oid() == oid)
    }

    /// The octets of its object identifier, in a key and in a signature.
    pub(crate) fn oid(self) -> &'static [u8] {
        match self {
            Self::MlDsa44 => b"\x60\x86\x48\x01\x65\x03\x04\x03\x11",
            Self::MlDsa65 => b"\x60\x86\x48\x01\x65\x03\x04\x03\x12",
        }
    }

    /// How many octets a public key has (FIPS 204, table 2).
    pub(crate) fn public_key_len(self) -> usize {
        match self {
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
        }
    }

    /// What a certificate of such a key is made with.
    pub(crate) fn to_rcgen(self) -> &'static rcgen::SignatureAlgorithm {
        match self {
            Self::MlDsa44 => &rcgen::PKCS_ML_DSA_44,
            Self::MlDsa65 => &rcgen::PKCS_ML_DSA_65,
        }
    }

    fn verification(self) -> &'static PqdsaVerificationAlgorithm {
        match self {
            Self::MlDsa44 => &ML_DSA_44,
            Self::MlDsa65 => &ML_DSA_65,
        }
    }
}

/// Verifies that `key` has made `signature` over `signed` by `algorithm`.
pub(crate) fn verify(
    key: &SubjectPublicKeyInfo<'_>,
    algorithm: &AlgorithmIdentifier<'_>,
    (signature, signed): (&BitString<'_>, &[u8]),
) -> Result<(), X509Error> {
    let Some(ml_dsa) = MlDsa::of(algorithm) else {
        return verify_signature(key, algorithm, signature, signed);
    };
    if MlDsa::of(&key.algorithm) != Some(ml_dsa) {
        return Err(X509Error::SignatureVerificationError);
    }
    let key = UnparsedPublicKey::new(ml_dsa.verification(), &key.subject_public_key.data);
    let verified = key.verify(signed, &signature.data);
    verified.map_err(|_| X509Error::SignatureVerificationError)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ML_DSA_44, PKCS_ML_DSA_65,
        SigningKey,
    };

    use crate::authority::{Authority, BadSignature};
    use crate::refusal::Refusal;

    /// `AlgorithmIdentifier`s, the second with parameters (RFC 9881 §2 has none).
    const ML_DSA_44: &[u8] = b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x11";
    const WITH_NULL: &[u8] = b"\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x11\x05\x00";
    const ML_DSA_65: &[u8] = b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12";
    const ED25519: &[u8] = b"\x30\x05\x06\x03\x2b\x65\x70";

    fn authority(key: &KeyPair) -> (Authority, CertificateParams) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let made = params.self_signed(key).unwrap();
        (Authority::read(made.der()).unwrap(), params)
    }

    #[test]
    fn rfc_9881_a_signature_of_ml_dsa_is_one_of_its_key_alone() {
        for (algorithm, identifier, other) in [
            (&PKCS_ML_DSA_44, ML_DSA_44, ML_DSA_65),
            (&PKCS_ML_DSA_65, ML_DSA_65, ML_DSA_44),
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let (issuer, _) = authority(&key);
            let mut signature = key.sign(b"octets").unwrap();
            let verify = |octets: &[u8], algorithm: &[u8], signature: &[u8]| {
                issuer.verify_octets(octets, algorithm, signature)
            };
            assert_eq!(verify(b"octets", identifier, &signature), Ok(()));
            let wrong = Err(BadSignature::Wrong);
            assert_eq!(verify(b"others", identifier, &signature), wrong);
            assert_eq!(verify(b"octets", other, &signature), wrong);
            assert_eq!(verify(b"octets", ED25519, &signature), wrong);
            let no_algorithm = Err(BadSignature::Algorithm);
            assert_eq!(verify(b"octets", WITH_NULL, &signature), no_algorithm);
            signature[0] ^= 1;
            assert_eq!(verify(b"octets", identifier, &signature), wrong);
        }
    }

    #[test]
    fn rfc_9881_a_certificate_is_verified_by_ml_dsa() {
        let key = KeyPair::generate_for(&PKCS_ML_DSA_44).unwrap();
        let (authority, params) = authority(&key);
        let mut leaf = CertificateParams::default();
        leaf.use_authority_key_identifier_extension = true;
        let issuer = Issuer::new(params, &key);
        let made = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer);
        let mut der = made.unwrap().der().to_vec();
        assert_eq!(authority.verify_issued(&der), Ok(()));
        *der.last_mut().unwrap() ^= 1;
        let refused = authority.verify_issued(&der);
        assert_eq!(refused, Err(Refusal::BadSignature));
    }
}
