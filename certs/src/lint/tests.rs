//! Every rule finds the certificate that breaks it, and finds nothing in what we issue.

use rcgen::{Issuer, KeyPair};

use super::lint;
use super::spoil::{
    ALTERNATIVE_NAMES, BASIC_CONSTRAINTS, CLIENT_AUTH, COMMON_NAME, Draft, EXTENDED_KEY_USAGE,
    ISSUER_KEY_ID, KEY_ID, KEY_USAGE, UTF8, alternative_name, basic_constraints, device, device_ca,
    key_usage, name, purposes, uri,
};
use crate::certificate::Certificate;
use crate::device_id::DeviceId;
use crate::holder::{AuthorityName, Holder};
use crate::profile::{Profile, Role};
use crate::serial::Serial;
use crate::subject::{Kind, Subject, TrustDomain};
use crate::testing::{NOT_BEFORE, at};

/// The rule that finds it, its clause, and what spoils a good certificate.
type Spoilt = (&'static str, &'static str, fn(&mut Draft));

/// Spoilt device certificates, looked at under the profile of devices too: they break no other
/// rule than the one named.
const DEVICES: &[Spoilt] = &[
    ("form", "RFC 5280 §4.1", |it| it.rest = &[0]),
    ("form", "RFC 5280 §4.1", |it| it.key = vec![0x30, 0]),
    ("serial", "RFC 5280 §4.1.2.2", |it| {
        it.serial = vec![0xd5; 20];
    }),
    ("serial", "RFC 5280 §4.1.2.2", |it| it.serial = vec![0]),
    ("serial-length", "RFC 5280 §4.1.2.2", |it| {
        it.serial = vec![0x55; 21];
    }),
    ("signature-algorithm", "RFC 5280 §4.1.1.2", |it| {
        it.inner_algorithm = &[1, 2, 840, 10045, 4, 3, 3];
    }),
    ("unique-ids", "RFC 5280 §4.1.2.8", |it| {
        it.subject_uid = true;
    }),
    ("validity-form", "RFC 5280 §4.1.2.5", |it| {
        it.dates[1] = (24, "20270415000000Z");
    }),
    ("issuer-name", "RFC 5280 §4.1.2.4", |it| it.issuer.clear()),
    ("name-form", "RFC 5280 §4.1.2.4", |it| {
        it.issuer = vec![(COMMON_NAME, 20, b"CA".into())];
    }),
    ("name-form", "RFC 5280 §4.1.2.4", |it| {
        it.issuer = vec![(COMMON_NAME, 19, b"a@b".into())];
    }),
    ("name-length", "RFC 5280 appendix A.1", |it| {
        it.issuer = vec![name(&"x".repeat(65))];
    }),
    ("name-length", "RFC 5280 appendix A.1", |it| {
        it.issuer = vec![name("")];
    }),
    ("name-country", "RFC 5280 appendix A.1", |it| {
        it.issuer.push((&[2, 5, 4, 6], 19, b"Switzerland".into()));
    }),
    ("extension-twice", "RFC 5280 §4.2", |it| {
        it.extensions.push(it.extensions[2].clone());
    }),
    ("extension-form", "RFC 5280 §4.2", |it| {
        it.set(EXTENDED_KEY_USAGE, vec![4, 0]);
    }),
    ("extension-unknown", "RFC 5280 §4.2", |it| {
        it.add(&[1, 3, 6, 1, 4, 1, 99999, 1], true, vec![5, 0]);
    }),
    ("critical", "RFC 5280 §4.2.1.1", |it| {
        it.extension(ISSUER_KEY_ID).1 = true;
    }),
    ("critical", "RFC 5280 §4.2.1.2", |it| {
        it.extension(KEY_ID).1 = true;
    }),
    ("critical", "RFC 5280 §4.2.1.3", |it| {
        it.extension(KEY_USAGE).1 = false;
    }),
    ("critical", "RFC 5280 §4.2.1.13", |it| {
        it.add(&[2, 5, 29, 31], true, points(true));
    }),
    ("critical", "RFC 5280 §4.2.2.1", |it| {
        it.add(&[1, 3, 6, 1, 5, 5, 7, 1, 1], true, access());
    }),
    ("distribution-points", "RFC 5280 §4.2.1.13", |it| {
        it.add(&[2, 5, 29, 31], false, points(false));
    }),
    ("policies", "RFC 5280 §4.2.1.4", |it| {
        it.add(&[2, 5, 29, 32], false, policies(2));
    }),
    ("authority-key-id", "RFC 5280 §4.2.1.1", |it| {
        it.without(ISSUER_KEY_ID);
    }),
    ("profile-names", "profile device", |it| {
        it.without(ALTERNATIVE_NAMES);
    }),
    ("profile-names", "profile device", |it| {
        it.subject = vec![name("dev-2")];
    }),
    ("profile-names", "profile device", |it| {
        it.set(ALTERNATIVE_NAMES, uri("spiffe://fleet.example/app/dev-1"));
    }),
    ("profile-key-usage", "profile device", |it| {
        it.set(KEY_USAGE, key_usage(&[0, 1]));
    }),
    ("profile-key-usage", "profile device", |it| {
        it.without(KEY_USAGE);
    }),
    ("profile-extended-key-usage", "profile device", |it| {
        it.without(EXTENDED_KEY_USAGE);
    }),
    ("profile-extended-key-usage", "profile device", |it| {
        let server_auth = &[1, 3, 6, 1, 5, 5, 7, 3, 1];
        it.set(EXTENDED_KEY_USAGE, purposes(&[CLIENT_AUTH, server_auth]));
    }),
    ("profile-key-ids", "profile device", |it| it.without(KEY_ID)),
    ("profile-serial", "profile device", |it| {
        it.serial = vec![0x55; 8];
    }),
    ("profile-validity", "profile device", |it| {
        it.dates[1].1 = "290115000000Z";
    }),
    ("profile-signature", "profile device", |it| {
        let sha512 = &[1, 2, 840, 10045, 4, 3, 4];
        (it.inner_algorithm, it.outer_algorithm) = (sha512, sha512);
    }),
    ("profile-key", "profile device", |it| {
        let generated = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        it.key = rcgen::PublicKeyData::subject_public_key_info(&generated);
    }),
];

