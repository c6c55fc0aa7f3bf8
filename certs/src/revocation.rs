//! The identity gate: who may come in, and who may not any more.
//!
//! A [`VerifiedDevice`] is made here and nowhere else; whoever holds one has passed every question
//! below at least once. The path (signatures up to an anchor) is verified before, in the TLS
//! handshake; these questions are asked after every handshake, resumed or not.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;

use crate::certificate::{Certificate, CommonName};
use crate::escape::escaped;
use crate::extensions::{BasicConstraints, Purpose, Usage};
use crate::refusal::Refusal;
use crate::serial::Serial;
use crate::subject::{Subject, TrustDomain, parse_spiffe_uri};

/// Against what a certificate is judged.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// The trust domain for which the anchor that stands behind the certificate may speak.
    pub trust_domain: &'a TrustDomain,
    /// Who was revoked.
    pub revoked: &'a RevocationSet,
}

/// Admits the holder of the certificate `leaf`, whose path to an anchor has been verified.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn admit(
    leaf: &[u8],
    admission: &Admission<'_>,
    now: UnixTime,
) -> Result<VerifiedDevice, Refusal> {
    admit_read(Certificate::read(leaf)?, admission, now)
}

/// As [`admit`], of a certificate that has been read.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn admit_read(
    certificate: Certificate,
    admission: &Admission<'_>,
    now: UnixTime,
) -> Result<VerifiedDevice, Refusal> {
    check_usage(&certificate)?;
    let subject = subject_of(&certificate, admission.trust_domain)?;
    let device = VerifiedDevice {
        subject,
        certificate: Arc::new(certificate),
    };
    is_still_admitted(&device, admission.revoked, now)?;
    Ok(device)
}

/// Asks again of a device once admitted what time and operators may have changed since.
///
/// # Errors
/// The first [`Refusal`] that applies now.
pub fn is_still_admitted(
    device: &VerifiedDevice,
    revoked: &RevocationSet,
    now: UnixTime,
) -> Result<(), Refusal> {
    check_validity(&device.certificate, now)?;
    revoked.check(&device.subject, &device.certificate)
}

/// Checks what webpki leaves open of an issuer between the leaf and the anchor: that it may sign
/// certificates by its basic constraints *and* by its key usage.
///
/// # Errors
/// [`Refusal::IssuerIsNoAuthority`], or [`Refusal::Malformed`].
pub fn check_issuer(der: &[u8]) -> Result<(), Refusal> {
    let certificate = Certificate::read(der)?;
    let may_sign = certificate
        .extensions
        .key_usage
        .contains(&Usage::KeyCertSign);
    match certificate.extensions.basic_constraints {
        BasicConstraints::Authority { .. } if may_sign => Ok(()),
        BasicConstraints::Authority { .. } | BasicConstraints::EndEntity => {
            Err(Refusal::IssuerIsNoAuthority)
        }
    }
}

/// A device (or application) that has proved who it is.
///
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedDevice {
    subject: Subject,
    certificate: Arc<Certificate>,
}

impl VerifiedDevice {
    /// Who it is.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The certificate that proved it.
    pub fn certificate(&self) -> &Arc<Certificate> {
        &self.certificate
    }

    /// The last second of the proof.
    pub fn not_after(&self) -> UnixTime {
        self.certificate.not_after
    }

    /// The serial number of the certificate.
    pub fn serial(&self) -> Serial {
        self.certificate.serial
    }

    /// The fingerprint of the certificate.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.certificate.sha256
    }
}

/// Who was revoked: certificates by issuer key and serial number, devices by name.
#[derive(Clone, Debug, Default)]
pub struct RevocationSet {
    certificates: HashMap<Box<[u8]>, HashSet<Serial>>,
    subjects: HashSet<Subject>,
}

impl RevocationSet {
    /// Adds one certificate of the issuer whose key has the identifier `issuer_key_id`.
    pub fn revoke_certificate(&mut self, issuer_key_id: &[u8], serial: Serial) {
        if let Some(serials) = self.certificates.get_mut(issuer_key_id) {
            serials.insert(serial);
        } else {
            self.certificates
                .insert(issuer_key_id.into(), HashSet::from([serial]));
        }
    }

    /// Adds a device, with every certificate it has or will have.
    pub fn revoke_subject(&mut self, subject: Subject) {
        self.subjects.insert(subject);
    }

