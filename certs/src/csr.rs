//! Certificate signing requests (PKCS #10, RFC 2986): the public key in them, and nothing else.
//!
//! Whatever name, extension or attribute a request asks for is not taken over: who the requester is
//! was settled before, and what the certificate says is for its profile to say. A request that asks
//! for more than its holder can have is refused where the holder is known.

use std::fmt;

use rcgen::{PublicKeyData, SignatureAlgorithm, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo as ParsedKey;

use crate::authority::signature::{self, MlDsa};
use crate::authority_request::role_asked;
use crate::certificate::CommonName;
use crate::device_id::DeviceId;
use crate::profile::Role;
use crate::subject::{Kind, Subject, TrustDomain, spiffe_uri};

/// A request with a post-quantum key has 4 kB; PEM adds a third.
const REQUEST_LEN_MAX: usize = 16 * 1024;

/// A public key whose holder has proved to have the private one.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: &'static SignatureAlgorithm,
    octets: Box<[u8]>,
}

impl PublicKey {
    /// Takes the public key of the request in `octets`, which may be PEM or DER.
    ///
    /// # Errors
    /// [`InvalidRequest`] when there is no request, no proof of possession, or no key we certify.
    pub fn from_request(octets: &[u8]) -> Result<Self, InvalidRequest> {
        Self::read(octets, |_| Ok(())).map(|(key, ())| key)
    }

    /// As [`Self::from_request`], of a request by `subject`, which may ask for its own name or for
    /// none: one for an authority, or for somebody else, was not made by who it should be.
    ///
    /// # Errors
    /// [`InvalidRequest`], also when more is asked for.
    pub fn from_request_of(
        octets: &[u8],
        trust_domain: &TrustDomain,
        subject: &Subject,
    ) -> Result<Self, InvalidRequest> {
        let own = spiffe_uri(trust_domain, subject);
        Self::read(octets, |request| check_wishes(request, &own)).map(|(key, ())| key)
    }

    /// As [`Self::from_request_of`], of a request that names its holder: by the common name, by the
    /// URI, or by both (RFC 7030 §4.2.2: a request to renew has the names of what it renews).
    ///
    /// # Errors
    /// [`InvalidRequest`], also when it names somebody else, or nobody.
    pub fn from_request_naming(
        octets: &[u8],
        trust_domain: &TrustDomain,
        subject: &Subject,
    ) -> Result<Self, InvalidRequest> {
        let own = spiffe_uri(trust_domain, subject);
        let key = Self::read(octets, |request| {
            check_wishes(request, &own)?;
            check_name(request, subject)
        });
        key.map(|(key, ())| key)
    }

    /// As [`Self::from_request_of`], of a request by the device that its common name claims. The
    /// claim proves nothing: only a person who compares keys may go by it.
    ///
    /// # Errors
    /// [`InvalidRequest`], also when it claims no device id.
    pub fn from_request_claiming(
        octets: &[u8],
        trust_domain: &TrustDomain,
    ) -> Result<(Self, Subject), InvalidRequest> {
        Self::read(octets, |request| {
            let name = CommonName::read(&request.certification_request_info.subject);
            let CommonName::One(name) = name else {
                return Err(InvalidRequest::NamesNobody);
            };
            let id = DeviceId::parse(&name).map_err(|_| InvalidRequest::NamesNobody)?;
            let kind = Kind::Device;
            let claimed = Subject { kind, id };
            check_wishes(request, &spiffe_uri(trust_domain, &claimed))?;
            Ok(claimed)
        })
    }

    /// As [`Self::from_request`], of a request by an authority of `trust_domain`, and which one
    /// that is. It proves to have the key; who asks is for a person to say who compares keys.
    ///
    /// # Errors
    /// [`InvalidRequest`], also when it is for anybody else.
    pub fn from_request_of_authority(
        octets: &[u8],
        trust_domain: &TrustDomain,
    ) -> Result<(Self, Role), InvalidRequest> {
        Self::read(octets, |request| role_asked(request, trust_domain))
    }