/// Spoilt certificates of devices, and then of authorities, looked at under RFC 5280 alone.
const PLAIN_DEVICES: &[Spoilt] = &[
    ("version", "RFC 5280 §4.1.2.1", |it| it.version = Some(1)),
    ("validity-order", "RFC 5280 §4.1.2.5", |it| {
        it.dates[1].1 = "270114000000Z";
    }),
    ("subject-name", "RFC 5280 §4.2.1.6", |it| {
        it.subject.clear();
    }),
    ("signature-hash", "RFC 6151 §2, RFC 6194 §3", |it| {
        let sha1 = &[1, 2, 840, 10045, 4, 1];
        (it.inner_algorithm, it.outer_algorithm) = (sha1, sha1);
    }),
    ("public-key", "RFC 5480 §2.2", |it| {
        let len = it.key.len();
        it.key[len - 65] = 9;
    }),
    ("key-usage", "RFC 5280 §4.2.1.3", |it| {
        it.set(KEY_USAGE, key_usage(&[]));
    }),
    ("key-usage", "RFC 5280 §4.2.1.3", |it| {
        it.set(KEY_USAGE, key_usage(&[0, 7]));
    }),
    ("key-usage", "RFC 5280 §4.2.1.9", |it| {
        it.set(KEY_USAGE, key_usage(&[0, 5]));
    }),
    (
        "key-usage-algorithm",
        "RFC 5480 §3, RFC 8410 §5, RFC 9881 §5",
        |it| {
            it.set(KEY_USAGE, key_usage(&[0, 2]));
        },
    ),
    ("basic-constraints", "RFC 5280 §4.2.1.9", |it| {
        it.set(BASIC_CONSTRAINTS, basic_constraints(None, Some(0)));
    }),
    ("name-constraints", "RFC 5280 §4.2.1.10", |it| {
        it.add(&[2, 5, 29, 30], true, constrained());
    }),
    ("extended-key-usage", "RFC 5280 §4.2.1.12", |it| {
        it.set(EXTENDED_KEY_USAGE, purposes(&[&[2, 5, 29, 37, 0]]));
        it.extension(EXTENDED_KEY_USAGE).1 = true;
    }),
    ("alternative-name", "RFC 5280 §4.2.1.6", |it| {
        it.set(ALTERNATIVE_NAMES, vec![0x30, 0]);
    }),
    ("alternative-name", "RFC 5280 §4.2.1.6", |it| {
        it.set(ALTERNATIVE_NAMES, alternative_name(2, b"not a name"));
    }),
    ("alternative-name", "RFC 5280 §4.2.1.6", |it| {
        it.set(ALTERNATIVE_NAMES, uri("device/1"));
    }),
    ("alternative-name", "RFC 5280 §4.2.1.6", |it| {
        it.set(ALTERNATIVE_NAMES, uri("https:///x"));
    }),
    ("alternative-name", "RFC 5280 §4.2.1.6", |it| {
        it.set(ALTERNATIVE_NAMES, alternative_name(7, &[127, 0, 1]));
    }),
    ("alternative-name", "RFC 5280 §4.2.1.6", |it| {
        it.set(ALTERNATIVE_NAMES, alternative_name(1, b"nobody"));
    }),
];

const AUTHORITIES: &[Spoilt] = &[
    ("critical", "RFC 5280 §4.2.1.9", |it| {
        it.extension(BASIC_CONSTRAINTS).1 = false;
    }),
    ("critical", "RFC 5280 §4.2.1.10", |it| {
        it.add(&[2, 5, 29, 30], false, constrained());
    }),
    ("subject-key-id", "RFC 5280 §4.2.1.2", |it| {
        it.without(KEY_ID);
    }),
    ("key-usage", "RFC 5280 §4.2.1.3", |it| {
        it.set(KEY_USAGE, key_usage(&[6]));
    }),
    ("subject-name", "RFC 5280 §4.1.2.6", |it| {
        it.subject.clear();
    }),
];