    fn check(&self, subject: &Subject, certificate: &Certificate) -> Result<(), Refusal> {
        if self.subjects.contains(subject) {
            return Err(Refusal::RevokedDevice);
        }
        let issuer = certificate
            .extensions
            .issuer_key_id
            .as_deref()
            .ok_or(Refusal::NoIssuerKeyId)?;
        match self.certificates.get(issuer) {
            Some(serials) if serials.contains(&certificate.serial) => {
                Err(Refusal::RevokedCertificate)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// webpki lets a *missing* extended key usage or key usage pass as if it permitted everything.
fn check_usage(certificate: &Certificate) -> Result<(), Refusal> {
    if certificate.extensions.basic_constraints != BasicConstraints::EndEntity {
        return Err(Refusal::IsAuthority);
    }
    if !certificate
        .extensions
        .extended_key_usage
        .contains(&Purpose::ClientAuth)
    {
        return Err(Refusal::NotAClientCertificate(
            certificate.extensions.extended_key_usage.clone().into(),
        ));
    }
    if !certificate
        .extensions
        .key_usage
        .contains(&Usage::DigitalSignature)
    {
        return Err(Refusal::NoDigitalSignature);
    }
    Ok(())
}

/// The URI decides. A common name may be absent, but may not say otherwise: other tools go by it.
fn subject_of(certificate: &Certificate, ours: &TrustDomain) -> Result<Subject, Refusal> {
    let uri = match certificate.extensions.uri_names.as_slice() {
        [] => return Err(Refusal::NoDeviceId),
        [only] => only,
        several => return Err(Refusal::SeveralDeviceIds(several.len())),
    };
    let (trust_domain, subject) =
        parse_spiffe_uri(uri).map_err(|why| Refusal::InvalidDeviceId {
            uri: escaped(uri).into(),
            why,
        })?;
    if trust_domain != *ours {
        return Err(Refusal::ForeignTrustDomain(trust_domain.as_str().into()));
    }
    let common_name = match &certificate.common_name {
        CommonName::Absent => return Ok(subject),
        CommonName::One(name) if **name == *subject.id.as_str() => return Ok(subject),
        CommonName::One(name) => escaped(name),
        CommonName::Several => "(several)".to_owned(),
        CommonName::Unreadable => "(not text)".to_owned(),
    };
    let id = subject.id.as_str().into();
    Err(Refusal::NameMismatch {
        id,
        common_name: common_name.into(),
    })
}

fn check_validity(certificate: &Certificate, now: UnixTime) -> Result<(), Refusal> {
    let seconds = |from: UnixTime, to: UnixTime| {
        Duration::from_secs(to.as_secs().saturating_sub(from.as_secs()))
    };
    if now < certificate.not_before {
        return Err(Refusal::NotYetValid {
            until: seconds(now, certificate.not_before),
        });
    }
    if now > certificate.not_after {
        return Err(Refusal::Expired {
            since: seconds(certificate.not_after, now),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rcgen::string::BmpString;
    use rcgen::{
        CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
        ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
    };

    use super::*;
    use crate::device_id::{DeviceId, InvalidDeviceId};
    use crate::subject::{InvalidSpiffeId, Kind};
    use crate::testing::{LIFETIME, NOT_BEFORE, at, leaf, uri};

    const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
    const KEY_USAGE: &[u64] = &[2, 5, 29, 15];

    fn admit_at(der: &[u8], now: u64) -> Result<VerifiedDevice, Refusal> {
        let trust_domain = &TrustDomain::parse("fleet.example").unwrap();
        admit(
            der,
            &Admission {
                trust_domain,
                revoked: &RevocationSet::default(),
            },
            at(now),
        )
    }

    fn admit_changed(change: impl FnOnce(&mut CertificateParams)) -> Result<Subject, Refusal> {
        admit_at(&leaf(change), NOT_BEFORE).map(|device| device.subject().clone())
    }

    fn refusal(change: impl FnOnce(&mut CertificateParams)) -> Refusal {
        admit_changed(change).unwrap_err()
    }

    fn named(params: &mut CertificateParams, name: impl Into<DnValue>) {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
    }

    #[test]
    fn a_good_certificate_admits_its_device() {
        let der = leaf(|_| {});
        let device = admit_at(&der, NOT_BEFORE).unwrap();
        assert_eq!(device.subject().to_string(), "dev-1");
        assert_eq!(device.subject().kind, Kind::Device);
        assert_eq!(device.not_after(), at(NOT_BEFORE + LIFETIME));
        assert_eq!(device.serial().to_string(), "07".repeat(20));
        assert_eq!(&*device.certificate().subject, "CN=dev-1");
        assert_eq!(device.sha256(), &Certificate::read(&der).unwrap().sha256);
    }

    #[test]
    fn an_application_is_not_the_device_of_the_same_id() {
        let app = admit_changed(|params| {
            params.subject_alt_names = vec![uri("spiffe://fleet.example/app/dev-1")];
        })
        .unwrap();
        assert_eq!(app.to_string(), "app/dev-1");
        assert_ne!(app, admit_changed(|_| {}).unwrap());
    }

    #[test]
    fn a_certificate_without_common_name_goes_by_its_uri() {
        let subject = admit_changed(|params| params.distinguished_name = DistinguishedName::new());
        assert_eq!(subject.unwrap().to_string(), "dev-1");
    }

    /// CVE-2017-7650: an id that means more than itself to the layers behind.
    #[test]
    fn cve_2017_7650_a_hostile_id_is_refused_with_its_reason() {
        use InvalidDeviceId::{Character, Empty, FirstCharacter, TooLong};
        let long = "x".repeat(65);
        let cases = [
            ("", Empty),
            ("+", FirstCharacter('+')),
            ("#", FirstCharacter('#')),
            ("a/b", Character('/')),
            ("dev-1/#", Character('/')),
            ("$x", FirstCharacter('$')),
            (".*", FirstCharacter('.')),
            ("%u", FirstCharacter('%')),
            ("${id}", FirstCharacter('$')),
            ("dev-1\0.evil", Character('\0')),
            ("dev-1\n", Character('\n')),
            (&long, TooLong(65)),
        ];
        for (id, why) in cases {
            let refused = refusal(|params| {
                named(params, id);
                params.subject_alt_names =
                    vec![uri(&format!("spiffe://fleet.example/device/{id}"))];
            });
            let Refusal::InvalidDeviceId { why: found, uri } = &refused else {
                panic!("{id:?}: {refused:?}");
            };
            assert_eq!(*found, InvalidSpiffeId::Id(why), "{id:?}");
            assert!(!uri.contains(['\0', '\n']), "{uri:?}");
        }
    }

    #[test]
    fn a_common_name_that_says_otherwise_is_refused() {
        let bmp = DnValue::BmpString(BmpString::try_from("dev-1").unwrap());
        let cases: [(DnValue, &str); 7] = [
            ("dev-2".into(), "dev-2"),
            ("DEV-1".into(), "DEV-1"),
            ("dev-1 ".into(), "dev-1 "),
            ("dev-1\0".into(), "dev-1\\0"),
            ("d\u{435}v-1\u{202e}".into(), "d\u{435}v-1\\u{202e}"),
            ("".into(), ""),
            (bmp, "(not text)"),
        ];
        for (name, shown) in cases {
            let refused = refusal(|params| named(params, name));
            let expected = Refusal::NameMismatch {
                id: "dev-1".into(),
                common_name: shown.into(),
            };
            assert_eq!(refused, expected);
        }
    }

    #[test]
    fn two_common_names_are_refused_even_when_one_is_right() {
        for second in ["dev-1", "admin"] {
            let refused = refusal(|params| {
                let twin = DnType::CustomDnType(vec![2, 5, 4, 3]);
                params.distinguished_name.push(twin, second);
            });
            let common_name = "(several)".into();
            assert_eq!(
                refused,
                Refusal::NameMismatch {
                    id: "dev-1".into(),
                    common_name
                }
            );
        }
    }

    #[test]
    fn exactly_one_uri_names_a_device() {
        let ours = "spiffe://fleet.example/device/dev-1";
        for (uris, expected) in [
            (vec![], Refusal::NoDeviceId),
            (vec![ours, ours], Refusal::SeveralDeviceIds(2)),
            (
                vec![ours, "https://example.org/"],
                Refusal::SeveralDeviceIds(2),
            ),
        ] {
            let names = uris.into_iter().map(uri).collect();
            assert_eq!(refusal(|params| params.subject_alt_names = names), expected);
        }
        let dns = SanType::DnsName("dev-1".try_into().unwrap());
        let refused = refusal(|params| params.subject_alt_names = vec![dns]);
        assert_eq!(refused, Refusal::NoDeviceId);
    }

    #[test]
    fn an_issuer_speaks_for_its_own_trust_domain_only() {
        let foreign = uri("spiffe://other.example/device/dev-1");
        let refused = refusal(|params| params.subject_alt_names = vec![foreign]);
        assert_eq!(refused, Refusal::ForeignTrustDomain("other.example".into()));
    }

    #[test]
    fn only_a_certificate_for_clients_that_may_sign_is_admitted() {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
        let not_a_client = |purposes: &[Purpose]| Refusal::NotAClientCertificate(purposes.into());
        for (purposes, expected) in [
            (vec![], not_a_client(&[])),
            (vec![ServerAuth], not_a_client(&[Purpose::ServerAuth])),
            (vec![Any], not_a_client(&[Purpose::Any])),
        ] {
            assert_eq!(
                refusal(|params| params.extended_key_usages = purposes),
                expected
            );
        }
        let both = vec![ServerAuth, ClientAuth];
        assert!(admit_changed(|params| params.extended_key_usages = both).is_ok());
        for usages in [vec![], vec![KeyUsagePurpose::KeyEncipherment]] {
            let refused = refusal(|params| params.key_usages = usages);
            assert_eq!(refused, Refusal::NoDigitalSignature);
        }
        let authority = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        assert_eq!(
            refusal(|params| params.is_ca = authority),
            Refusal::IsAuthority
        );
        let refused = refusal(|params| params.use_authority_key_identifier_extension = false);
        assert_eq!(refused, Refusal::NoIssuerKeyId);
    }

    #[test]
    fn rfc_5280_4_2_an_extension_twice_or_broken_is_malformed() {
        for (oid, content, why) in [
            (
                SUBJECT_ALT_NAME,
                b"\x30\x00".to_vec(),
                "an extension stands there twice",
            ),
            (
                KEY_USAGE,
                b"\x03\x02\x07\x80".to_vec(),
                "an extension stands there twice",
            ),
            (
                &[2, 5, 29, 19],
                b"\x30\x00".to_vec(),
                "an extension stands there twice",
            ),
        ] {
            let extension = CustomExtension::from_oid_content(oid, content);
            let refused = refusal(|params| params.custom_extensions = vec![extension]);
            assert_eq!(refused, Refusal::Malformed(why));
        }
        let broken = CustomExtension::from_oid_content(KEY_USAGE, b"\x04\x01\x80".to_vec());
        let refused = refusal(|params| {
            params.key_usages = vec![];
            params.custom_extensions = vec![broken];
        });
        assert_eq!(refused, Refusal::Malformed("an extension is broken"));
    }

    #[test]
    fn a_certificate_counts_from_its_first_to_its_last_second() {
        let der = leaf(|_| {});
        let (first, last) = (NOT_BEFORE, NOT_BEFORE + LIFETIME);
        for now in [first, last] {
            assert!(admit_at(&der, now).is_ok());
        }
        for (now, words) in [
            (first - 60, "not valid for another 60 s"),
            (last + 1, "expired 1 s ago"),
            (last + 3 * 3_600, "expired 3 h ago"),
            (last + 3 * 86_400, "expired 3 d ago"),
        ] {
            assert_eq!(admit_at(&der, now).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn a_revoked_certificate_or_device_is_no_longer_admitted() {
        let device = admit_at(&leaf(|_| {}), NOT_BEFORE).unwrap();
        let issuer = device
            .certificate()
            .extensions
            .issuer_key_id
            .clone()
            .unwrap();
        let ask = |revoked: &RevocationSet| is_still_admitted(&device, revoked, at(NOT_BEFORE));

        let mut revoked = RevocationSet::default();
        revoked.revoke_certificate(b"another issuer", device.serial());
        revoked.revoke_certificate(&issuer, Serial::from_octets(&[1]).unwrap());
        let id = DeviceId::parse("dev-1").unwrap();
        revoked.revoke_subject(Subject {
            kind: Kind::App,
            id: id.clone(),
        });
        assert_eq!(ask(&revoked), Ok(()));

        let mut one_more = revoked.clone();
        one_more.revoke_certificate(&issuer, device.serial());
        assert_eq!(ask(&one_more), Err(Refusal::RevokedCertificate));
        revoked.revoke_subject(Subject {
            kind: Kind::Device,
            id,
        });
        assert_eq!(ask(&revoked), Err(Refusal::RevokedDevice));
    }

    #[test]
    fn an_issuer_must_be_an_authority_by_both_extensions() {
        let authority = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        for (is_ca, usages, expected) in [
            (authority, vec![KeyUsagePurpose::KeyCertSign], Ok(())),
            (
                authority,
                vec![KeyUsagePurpose::CrlSign],
                Err(Refusal::IssuerIsNoAuthority),
            ),
            (authority, vec![], Err(Refusal::IssuerIsNoAuthority)),
            (
                IsCa::ExplicitNoCa,
                vec![KeyUsagePurpose::KeyCertSign],
                Err(Refusal::IssuerIsNoAuthority),
            ),
        ] {
            let der = leaf(|params| {
                params.is_ca = is_ca;
                params.key_usages = usages;
            });
            assert_eq!(check_issuer(&der), expected);
        }
    }
}