    /// The key of a request that proves to have it, and what `check` finds in the request.
    fn read<T>(
        octets: &[u8],
        check: impl FnOnce(&X509CertificationRequest<'_>) -> Result<T, InvalidRequest>,
    ) -> Result<(Self, T), InvalidRequest> {
        if octets.len() > REQUEST_LEN_MAX {
            return Err(InvalidRequest::TooLong(octets.len()));
        }
        let pem = CertificateSigningRequestDer::from_pem_slice(octets);
        let der = pem.as_ref().map_or(octets, |der| der.as_ref());
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| InvalidRequest::Malformed)?;
        if !rest.is_empty() {
            return Err(InvalidRequest::Malformed);
        }
        let key = &request.certification_request_info.subject_pki;
        check_key(key)?;
        let signed = request.certification_request_info.raw;
        let signed = (&request.signature_value, signed);
        signature::verify(key, &request.signature_algorithm, signed)
            .map_err(|_| InvalidRequest::NoProofOfPossession)?;
        let found = check(&request)?;
        Ok((Self::of(key)?, found))
    }

    fn of(key: &ParsedKey<'_>) -> Result<Self, InvalidRequest> {
        // The library does not tell ML-DSA from its identifier.
        let algorithm = if let Some(ml_dsa) = MlDsa::of(&key.algorithm) {
            ml_dsa.to_rcgen()
        } else {
            let known = SubjectPublicKeyInfo::from_der(key.raw);
            known.map_err(|_| InvalidRequest::Malformed)?.algorithm()
        };
        Ok(Self {
            algorithm,
            octets: key.subject_public_key.data.as_ref().into(),
        })
    }

    /// The subject public key info, as it will stand in the certificate.
    pub fn to_der(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }
}