const DEVICE_CAS: &[Spoilt] = &[
    ("profile-basic-constraints", "profile device-ca", |it| {
        it.set(BASIC_CONSTRAINTS, basic_constraints(Some(true), None));
    }),
    ("profile-names", "profile device-ca", |it| {
        it.subject.push((&[2, 5, 4, 10], UTF8, b" ".into()));
    }),
    ("profile-names", "profile device-ca", |it| {
        it.add(ALTERNATIVE_NAMES, false, uri("https://ca.example"));
    }),
];

#[test]
fn each_spoilt_certificate_gives_exactly_its_finding() {
    for (good, role, cases) in [
        (device as fn() -> Draft, Some(Role::Device), DEVICES),
        (device, None, PLAIN_DEVICES),
        (device_ca, None, AUTHORITIES),
        (device_ca, Some(Role::DeviceCa), DEVICE_CAS),
    ] {
        assert_eq!(lint(&good().der(), role).unwrap(), []);
        for (place, (rule, clause, spoil)) in cases.iter().enumerate() {
            let mut draft = good();
            spoil(&mut draft);
            let found = lint(&draft.der(), role).unwrap();
            let found: Vec<_> = found.iter().map(|it| (it.rule, &*it.clause)).collect();
            assert_eq!(found, [(*rule, *clause)], "case {place}");
        }
    }
}

#[test]
fn a_certificate_of_one_profile_is_not_one_of_another() {
    for role in Role::ALL {
        let other = lint(&device().der(), Some(role)).unwrap();
        assert_eq!(
            other.is_empty(),
            role == Role::Device,
            "{role:?}: {other:?}"
        );
    }
}

#[test]
fn a_certificate_cut_anywhere_is_found_to_be_none() {
    let der = device().der();
    for end in 0..der.len() {
        let found = lint(&der[..end], None).unwrap();
        assert_eq!(found.len(), 1, "{end}");
        assert_eq!(found[0].rule, "form", "{end}");
    }
}

#[test]
fn what_we_issue_is_clean_under_every_profile() {
    let trust_domain = TrustDomain::parse("fleet.example").unwrap();
    let [device, app] = [Kind::Device, Kind::App].map(|kind| Subject {
        kind,
        id: DeviceId::parse("one-1").unwrap(),
    });
    let servers = ["broker.example", "127.0.0.1", "::1"].map(|it| it.try_into().unwrap());
    let authority = |common_name| AuthorityName {
        organization: Some("Müller & Söhne"),
        common_name,
    };
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ML_DSA_44,
        &rcgen::PKCS_ML_DSA_65,
    ] {
        let key = || KeyPair::generate_for(algorithm).unwrap();
        let params = |holder: Holder<'_>, issuer: Option<&Certificate>| {
            let profile = Profile::of(holder.role()).unwrap();
            let validity = profile.validity(at(NOT_BEFORE), issuer);
            let serial = Serial::from_random([0x5a; 20]);
            profile.params(holder, serial, validity).unwrap()
        };
        let root_params = params(Holder::Root(authority("Root 1")), None);
        let root_key = key();
        let root = root_params.self_signed(&root_key).unwrap();
        assert_eq!(lint(root.der(), Some(Role::Root)).unwrap(), []);
        let above = Certificate::read(root.der()).unwrap();
        let issuer = Issuer::new(root_params, root_key);
        for holder in [
            Holder::DeviceCa(authority("Device CA 1")),
            Holder::ServerCa(authority("Server CA 1")),
            Holder::Server(&servers),
            Holder::Peer(&trust_domain, &device),
            Holder::Peer(&trust_domain, &app),
        ] {
            let made = params(holder, Some(&above))
                .signed_by(&key(), &issuer)
                .unwrap();
            assert_eq!(
                lint(made.der(), Some(holder.role())).unwrap(),
                [],
                "{:?}",
                holder.role()
            );
        }
    }
}

/// Distribution points, one of which says where the list is, or for which reasons only.
fn points(says_where: bool) -> Vec<u8> {
    let place: &[u8] = b"\xa0\x10\xa0\x0e\x86\x0chttp://a/crl";
    let reasons: &[u8] = &[0x81, 2, 6, 0x40];
    sequence(&[&sequence(&[if says_where { place } else { reasons }])])
}

fn access() -> Vec<u8> {
    let ocsp: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
    sequence(&[&sequence(&[ocsp, b"\x86\x08http://a"])])
}

fn policies(count: usize) -> Vec<u8> {
    let policy = sequence(&[&[6, 3, 0x2a, 3, 4]]);
    sequence(&vec![&*policy; count])
}

/// Permits names below one domain.
fn constrained() -> Vec<u8> {
    let subtree = sequence(&[b"\x82\x07example"]);
    let mut permitted = sequence(&[&subtree]);
    permitted[0] = 0xa0;
    sequence(&[&permitted])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&[0x30, u8::try_from(content.len()).unwrap()], &*content].concat()
}
