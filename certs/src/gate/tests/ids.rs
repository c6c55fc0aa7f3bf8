//! Where ids are read from, by the rule of an anchor.

use rcgen::string::BmpString;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, SanType};

use super::super::*;
use super::named;
use crate::device_id::{DeviceId, InvalidDeviceId};
use crate::subject::Kind;
use crate::testing::{NOT_BEFORE, at, leaf, uri};
use crate::text::escape::escaped;

/// A certificate as a foreign authority may make it, and how its id is read.
fn id_from(
    id_from: &IdFrom,
    change: impl FnOnce(&mut CertificateParams),
) -> Result<Subject, Refusal> {
    let trust_domain = &TrustDomain::parse("foreign.example").unwrap();
    let admission = Admission {
        trust_domain,
        id_from,
        revoked: &RevocationSet::default(),
    };
    let der = leaf(change);
    admit(&der, &admission, at(NOT_BEFORE)).map(|device| device.subject().clone())
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

#[test]
fn each_anchor_says_where_its_ids_are() {
    let device = |id| {
        Ok(Subject {
            kind: Kind::Device,
            id: DeviceId::parse(id).unwrap(),
        })
    };
    let both = |params: &mut CertificateParams| {
        named(params, "by-cn");
        params.subject_alt_names = vec![dns("by-dns.example")];
    };
    assert_eq!(id_from(&IdFrom::CommonName, both), device("by-cn"));
    assert_eq!(id_from(&IdFrom::DnsName, both), device("by-dns.example"));
    assert_eq!(id_from(&IdFrom::Uri, both), Err(Refusal::NoDeviceId));
    // A URI of ours in a foreign certificate means nothing: its anchor goes by something else.
    let ours = |params: &mut CertificateParams| {
        named(params, "by-cn");
        params.subject_alt_names = vec![uri("spiffe://fleet.example/app/admin")];
    };
    assert_eq!(id_from(&IdFrom::CommonName, ours), device("by-cn"));
}

#[test]
fn cve_2017_7650_a_hostile_common_name_or_dns_name_is_no_id() {
    use InvalidDeviceId::{Character, Empty, FirstCharacter, TooLong};
    let long = "x".repeat(65);
    let hostile = [
        ("+", FirstCharacter('+')),
        ("#", FirstCharacter('#')),
        ("a/b", Character('/')),
        ("$SYS", FirstCharacter('$')),
        ("*.example", FirstCharacter('*')),
        ("a.*", Character('*')),
        ("dev-1\0", Character('\0')),
        ("dev-1 ", Character(' ')),
        (&long, TooLong(65)),
    ];
    for (name, why) in hostile {
        let refused = |place| Refusal::UnfitName {
            place,
            why: UnfitId::NoDeviceId {
                name: escaped(name).into(),
                why,
            },
        };
        let found = id_from(&IdFrom::CommonName, |params| named(params, name));
        assert_eq!(found, Err(refused(NamePlace::CommonName)), "{name:?}");
        let names = vec![dns(name)];
        let found = id_from(&IdFrom::DnsName, |params| params.subject_alt_names = names);
        assert_eq!(found, Err(refused(NamePlace::DnsName)), "{name:?}");
    }
    let cyrillic = id_from(&IdFrom::CommonName, |params| named(params, "d\u{435}v-1"));
    assert!(
        matches!(cyrillic, Err(Refusal::UnfitName { .. })),
        "{cyrillic:?}"
    );
    let empty = id_from(&IdFrom::CommonName, |params| named(params, ""));
    let why = UnfitId::NoDeviceId {
        name: "".into(),
        why: Empty,
    };
    assert_eq!(
        empty,
        Err(Refusal::UnfitName {
            place: NamePlace::CommonName,
            why
        })
    );
}

#[test]
fn one_name_is_an_id_and_none_several_or_unreadable_ones_are_not() {
    let place = NamePlace::CommonName;
    let common_name = |change: &dyn Fn(&mut CertificateParams)| {
        id_from(&IdFrom::CommonName, |params| change(params)).unwrap_err()
    };
    let bmp = DnValue::BmpString(BmpString::try_from("dev-1").unwrap());
    for (refused, why) in [
        (
            common_name(&|p| p.distinguished_name = DistinguishedName::new()),
            UnfitId::Missing,
        ),
        (common_name(&|p| named(p, bmp.clone())), UnfitId::NotText),
        (
            common_name(&|p| {
                let twin = DnType::CustomDnType(vec![2, 5, 4, 3]);
                p.distinguished_name.push(twin, "dev-1");
            }),
            UnfitId::Several,
        ),
    ] {
        assert_eq!(refused, Refusal::UnfitName { place, why });
    }
    let place = NamePlace::DnsName;
    for (names, why) in [
        (vec![], UnfitId::Missing),
        (
            vec![uri("spiffe://foreign.example/device/dev-1")],
            UnfitId::Missing,
        ),
        (vec![dns("dev-1"), dns("dev-1")], UnfitId::Several),
        (vec![dns("Dev-1")], UnfitId::NotCanonical("Dev-1".into())),
        (vec![dns("dev-1.")], UnfitId::NotCanonical("dev-1.".into())),
        (vec![dns("a..b")], UnfitId::NotCanonical("a..b".into())),
    ] {
        let refused = id_from(&IdFrom::DnsName, |params| params.subject_alt_names = names);
        assert_eq!(refused, Err(Refusal::UnfitName { place, why }));
    }
}

#[test]
fn a_common_name_keeps_its_case() {
    let id = |name: &str| id_from(&IdFrom::CommonName, |p| named(p, name)).unwrap().id;
    assert_eq!(id("Dev-1").as_str(), "Dev-1");
    assert_ne!(id("Dev-1"), id("dev-1"));
}

#[test]
fn a_fingerprint_is_whose_the_table_says() {
    let der = leaf(|params| named(params, "whoever"));
    let certificate = Certificate::read(&der).unwrap();
    let [one, two] = ["dev-1", "dev-2"].map(|id| DeviceId::parse(id).unwrap());
    let mut table = Fingerprints::default();
    table.insert(certificate.sha256, one.clone()).unwrap();
    table.insert(certificate.sha256, one.clone()).unwrap();
    table.insert([7; 32], one.clone()).unwrap();
    let twice = table.insert(certificate.sha256, two.clone());
    assert_eq!(twice, Err(FingerprintTwice(one.clone(), two)));

    let trust_domain = &TrustDomain::default();
    let admitted = |table: &Fingerprints| {
        let id_from = &IdFrom::Fingerprint(table.clone());
        let admission = Admission {
            trust_domain,
            id_from,
            revoked: &RevocationSet::default(),
        };
        admit(&der, &admission, at(NOT_BEFORE)).map(|device| device.subject().id.clone())
    };
    assert_eq!(admitted(&table), Ok(one));
    assert_eq!(
        admitted(&Fingerprints::default()),
        Err(Refusal::UnknownFingerprint)
    );

    let colons = ["AB"; 32].join(":");
    assert_eq!(Fingerprints::parse(&colons), Some([0xab; 32]));
    assert_eq!(Fingerprints::parse(&"ab".repeat(32)), Some([0xab; 32]));
    for text in ["", "ab", &"ab".repeat(31), &"ab".repeat(33)] {
        assert_eq!(Fingerprints::parse(text), None, "{text}");
    }
}
