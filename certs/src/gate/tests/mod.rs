//! What the gate admits and what it refuses, with the reason.

use rcgen::string::BmpString;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
};

mod ids;

use super::*;
use crate::device_id::{DeviceId, InvalidDeviceId};
use crate::revocation::Revoked;
use crate::status::RevocationReason;
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
            id_from: &IdFrom::Uri,
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
            params.subject_alt_names = vec![uri(&format!("spiffe://fleet.example/device/{id}"))];
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
    let since = Revoked {
        at: at(NOT_BEFORE),
        reason: RevocationReason::KeyCompromise,
    };
    let subject = |kind| Subject {
        kind,
        id: DeviceId::parse("dev-1").unwrap(),
    };

    let mut revoked = RevocationSet::default();
    revoked.revoke_certificate(b"another issuer", device.serial(), since);
    revoked.revoke_certificate(&issuer, Serial::from_octets(&[1]).unwrap(), since);
    revoked.revoke_subject(subject(Kind::App), since);
    assert_eq!(ask(&revoked), Ok(()));

    let mut one_more = revoked.clone();
    one_more.revoke_certificate(&issuer, device.serial(), since);
    assert_eq!(ask(&one_more), Err(Refusal::RevokedCertificate(since)));
    revoked.revoke_subject(subject(Kind::Device), since);
    let refused = ask(&revoked).unwrap_err();
    assert_eq!(refused, Refusal::RevokedDevice(since));
    let words = "device was revoked at 2027-01-15T08:00:00Z (key-compromise)";
    assert_eq!(refused.to_string(), words);
}

#[test]
fn a_revoked_device_comes_in_with_a_certificate_made_later() {
    let subject = Subject {
        kind: Kind::Device,
        id: DeviceId::parse("dev-1").unwrap(),
    };
    let ask = |revoked_at: &[u64]| {
        let mut revoked = RevocationSet::default();
        for seconds in revoked_at {
            let reason = RevocationReason::Superseded;
            revoked.revoke_subject(
                subject.clone(),
                Revoked {
                    at: at(*seconds),
                    reason,
                },
            );
        }
        let device = admit_at(&leaf(|_| {}), NOT_BEFORE).unwrap();
        is_still_admitted(&device, &revoked, at(NOT_BEFORE + 60)).is_ok()
    };
    assert!(ask(&[NOT_BEFORE - 1]));
    assert!(!ask(&[NOT_BEFORE]));
    assert!(!ask(&[NOT_BEFORE + 1]));
    // Revoked again, it is revoked up to the later time, in whatever order that is said.
    assert!(!ask(&[NOT_BEFORE - 1, NOT_BEFORE]));
    assert!(!ask(&[NOT_BEFORE, NOT_BEFORE - 1]));
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
