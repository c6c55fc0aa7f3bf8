//! What people ask of a certificate besides what stands in it: of which algorithm its key is, and
//! which of our profiles it fits.
//!
//! Nothing here decides anything: the gate and the profiles do.

use std::fmt;

use x509_parser::asn1_rs::{Integer, Sequence};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
    OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::authority::signature::MlDsa;
use crate::certificate::Certificate;
use crate::lint::wrong_names;
use crate::profile::{InvalidProfile, Profile, Role};

/// Of which algorithm a public key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// A point of the curve P-256.
    P256,
    /// A point of the curve P-384.
    P384,
    /// A point of the curve P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// ML-DSA-44 (FIPS 204).
    MlDsa44,
    /// ML-DSA-65 (FIPS 204).
    MlDsa65,
    /// RSA, with a modulus of so many bits.
    Rsa(usize),
    /// Another one, by its object identifier.
    Other(Box<str>),
}

impl KeyAlgorithm {
    /// The algorithm of the key in `info` (a subject public key info, DER).
    pub fn of(info: &[u8]) -> Self {
        let Ok((_, key)) = SubjectPublicKeyInfo::from_der(info) else {
            return Self::Other("unreadable".into());
        };
        let algorithm = &key.algorithm.algorithm;
        let parameters = key.algorithm.parameters.as_ref();
        let curve = parameters.and_then(|any| any.as_oid().ok());
        let other = || Self::Other(algorithm.to_id_string().into());
        if let Some(ml_dsa) = MlDsa::of(&key.algorithm) {
            match ml_dsa {
                MlDsa::MlDsa44 => Self::MlDsa44,
                MlDsa::MlDsa65 => Self::MlDsa65,
            }
        } else if *algorithm == OID_SIG_ED25519 {
            Self::Ed25519
        } else if *algorithm == OID_PKCS1_RSAENCRYPTION {
            modulus_bits(&key.subject_public_key.data).map_or_else(other, Self::Rsa)
        } else if *algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
            other()
        } else {
            match curve {
                Some(curve) if curve == OID_EC_P256 => Self::P256,
                Some(curve) if curve == OID_NIST_EC_P384 => Self::P384,
                Some(curve) if curve == OID_NIST_EC_P521 => Self::P521,
                Some(curve) => Self::Other(curve.to_id_string().into()),
                None => other(),
            }
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::P521 => f.write_str("P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::MlDsa44 => f.write_str("ML-DSA-44"),
            Self::MlDsa65 => f.write_str("ML-DSA-65"),
            Self::Rsa(bits) => write!(f, "RSA of {bits} bits"),
            Self::Other(oid) => f.write_str(oid),
        }
    }
}

/// RFC 8017 appendix A.1.1.
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let (_, sequence) = Sequence::from_der(key).ok()?;
    let (_, modulus) = Integer::from_der(&sequence.content).ok()?;
    let octets = modulus.as_ref();
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let first = octets.get(zeros)?;
    let top = usize::try_from(u8::BITS - first.leading_zeros()).ok()?;
    Some((octets.len() - zeros - 1) * 8 + top)
}

impl Role {
    /// The role whose profile the certificate fits by its names, its usages and its constraints.
    /// How long it is valid, and who signed it, is not looked at.
    ///
    /// # Errors
    /// [`InvalidProfile`] when a profile file does not say what a profile must.
    pub fn fitted_by(certificate: &Certificate) -> Result<Option<Self>, InvalidProfile> {
        for role in Self::ALL {
            let profile = Profile::of(role)?;
            if profile.permits_key_usage(certificate)
                && profile.permits_purposes(certificate)
                && profile.permits_path(certificate)
                && wrong_names(certificate, role).is_none()
            {
                return Ok(Some(role));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData};

    use super::*;
    use crate::testing::{leaf, uri};

    #[test]
    fn the_algorithm_of_a_key_is_told() {
        for (algorithm, words) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, "P-256"),
            (&rcgen::PKCS_ECDSA_P384_SHA384, "P-384"),
            (&rcgen::PKCS_ECDSA_P521_SHA512, "P-521"),
            (&rcgen::PKCS_ED25519, "Ed25519"),
            (&rcgen::PKCS_ML_DSA_44, "ML-DSA-44"),
            (&rcgen::PKCS_ML_DSA_65, "ML-DSA-65"),
            (&rcgen::PKCS_ML_DSA_87, "2.16.840.1.101.3.4.3.19"),
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let info = key.subject_public_key_info();
            assert_eq!(KeyAlgorithm::of(&info).to_string(), words);
        }
        let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
        let info = rsa.unwrap().subject_public_key_info();
        assert_eq!(KeyAlgorithm::of(&info), KeyAlgorithm::Rsa(2048));
        assert_eq!(KeyAlgorithm::of(b"no key").to_string(), "unreadable");
    }

    #[test]
    fn a_certificate_fits_the_profile_it_was_made_by_and_no_other() {
        let fitted = |der: &[u8]| Role::fitted_by(&Certificate::read(der).unwrap()).unwrap();
        assert_eq!(fitted(&leaf(|_| {})), Some(Role::Device));
        let app = leaf(|it| it.subject_alt_names = vec![uri("spiffe://fleet.example/app/dev-1")]);
        assert_eq!(fitted(&app), Some(Role::App));
        let nobody = leaf(|it| it.subject_alt_names.clear());
        assert_eq!(fitted(&nobody), None);
        let both = leaf(|it| {
            let purpose = rcgen::ExtendedKeyUsagePurpose::ServerAuth;
            it.extended_key_usages.push(purpose);
        });
        assert_eq!(fitted(&both), None);
    }
}