/// Refuses the wish to be an authority, and that for other names than `own`.
fn check_wishes(request: &X509CertificationRequest<'_>, own: &str) -> Result<(), InvalidRequest> {
    for wish in request.requested_extensions().into_iter().flatten() {
        match wish {
            ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                return Err(InvalidRequest::AsksForAuthority);
            }
            ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() || usage.crl_sign() => {
                return Err(InvalidRequest::AsksForAuthority);
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                let is_own =
                    |name: &GeneralName<'_>| matches!(name, GeneralName::URI(uri) if *uri == own);
                if !names.general_names.iter().all(is_own) {
                    return Err(InvalidRequest::AsksForOtherNames);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a request that names somebody else than `subject`, or nobody; what URIs it names was
/// checked before.
fn check_name(
    request: &X509CertificationRequest<'_>,
    subject: &Subject,
) -> Result<(), InvalidRequest> {
    let mut wishes = request.requested_extensions().into_iter().flatten();
    let has_uri = wishes.any(|wish| {
        matches!(wish, ParsedExtension::SubjectAlternativeName(names)
            if !names.general_names.is_empty())
    });
    match CommonName::read(&request.certification_request_info.subject) {
        CommonName::One(name) if *name == *subject.id.as_str() => Ok(()),
        CommonName::Absent if has_uri => Ok(()),
        CommonName::Absent => Err(InvalidRequest::NamesNobody),
        CommonName::One(_) | CommonName::Several | CommonName::Unreadable => {
            Err(InvalidRequest::NamesSomebodyElse)
        }
    }
}

/// Only what every TLS library on a small device can verify, and ML-DSA; only whole points on the
/// curve.
fn check_key(key: &ParsedKey<'_>) -> Result<(), InvalidRequest> {
    let curve = key
        .algorithm
        .parameters
        .as_ref()
        .and_then(|any| any.as_oid().ok());
    let algorithm = &key.algorithm.algorithm;
    let len = key.subject_public_key.data.len();
    let expected = if *algorithm == OID_SIG_ED25519 {
        32
    } else if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256) {
        65
    } else if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_NIST_EC_P384) {
        97
    } else if let Some(ml_dsa) = MlDsa::of(&key.algorithm) {
        ml_dsa.public_key_len()
    } else if *algorithm == OID_PKCS1_RSAENCRYPTION {
        return Err(InvalidRequest::Rsa);
    } else {
        return Err(InvalidRequest::UnknownAlgorithm);
    };
    if len == expected {
        Ok(())
    } else {
        Err(InvalidRequest::KeyLength(len))
    }
}

/// Why nothing is taken from a certificate signing request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidRequest {
    /// It is longer than any request with a key that we certify.
    #[error("the request has {0} octets, at most {REQUEST_LEN_MAX} are read")]
    TooLong(usize),
    /// It is not PKCS #10.
    #[error("it is not a certificate signing request (PKCS #10, PEM or DER)")]
    Malformed,
    /// Its signature is not one of the private key.
    #[error("the request is not signed by its own key, so nobody proved to have it")]
    NoProofOfPossession,
    /// It asks for a certificate that signs others.
    #[error("the request asks to be an authority; no device is one")]
    AsksForAuthority,
    /// It asks for names that are not its holder's.
    #[error("the request asks for names that are not the device's; leave subjectAltName out")]
    AsksForOtherNames,
    /// Its common name is not its holder's.
    #[error("the common name of the request is not the device's id")]
    NamesSomebodyElse,
    /// It has neither a common name nor a URI.
    #[error("the request names nobody; its common name must be the device's id")]
    NamesNobody,
    /// It is not one that an authority makes for itself.
    #[error(
        "it is not the request of a device CA or server CA; make one with: countersign ca request"
    )]
    NotOfAnAuthority,
    /// It is that of an authority of somebody else.
    #[error("the request is for an authority of another trust domain")]
    OfAnotherTrustDomain,
    /// Its key is an RSA key.
    #[error("RSA keys are not certified; make a P-256, P-384 or Ed25519 key")]
    Rsa,
    /// Its key is of a sort that we do not know.
    #[error("only P-256, P-384, Ed25519, ML-DSA-44 and ML-DSA-65 keys are certified")]
    UnknownAlgorithm,
    /// Its key is not a whole one.
    #[error("the public key has {0} octets, which is not the length of a whole one")]
    KeyLength(usize),
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.octets
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?})", self.algorithm)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateSigningRequest, CustomExtension, DnType,
        IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512,
        PKCS_ED25519, PKCS_ML_DSA_44, PKCS_ML_DSA_65, PKCS_ML_DSA_87, PKCS_RSA_SHA256, SigningKey,
    };

    use super::*;
    use crate::certificate::Certificate;
    use crate::extensions::BasicConstraints as Constraints;
    use crate::holder::Holder;
    use crate::profile::Profile;
    use crate::serial::Serial;
    use crate::testing::{NOT_BEFORE, at, uri};

    fn request(key: &impl SigningKey) -> CertificateSigningRequest {
        CertificateParams::default().serialize_request(key).unwrap()
    }

    #[test]
    fn the_key_of_an_honest_request_is_taken_from_pem_and_der() {
        for algorithm in [
            &PKCS_ECDSA_P256_SHA256,
            &PKCS_ECDSA_P384_SHA384,
            &PKCS_ED25519,
            &PKCS_ML_DSA_44,
            &PKCS_ML_DSA_65,
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let request = request(&key);
            let from_der = PublicKey::from_request(request.der()).unwrap();
            assert_eq!(from_der.to_der(), key.subject_public_key_info());
            let pem = request.pem().unwrap();
            assert_eq!(PublicKey::from_request(pem.as_bytes()), Ok(from_der));
        }
    }

    /// A request that asked for `CN=admin, CA:TRUE, DNS:broker.local` was once given all of it.
    #[test]
    fn nothing_but_its_key_comes_from_a_request() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "admin");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.subject_alt_names = vec![uri("spiffe://fleet.example/app/admin")];
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 9], vec![5, 0])];
        let key = KeyPair::generate().unwrap();
        let request = params.serialize_request(&key).unwrap();

        let key = PublicKey::from_request(request.der()).unwrap();
        let profile = Profile::of(Role::Broker).unwrap();
        let names = ["broker.example".try_into().unwrap()];
        let validity = profile.validity(at(NOT_BEFORE), None);
        let serial = Serial::from_random([1; 20]);
        let params = profile
            .params(Holder::Server(&names), serial, validity)
            .unwrap();
        let authority = KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::new(CertificateParams::default(), authority);
        let made = Certificate::read(params.signed_by(&key, &issuer).unwrap().der()).unwrap();

        assert_eq!(&*made.subject, "CN=broker.example");
        assert_eq!(made.extensions.basic_constraints, Constraints::EndEntity);
        assert!(made.extensions.uri_names.is_empty());
        assert_eq!(*made.public_key, *key.to_der());
    }

    #[test]
    fn a_request_may_ask_for_its_own_name_and_for_nothing_more() {
        let trust_domain = TrustDomain::parse("fleet.example").unwrap();
        let device = Subject::parse("dev-1").unwrap();
        let refused = |params: CertificateParams| {
            let request = params.serialize_request(&KeyPair::generate().unwrap());
            let request = request.unwrap();
            assert!(PublicKey::from_request(request.der()).is_ok());
            PublicKey::from_request_of(request.der(), &trust_domain, &device).err()
        };
        let names = |names: &[&str]| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = names.iter().map(|name| uri(name)).collect();
            params
        };
        let own = "spiffe://fleet.example/device/dev-1";
        assert_eq!(refused(CertificateParams::default()), None);
        assert_eq!(refused(names(&[own])), None);
        let dns = CertificateParams::new(["dev-1".to_owned()]).unwrap();
        for params in [names(&[own, "spiffe://fleet.example/app/admin"]), dns] {
            assert_eq!(refused(params), Some(InvalidRequest::AsksForOtherNames));
        }
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut signer = CertificateParams::default();
        signer.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        for params in [authority, signer] {
            assert_eq!(refused(params), Some(InvalidRequest::AsksForAuthority));
        }
    }

    #[test]
    fn rfc_7030_4_2_2_a_request_to_renew_names_its_holder_and_nobody_else() {
        use InvalidRequest::{AsksForOtherNames, NamesNobody, NamesSomebodyElse};
        let trust_domain = TrustDomain::parse("fleet.example").unwrap();
        let device = Subject::parse("dev-1").unwrap();
        let own = "spiffe://fleet.example/device/dev-1";
        let other = "spiffe://fleet.example/device/dev-2";
        let cases: [(&[&str], &[&str], _); 9] = [
            (&["dev-1"], &[], None),
            (&[], &[own], None),
            (&["dev-1"], &[own], None),
            (&[], &[], Some(NamesNobody)),
            (&["dev-2"], &[], Some(NamesSomebodyElse)),
            (&["dev-2"], &[own], Some(NamesSomebodyElse)),
            (&["dev-1", "dev-2"], &[own], Some(NamesSomebodyElse)),
            (&["dev-1"], &[other], Some(AsksForOtherNames)),
            (&["dev-1"], &[own, other], Some(AsksForOtherNames)),
        ];
        for (common_names, uris, expected) in cases {
            let request = naming(common_names, uris);
            let key = PublicKey::from_request_naming(&request, &trust_domain, &device);
            assert_eq!(key.err(), expected, "{common_names:?} {uris:?}");
        }
    }

    #[test]
    fn a_request_claims_the_id_that_is_its_one_common_name() {
        use InvalidRequest::{AsksForOtherNames, NamesNobody};
        let trust_domain = TrustDomain::parse("fleet.example").unwrap();
        let own = "spiffe://fleet.example/device/dev-1";
        let cases: [(&[&str], &[&str], _); 7] = [
            (&["dev-1"], &[], Ok("dev-1")),
            (&["dev-1"], &[own], Ok("dev-1")),
            (&["dev-2"], &[own], Err(AsksForOtherNames)),
            (&[], &[own], Err(NamesNobody)),
            (&["dev-1", "dev-1"], &[], Err(NamesNobody)),
            (&["../dev-1"], &[], Err(NamesNobody)),
            (&["app/app-1"], &[], Err(NamesNobody)),
        ];
        for (common_names, uris, expected) in cases {
            let request = naming(common_names, uris);
            let claimed = PublicKey::from_request_claiming(&request, &trust_domain);
            let claimed = claimed.map(|(_, subject)| subject.to_string());
            let expected = expected.map(str::to_owned);
            assert_eq!(claimed, expected, "{common_names:?} {uris:?}");
        }
    }

    fn naming(common_names: &[&str], uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (place, name) in common_names.iter().enumerate() {
            // The library keeps one name of each type; the same type in octets is another.
            let oid = DnType::CustomDnType(vec![2, 5, 4, 3]);
            let of = if place == 0 { DnType::CommonName } else { oid };
            params.distinguished_name.push(of, *name);
        }
        params.subject_alt_names = uris.iter().map(|name| uri(name)).collect();
        let request = params.serialize_request(&KeyPair::generate().unwrap());
        request.unwrap().der().to_vec()
    }

    /// `openssl req -new -newkey rsa:512`, a key too short for our own library to make.
    const RSA_512: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHJMHUCAQAwEDEOMAwGA1UEAwwFZGV2LTEwXDANBgkqhkiG9w0BAQEFAANLADBI
