//! The bodies of the fuzz targets, bounded: good input cut, changed and stuffed at random.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use countersign_certs as certs;
use proptest::prelude::*;
use proptest::sample::Index;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevocationReason, RevokedCertParams, SanType, SigningKey,
};
use rustls_pki_types::UnixTime;
use std::time::Duration;

#[path = "../fuzz/bodies.rs"]
mod bodies;

/// A certificate that the gate admits, as `bodies::certificate` asks it to.
fn good_certificate() -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "dev-1");
    let uri = "spiffe://countersign.local/device/dev-1";
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .der()
        .to_vec()
}

/// An authority, and a list that it signed.
fn good_list() -> (Vec<u8>, Vec<u8>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().der().to_vec();
    let revoked = |serial: u64| RevokedCertParams {
        serial_number: serial.into(),
        revocation_time: rcgen::date_time_ymd(2027, 1, 1),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2027, 1, 1),
        next_update: rcgen::date_time_ymd(2027, 1, 8),
        crl_number: 7.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked(1), revoked(2)],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&Issuer::new(params, key)).unwrap();
    (authority, list.der().to_vec())
}

fn admin_lines() -> [Vec<u8>; 2] {
    let request = concat!(
        r#"{"version":1,"request":{"explain":{"device":"dev-1","action":"publish","#,
        r#""topic":"a/+"}}}"#,
    );
    let answer = r#"{"version":1,"answer":{"explained":{"decision":"deny","words":"no"}}}"#;
    [request, answer].map(|line| line.as_bytes().to_vec())
}

/// An authority, and an export that it signed.
fn good_export() -> (Vec<u8>, Vec<u8>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().der().to_vec();
    let header = certs::ExportHeader {
        number: 7,
        trust_domain: certs::TrustDomain::default(),
        created: UnixTime::since_unix_epoch(Duration::from_hours(500_000)),
        next_update: UnixTime::since_unix_epoch(Duration::from_hours(500_001)),
    };
    let issuer = certs::Authority::read(&authority).unwrap();
    let mut writer = certs::ExportWriter::new(&header, &issuer).unwrap();
    for id in ["dev-1", "dev-2"] {
        let subject = certs::Subject::parse(id).unwrap();
        writer.add(&certs::KnownDevice::new(subject)).unwrap();
    }
    (authority, writer.sign(|octets| key.sign(octets)).unwrap())
}

fn good_request() -> Vec<u8> {
    let params = CertificateParams::new(["broker.example".to_owned()]).unwrap();
    params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap()
        .der()
        .to_vec()
}

/// One thing done to some octets.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index),
    Cut(Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        4 => any::<(Index, u8)>().prop_map(|(at, octet)| Change::Set(at, octet)),
        2 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(at, octets)| Change::Insert(at, octets)),
        2 => any::<Index>().prop_map(Change::Remove),
        1 => any::<Index>().prop_map(Change::Cut),
    ];
    prop::collection::vec(change, 1..5)
}

fn apply(mut octets: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if octets.is_empty() {
            break;
        }
        match change {
            Change::Set(at, octet) => *at.get_mut(&mut octets) = *octet,
            Change::Insert(at, inserted) => {
                let at = at.index(octets.len());
                octets.splice(at..at, inserted.iter().copied());
            }
            Change::Remove(at) => drop(octets.remove(at.index(octets.len()))),
            Change::Cut(at) => octets.truncate(at.index(octets.len())),
        }
    }
    octets
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn no_certificate_breaks_what_must_hold(changes in changes()) {
        bodies::certificate(&apply(good_certificate(), &changes));
    }

    #[test]
    fn no_revocation_list_breaks_what_must_hold(changes in changes()) {
        let (authority, list) = good_list();
        let issuers = [certs::Authority::read(&authority).unwrap()];
        bodies::revocation_lists(&apply(list, &changes), &issuers);
    }

    #[test]
    fn no_admin_line_breaks_what_must_hold(changes in changes()) {
        for line in admin_lines() {
            bodies::admin_lines(&apply(line, &changes));
        }
    }

    #[test]
    fn no_registry_export_breaks_what_must_hold(changes in changes()) {
        let (authority, export) = good_export();
        let issuers = [certs::Authority::read(&authority).unwrap()];
        bodies::registry_export(&apply(export, &changes), &issuers);
    }

    #[test]
    fn no_request_breaks_what_must_hold(changes in changes()) {
        bodies::request(&apply(good_request(), &changes));
    }

    #[test]
    fn no_name_breaks_what_must_hold(changes in changes(), text in ".{0,80}") {
        bodies::names(&apply(b"spiffe://countersign.local/device/dev-1".to_vec(), &changes));
        bodies::names(&apply(b"dev-1".to_vec(), &changes));
        bodies::names(text.as_bytes());
    }

    #[test]
    fn no_rubbish_breaks_what_must_hold(octets in prop::collection::vec(any::<u8>(), 0..512)) {
        bodies::certificate(&octets);
        bodies::revocation_lists(&octets, &[]);
        bodies::registry_export(&octets, &[]);
        bodies::admin_lines(&octets);
        bodies::request(&octets);
        bodies::names(&octets);
    }
}

/// Without this the properties above could hold for nothing.
#[test]
fn the_seeds_are_good() {
    let trust_domain = &certs::TrustDomain::default();
    let revoked = &certs::RevocationSet::default();
    let now = UnixTime::now();
    certs::admit(
        &good_certificate(),
        &certs::Admission {
            trust_domain,
            id_from: &certs::IdFrom::Uri,
            revoked,
        },
        now,
    )
    .unwrap();
    certs::PublicKey::from_request(&good_request()).unwrap();
    let (authority, list) = good_list();
    let issuers = [certs::Authority::read(&authority).unwrap()];
    assert!(certs::RevocationList::read(&list, &issuers).is_ok());
    bodies::revocation_lists(&list, &issuers);
    let (authority, export) = good_export();
    let issuers = [certs::Authority::read(&authority).unwrap()];
    assert!(certs::RegistryExport::read(&export, &issuers).is_ok());
    let [request, answer] = admin_lines();
    assert!(certs::admin::read_request(&request).is_ok());
    assert!(certs::admin::read_answer(&answer).is_ok());
    bodies::certificate(&good_certificate());
    bodies::request(&good_request());
}
