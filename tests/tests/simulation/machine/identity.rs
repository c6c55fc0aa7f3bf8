//! Who is who: devices with real certificates, and what they may.

use broker::engine::policy::Policy;
use certs::{Admission, RevocationSet, TrustDomain, VerifiedDevice, admit};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::UnixTime;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// What the rules are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Everybody may do everything.
    Open,
    /// Nobody may have anything to do with what is secret.
    Narrow,
}

/// Below this, topics are secret.
pub(crate) const SECRET: &str = "secret/";

const OPEN: &str = r##"
[[rule]]
name = "open"
client_ids = "*"
publish = ["#"]
subscribe = ["#"]
"##;

const DENIED: &str = r#"
deny_publish = ["secret/#"]
deny_subscribe = ["secret/#"]
"#;

/// The policy with these rules.
pub(crate) fn policy(rules: Rules) -> Arc<Policy> {
    static READ: LazyLock<[Arc<Policy>; 2]> = LazyLock::new(|| {
        [OPEN.to_owned(), OPEN.to_owned() + DENIED]
            .map(|text| Arc::new(Policy::parse("policy.toml", &text).unwrap()))
    });
    let [open, narrow] = &*READ;
    Arc::clone(match rules {
        Rules::Open => open,
        Rules::Narrow => narrow,
    })
}

/// A device as the identity gate admits it, made once for each id.
pub(crate) fn verified(id: &str) -> VerifiedDevice {
    static ADMITTED: LazyLock<Mutex<BTreeMap<String, VerifiedDevice>>> =
        LazyLock::new(Mutex::default);
    let mut admitted = ADMITTED.lock().unwrap();
    let device = admitted.entry(id.to_owned());
    device.or_insert_with(|| admit_new(id)).clone()
}

const NOT_BEFORE: u64 = 1_700_000_000;

fn admit_new(id: &str) -> VerifiedDevice {
    let (ca, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let issuer = Issuer::new(CertificateParams::default(), ca);
    let uri = format!("spiffe://test.example/device/{id}");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, id);
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from(vec![7; 20]));
    params.not_before = rcgen::date_time_ymd(2023, 1, 1);
    params.not_after = rcgen::date_time_ymd(2043, 1, 1);
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let admission = Admission {
        id_from: &certs::IdFrom::Uri,
        trust_domain: &TrustDomain::parse("test.example").unwrap(),
        revoked: &RevocationSet::default(),
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOT_BEFORE));
    admit(leaf.der(), &admission, now).unwrap()
}
