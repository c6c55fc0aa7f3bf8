//! Who is who in the tests: devices with real certificates, and what they may.

use super::{expiring, publish};
use crate::engine::message::Contents;
use crate::engine::policy::{Credentials, Policy, Principal, Publication, Rights, SubscribePermit};
use crate::engine::{Message, SessionKey, Time};
use certs::{Admission, RevocationSet, Subject, TrustDomain, VerifiedDevice, admit};
use protocol::Text;
use protocol::packet::QoS;
use protocol::topic::TopicFilter;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::UnixTime;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// Lets everybody do everything, under any client id.
pub(crate) const OPEN: &str = r##"
[[rule]]
name = "open"
client_ids = "*"
publish = ["#"]
subscribe = ["#", "$SYS/#"]
"##;

/// The built-in rule and these, read once.
pub(crate) fn parse(rules: &str) -> Arc<Policy> {
    static READ: LazyLock<Mutex<HashMap<String, Arc<Policy>>>> = LazyLock::new(Mutex::default);
    let read = || Arc::new(Policy::parse("policy.toml", rules).unwrap());
    match rules {
        "" => Arc::new(Policy::built_in()),
        _ => READ
            .lock()
            .unwrap()
            .entry(rules.to_owned())
            .or_insert_with(read)
            .clone(),
    }
}

/// The permit to subscribe to what everybody may.
pub(crate) fn permit(filter: &str) -> SubscribePermit {
    static RIGHTS: LazyLock<Rights> = LazyLock::new(|| rights("dev-1"));
    RIGHTS
        .permit_subscribe(&TopicFilter::parse(filter).unwrap(), Time::default())
        .unwrap()
}

/// A message that `device` may publish, as everybody may.
pub(crate) fn message(
    device: &str,
    topic: &str,
    payload: &str,
    expires_at: Option<Time>,
) -> Arc<Message> {
    static RIGHTS: LazyLock<Rights> = LazyLock::new(|| rights("dev-1"));
    let publish = publish(topic, payload, QoS::AtLeastOnce, 1);
    let permit = RIGHTS
        .permit_publish(&publish.topic, &Publication::PLAIN)
        .unwrap();
    let client_id = Text::parse(device).unwrap();
    let publisher = Arc::new(SessionKey {
        subject: subject(device),
        client_id,
    });
    let seconds = expires_at.map(|at| at.since(Time::default()).as_secs().try_into().unwrap());
    let publish = expiring(publish, seconds);
    let contents = Contents {
        payload: publish.payload,
        properties: publish.properties,
        qos: publish.qos,
        retain: publish.retain,
    };
    Arc::new(Message::published(permit, contents, Time::default()).by(&publisher))
}

pub(crate) fn subject(device: &str) -> Subject {
    verified(device).subject().clone()
}

fn rights(device: &str) -> Rights {
    let policy = parse(&OPEN.replace(r#""$SYS/#""#, r#""$SYS/#", "$x/#""#));
    rights_by(&policy, device)
}

/// What a device may do under its id as client id.
pub(crate) fn rights_by(policy: &Policy, device: &str) -> Rights {
    let device = verified(device);
    let principal = Principal {
        subject: device.subject(),
        credentials: Some(&Credentials::of(&device)),
    };
    let client_id = Text::parse(device.subject().id.as_str()).unwrap();
    policy.rights(principal, &client_id).unwrap()
}

const NOT_BEFORE: u64 = 1_700_000_000;

/// A device as the identity gate admits it, `app/…` an application; made once for each id.
pub(crate) fn verified(subject: &str) -> VerifiedDevice {
    static ADMITTED: LazyLock<Mutex<HashMap<String, VerifiedDevice>>> =
        LazyLock::new(Mutex::default);
    let mut admitted = ADMITTED.lock().unwrap();
    admitted
        .entry(subject.to_owned())
        .or_insert_with(|| admit_new(subject))
        .clone()
}

/// When the proof of a device is no longer one.
pub(crate) fn proof_end(subject: &str) -> Time {
    let seconds = verified(subject).not_after().as_secs() + 1;
    Time::from_millis(seconds * 1000)
}

fn admit_new(subject: &str) -> VerifiedDevice {
    let (kind, id) = subject.split_once('/').unwrap_or(("device", subject));
    let (ca, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let issuer = Issuer::new(CertificateParams::default(), ca);
    let uri = format!("spiffe://test.example/{kind}/{id}");
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
    let trust_domain = &TrustDomain::parse("test.example").unwrap();
    let admission = Admission {
        trust_domain,
        id_from: &certs::IdFrom::Uri,
        revoked: &RevocationSet::default(),
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOT_BEFORE));
    admit(leaf.der(), &admission, now).unwrap()
}