AkEAvdYXPOgwiKGTXN458zR+khYhrHVskoUvHlgXe/iVAaHYiOaxxOX4UDt9FhEq
8cK8VnjqcCRLJibTSwHyuOYpmwIDAQABoAAwDQYJKoZIhvcNAQELBQADQQCDi+qg
//j8okWtImiEXNpt8gABbTAJPDvwwOExWUT9JrqN0jslgZU2yNG+vYTXyY9yIafS
zeXVW9jeXOGY7pbn
-----END CERTIFICATE REQUEST-----
";

    #[test]
    fn keys_that_are_not_certified_are_refused_in_words() {
        let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        assert_eq!(
            PublicKey::from_request(request(&rsa).der()),
            Err(InvalidRequest::Rsa)
        );
        assert_eq!(
            PublicKey::from_request(RSA_512.as_bytes()),
            Err(InvalidRequest::Rsa)
        );
        for algorithm in [&PKCS_ECDSA_P521_SHA512, &PKCS_ML_DSA_87] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let refused = PublicKey::from_request(request(&key).der());
            assert_eq!(refused, Err(InvalidRequest::UnknownAlgorithm));
        }
    }

    /// Shows the public key of one pair and signs with another.
    struct Thief(KeyPair, KeyPair);

    impl PublicKeyData for Thief {
        fn der_bytes(&self) -> &[u8] {
            self.0.der_bytes()
        }
        fn algorithm(&self) -> &'static SignatureAlgorithm {
            self.0.algorithm()
        }
    }

    impl SigningKey for Thief {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
            self.1.sign(message)
        }
    }

    #[test]
    fn a_key_without_proof_of_possession_is_refused() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ML_DSA_44] {
            let [shown, own] = [(); 2].map(|()| KeyPair::generate_for(algorithm).unwrap());
            let refused = PublicKey::from_request(request(&Thief(shown, own)).der());
            assert_eq!(refused, Err(InvalidRequest::NoProofOfPossession));
        }
    }

    #[test]
    fn a_request_changed_or_cut_anywhere_yields_no_other_key() {
        let good = request(&KeyPair::generate().unwrap()).der().to_vec();
        let key = PublicKey::from_request(&good).unwrap();
        for index in 0..good.len() {
            let mut changed = good.clone();
            changed[index] ^= 1;
            // The count of unused bits in the signature says nothing and is not signed.
            let found = PublicKey::from_request(&changed).ok();
            assert!(found.is_none_or(|found| found == key), "octet {index}");
            assert!(
                PublicKey::from_request(&good[..index]).is_err(),
                "cut at {index}"
            );
        }
    }

    #[test]
    fn a_large_request_is_refused_unread() {
        let large = vec![0x30; 1 << 20];
        assert_eq!(
            PublicKey::from_request(&large),
            Err(InvalidRequest::TooLong(1 << 20))
        );
        let chatter = [b"x".repeat(8_000), good_pem()].concat();
        assert!(PublicKey::from_request(&chatter).is_ok());
    }

    fn good_pem() -> Vec<u8> {
        let pem = request(&KeyPair::generate().unwrap()).pem().unwrap();
        format!("\n{pem}").into_bytes()
    }
}
