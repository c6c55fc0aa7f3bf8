//! An authority as the signer of what is not a certificate: revocation lists, registry exports.
//!
//! Whoever makes one has reason to trust the certificate: it is an anchor, or was verified.

pub(crate) mod signature;

use x509_parser::asn1_rs::BitString;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::certificate::{self, Certificate};
use crate::extensions::{BasicConstraints, Usage};
use crate::refusal::Refusal;

/// The certificate of an authority, with what verifying its signatures needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    certificate: Certificate,
    /// The subject's distinguished name as it stands there: names are equal when their octets are.
    name: Box<[u8]>,
    key_id: Box<[u8]>,
}

impl Authority {
    /// Reads the certificate of an authority.
    ///
    /// # Errors
    /// [`Refusal::IssuerIsNoAuthority`] by its basic constraints; [`Refusal::Malformed`], among
    /// others when it has no subject key identifier (RFC 5280 §4.2.1.2), by which it is found.
    pub fn read(der: &[u8]) -> Result<Self, Refusal> {
        let certificate = Certificate::read(der)?;
        if certificate.extensions.basic_constraints == BasicConstraints::EndEntity {
            return Err(Refusal::IssuerIsNoAuthority);
        }
        let no_key_id = Refusal::Malformed("it has no subject key identifier");
        let key_id = certificate.extensions.key_id.clone().ok_or(no_key_id)?;
        let (_, x509) =
            X509Certificate::from_der(der).map_err(|_| Refusal::Malformed("not X.509 DER"))?;
        Ok(Self {
            name: x509.tbs_certificate.subject.as_raw().into(),
            key_id,
            certificate,
        })
    }

    /// Reads the certificate of a root: an authority that has issued itself. Dates are not looked
    /// at.
    ///
    /// # Errors
    /// As [`Self::read`]; [`Refusal::UnknownAuthority`] if it names another issuer, and
    /// [`Refusal::BadSignature`].
    pub fn read_root(der: &[u8]) -> Result<Self, Refusal> {
        let root = Self::read(der)?;
        let (_, x509) =
            X509Certificate::from_der(der).map_err(|_| Refusal::Malformed("not X.509 DER"))?;
        // A root need not say which key has signed it (RFC 5280 §4.2.1.1).
        let issuer_key_id = root.certificate.extensions.issuer_key_id.as_deref();
        let is_other = issuer_key_id.is_some_and(|id| id != root.key_id());
        if is_other || !root.has_name(x509.tbs_certificate.issuer.as_raw()) {
            return Err(Refusal::UnknownAuthority);
        }
        certificate::verify_signature(der, &root.certificate)?;
        Ok(root)
    }

    /// What its certificate says.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The identifier of its key, which stands in whatever it signs.
    pub fn key_id(&self) -> &[u8] {
        &self.key_id
    }

    /// Verifies that it has issued the certificate `der`: by name, by key and by its signature
    /// (RFC 5280 §6.1.3 (a)). Dates are not looked at.
    ///
    /// # Errors
    /// [`Refusal::UnknownAuthority`] if it names another issuer; [`Refusal::BadSignature`].
    pub fn verify_issued(&self, der: &[u8]) -> Result<(), Refusal> {
        let issued = Certificate::read(der)?;
        let (_, x509) =
            X509Certificate::from_der(der).map_err(|_| Refusal::Malformed("not X.509 DER"))?;
        let names_us = issued.extensions.issuer_key_id.as_deref() == Some(self.key_id());
        if !names_us || !self.has_name(x509.tbs_certificate.issuer.as_raw()) {
            return Err(Refusal::UnknownAuthority);
        }
        if !is_sound(&x509.signature_algorithm) {
            return Err(Refusal::BadSignature);
        }
        certificate::verify_signature(der, &self.certificate)
    }

    pub(crate) fn has_name(&self, name: &[u8]) -> bool {
        *self.name == *name
    }

    /// Whether it may sign revocation lists (RFC 5280 §4.2.1.3): a missing key usage permits
    /// nothing.
    pub(crate) fn may_sign_lists(&self) -> bool {
        self.certificate
            .extensions
            .key_usage
            .contains(&Usage::CrlSign)
    }

    /// As [`Self::verify`], of a signature that is not wrapped in a bit string.
    pub(crate) fn verify_octets(
        &self,
        signed: &[u8],
        algorithm: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let signature = BitString::new(0, signature);
        self.verify_bits(signed, algorithm, &signature)
    }

    /// Verifies a signature over `signed`; `algorithm` and `signature` are DER.
    pub(crate) fn verify(
        &self,
        signed: &[u8],
        algorithm: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let (_, signature) = BitString::from_der(signature).map_err(|_| BadSignature::Wrong)?;
        self.verify_bits(signed, algorithm, &signature)
    }

    fn verify_bits(
        &self,
        signed: &[u8],
        algorithm: &[u8],
        signature: &BitString<'_>,
    ) -> Result<(), BadSignature> {
        let (_, key) = SubjectPublicKeyInfo::from_der(&self.certificate.public_key)
            .map_err(|_| BadSignature::Algorithm)?;
        let (_, algorithm) =
            AlgorithmIdentifier::from_der(algorithm).map_err(|_| BadSignature::Algorithm)?;
        if !is_sound(&algorithm) {
            return Err(BadSignature::Algorithm);
        }
        signature::verify(&key, &algorithm, (signature, signed)).map_err(|error| match error {
            x509_parser::error::X509Error::SignatureUnsupportedAlgorithm => BadSignature::Algorithm,
            _ => BadSignature::Wrong,
        })
    }
}

/// Why a signature is not one of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadSignature {
    /// It is made in a way that is not accepted here.
    Algorithm,
    /// It is not one of this key over these octets.
    Wrong,
}

/// SHA-1, which the parser would still verify, has been broken.
fn is_sound(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    use x509_parser::oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
    ![OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA].contains(&algorithm.algorithm)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints as Constraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    };

    use super::*;

    fn params(name: &str, is_ca: IsCa) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = is_ca;
        params
    }

    const CA: IsCa = IsCa::Ca(Constraints::Unconstrained);

    #[test]
    fn a_root_has_issued_itself_whether_or_not_it_names_its_key() {
        for names_key in [false, true] {
            let mut params = params("a root", CA);
            params.use_authority_key_identifier_extension = names_key;
            let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert!(Authority::read_root(made.der()).is_ok(), "{names_key}");

            let mut spoilt = made.der().to_vec();
            *spoilt.last_mut().unwrap() ^= 1;
            let refused = Authority::read_root(&spoilt).unwrap_err();
            assert_eq!(refused, Refusal::BadSignature);
        }
    }

    #[test]
    fn what_another_has_issued_is_no_root_whatever_its_name() {
        let key = || KeyPair::generate().unwrap();
        let above = CertifiedIssuer::self_signed(params("a root", CA), key()).unwrap();
        for (name, names_key, expected) in [
            ("below", false, Refusal::UnknownAuthority),
            ("below", true, Refusal::UnknownAuthority),
            ("a root", true, Refusal::UnknownAuthority),
            ("a root", false, Refusal::BadSignature),
        ] {
            let mut params = params(name, CA);
            params.use_authority_key_identifier_extension = names_key;
            let made = params.signed_by(&key(), &above).unwrap();
            let refused = Authority::read_root(made.der()).unwrap_err();
            assert_eq!(refused, expected, "{name}, {names_key}");
        }
    }

    #[test]
    fn what_is_no_authority_is_no_root() {
        for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
            let leaf = params("a leaf", is_ca);
            let leaf = leaf.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let refused = Authority::read_root(leaf.der()).unwrap_err();
            assert_eq!(refused, Refusal::IssuerIsNoAuthority);
        }
        assert!(matches!(
            Authority::read_root(b"no certificate"),
            Err(Refusal::Malformed(_))
        ));
    }
}
