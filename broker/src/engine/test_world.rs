//! A world for the engine's tests: devices with real certificates, and what they hear as text.
//!
//! What a client hears reads like this: `PUBLISH a/b=payload q1 #7 dup retain ids[3] expires[9]`.
//! A `*` in front says that it waits for the records.

use super::policy::{Policy, Rights, SubscribePermit};
use super::{
    After, Arrival, CloseReason, ConnectionId, Counters, Delivery, Effect, Engine, Forward, Input,
    Limits, Message, Outgoing, Record, SessionKey, ShardPlace, Time,
};
use bytes::Bytes;
use certs::{Admission, RevocationSet, Subject, TrustDomain, VerifiedDevice, admit};
use protocol::Text;
use protocol::packet::{
    Ack, Connect, ConnectProperties, Disconnect, ForwardedProperties, Packet, PacketId, Publish,
    QoS, RetainHandling, Subscribe, Subscription, Unsubscribe, Version, Will,
};
use protocol::topic::{TopicFilter, TopicName};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::UnixTime;
use std::collections::{BTreeMap, HashMap};
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

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) now: Time,
    heard: BTreeMap<ConnectionId, Vec<(After, Outgoing)>>,
    records: Vec<Record>,
    forwards: Vec<Forward>,
    connections: u64,
}

impl World {
    /// Everybody may do everything.
    pub(super) fn open() -> Self {
        Self::new(Limits::default(), OPEN)
    }

    /// As open, with these limits.
    pub(super) fn limited(limit: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        limit(&mut limits);
        Self::new(limits, OPEN)
    }

    /// With these rules besides the built-in one.
    pub(super) fn ruled(rules: &str) -> Self {
        Self::new(Limits::default(), rules)
    }

    fn new(limits: Limits, policy: &str) -> Self {
        Self::in_place(limits, policy, ShardPlace { index: 0, count: 1 })
    }

    pub(super) fn in_place(limits: Limits, policy: &str, place: ShardPlace) -> Self {
        Self {
            engine: Engine::new(limits, parse(policy), place, 7),
            now: Time::from_millis(1_800_000_000_000),
            heard: BTreeMap::new(),
            records: Vec::new(),
            forwards: Vec::new(),
            connections: 0,
        }
    }

    /// A device connects with 5.0, its id as client id, and a clean start.
    pub(super) fn enter(&mut self, device: &str) -> ConnectionId {
        self.enter_with(device, |_| {})
    }

    /// A device connects and is given a session; its CONNACK is not shown.
    #[track_caller]
    pub(super) fn enter_with(
        &mut self,
        device: &str,
        change: impl FnOnce(&mut Connect),
    ) -> ConnectionId {
        let connection = self.knock(device, change);
        let connack = say(&self.heard.entry(connection).or_default().remove(0));
        assert!(connack.contains("CONNACK 00"), "{connack}");
        connection
    }

    /// A device connects; what it hears begins with its CONNACK.
    pub(super) fn knock(
        &mut self,
        device: &str,
        change: impl FnOnce(&mut Connect),
    ) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let device = verified(device);
        let mut connect = connect(device.subject().id.as_str());
        change(&mut connect);
        let arrival = Arrival {
            connection,
            device,
            connect,
            nonce: 0xABCD,
        };
        self.input(Input::Connect(Box::new(arrival)));
        connection
    }

    /// A client sends a packet.
    pub(super) fn send(&mut self, connection: ConnectionId, packet: Packet) {
        self.input(Input::Packet { connection, packet });
    }

    /// A client subscribes; its SUBACK is not shown.
    #[track_caller]
    pub(super) fn subscribe(&mut self, connection: ConnectionId, filter: &str, qos: QoS) {
        self.send(connection, subscribe(&[(filter, qos)]));
        let heard = self.heard.entry(connection).or_default();
        let is_suback =
            |said: &(_, Outgoing)| matches!(said.1, Outgoing::Packet(Packet::Suback(_)));
        let suback = heard.iter().position(is_suback).unwrap();
        let suback = say(&heard.remove(suback));
        assert!(
            suback.ends_with(&format!("[{:02x}]", qos.bits())),
            "{suback}"
        );
    }

    pub(super) fn lose(&mut self, connection: ConnectionId) {
        self.input(Input::Lost { connection });
    }

    pub(super) fn load_policy(&mut self, policy: &str) {
        self.input(Input::Policy(parse(policy)));
    }

    /// Time passes, and what is due happens when it is due.
    pub(super) fn wait(&mut self, seconds: u32) {
        let until = self.now.after_seconds(seconds);
        while let Some(deadline) = self.engine.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(deadline);
            self.input(Input::Tick);
        }
        self.now = until;
    }

    pub(super) fn input(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        let mut effects = Vec::new();
        self.engine.take_effects(&mut effects);
        for effect in effects {
            match effect {
                Effect::Record(record) => self.records.push(record),
                Effect::Forward(forward) => self.forwards.push(forward),
                Effect::Speak(speech) => {
                    let heard = self.heard.entry(speech.connection).or_default();
                    heard.push((speech.after, speech.outgoing));
                }
            }
        }
    }

    /// All that this client has heard since it was asked last.
    pub(super) fn heard(&mut self, connection: ConnectionId) -> Vec<String> {
        self.heard
            .remove(&connection)
            .unwrap_or_default()
            .iter()
            .map(say)
            .collect()
    }

    /// All that was said to anybody since it was asked last.
    pub(super) fn take_heard(&mut self) -> BTreeMap<ConnectionId, Vec<(After, Outgoing)>> {
        std::mem::take(&mut self.heard)
    }

    /// All that each has heard since it was asked last.
    pub(super) fn all_heard(&mut self) -> Vec<(ConnectionId, Vec<String>)> {
        let heard = self.take_heard();
        heard
            .into_iter()
            .map(|(id, heard)| (id, heard.iter().map(say).collect()))
            .collect()
    }

    /// The same as it was said.
    pub(super) fn last_words(&mut self, connection: ConnectionId) -> Vec<Outgoing> {
        let heard = self.heard.remove(&connection).unwrap_or_default();
        heard.into_iter().map(|(_, outgoing)| outgoing).collect()
    }

    /// All records since they were asked for last.
    pub(super) fn records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    /// What kinds of records these are.
    pub(super) fn record_names(&mut self) -> Vec<String> {
        let name = |record: &Record| {
            let debug = format!("{record:?}");
            debug
                .split([' ', '{'])
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        self.records().iter().map(name).collect()
    }

    /// All that went to other shards since it was asked for last.
    pub(super) fn forwards(&mut self) -> Vec<Forward> {
        std::mem::take(&mut self.forwards)
    }

    pub(super) fn counters(&self) -> &Counters {
        self.engine.counters()
    }
}

/// The built-in rule and these, read once.
pub(super) fn parse(rules: &str) -> Arc<Policy> {
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
pub(super) fn permit(filter: &str) -> SubscribePermit {
    static RIGHTS: LazyLock<Rights> = LazyLock::new(|| rights("dev-1"));
    RIGHTS
        .permit_subscribe(&TopicFilter::parse(filter).unwrap())
        .unwrap()
}

/// A message that `device` may publish, as everybody may.
pub(super) fn message(
    device: &str,
    topic: &str,
    payload: &str,
    expires_at: Option<Time>,
) -> Arc<Message> {
    static RIGHTS: LazyLock<Rights> = LazyLock::new(|| rights("dev-1"));
    let publish = publish(topic, payload, QoS::AtLeastOnce, 1);
    let permit = RIGHTS.permit_publish(&publish.topic).unwrap();
    let client_id = Text::parse(device).unwrap();
    let publisher = Arc::new(SessionKey {
        subject: subject(device),
        client_id,
    });
    let seconds = expires_at.map(|at| at.since(Time::default()).as_secs().try_into().unwrap());
    let publish = Publish {
        message_expiry_interval: seconds,
        ..publish
    };
    Arc::new(Message::published(
        permit,
        publish,
        &publisher,
        Time::default(),
    ))
}

pub(super) fn subject(device: &str) -> Subject {
    verified(device).subject().clone()
}

fn rights(device: &str) -> Rights {
    let policy = parse(&OPEN.replace(r#""$SYS/#""#, r#""$SYS/#", "$x/#""#));
    policy
        .rights(&subject(device), &Text::parse(device).unwrap())
        .unwrap()
}

/// A CONNECT of 5.0 with a clean start.
pub(crate) fn connect(client_id: &str) -> Connect {
    Connect {
        version: Version::V5,
        clean_start: true,
        keep_alive: 60,
        client_id: Text::parse(client_id).unwrap(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// Makes a CONNECT go on with a session that lasts an hour.
pub(crate) fn lasting(connect: &mut Connect) {
    connect.clean_start = false;
    connect.properties.session_expiry_interval = 3600;
}

/// Makes a CONNECT one of 3.1.1.
pub(super) fn v311(connect: &mut Connect) {
    connect.version = Version::V311;
}

pub(super) fn will(topic: &str) -> Will {
    Will {
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TopicName::parse(topic).unwrap(),
        payload: Bytes::from_static(b"gone"),
        delay_interval: 0,
        message_expiry_interval: None,
        forwarded: ForwardedProperties::default(),
    }
}

pub(super) fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

/// A PUBLISH with a packet id where there has to be one: `#7 dup retain` may follow the payload.
pub(super) fn publish(topic: &str, payload: &str, qos: QoS, packet_id: u16) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: TopicName::parse(topic).unwrap(),
        packet_id: (qos != QoS::AtMostOnce).then(|| id(packet_id)),
        message_expiry_interval: None,
        subscription_ids: Vec::new(),
        forwarded: ForwardedProperties::default(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

pub(super) fn qos0(topic: &str, payload: &str) -> Packet {
    Packet::Publish(publish(topic, payload, QoS::AtMostOnce, 0))
}

pub(crate) fn qos1(topic: &str, payload: &str, id: u16) -> Packet {
    Packet::Publish(publish(topic, payload, QoS::AtLeastOnce, id))
}

pub(super) fn qos2(topic: &str, payload: &str, id: u16) -> Packet {
    Packet::Publish(publish(topic, payload, QoS::ExactlyOnce, id))
}

pub(super) fn retained(packet: Packet) -> Packet {
    match packet {
        Packet::Publish(publish) => Packet::Publish(Publish {
            retain: true,
            ..publish
        }),
        other => other,
    }
}

pub(super) fn subscription(filter: &str, qos: QoS) -> Subscription {
    Subscription {
        filter: TopicFilter::parse(filter).unwrap(),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    }
}

pub(super) fn subscribe(filters: &[(&str, QoS)]) -> Packet {
    let subscriptions = filters
        .iter()
        .map(|(filter, qos)| subscription(filter, *qos))
        .collect();
    subscribe_to(subscriptions, None)
}

pub(super) fn subscribe_to(subscriptions: Vec<Subscription>, number: Option<u32>) -> Packet {
    Packet::Subscribe(Box::new(Subscribe {
        packet_id: id(99),
        subscriptions,
        subscription_id: number.map(|number| number.try_into().unwrap()),
        user_properties: Vec::new(),
    }))
}

pub(super) fn unsubscribe(filters: &[&str]) -> Packet {
    Packet::Unsubscribe(Box::new(Unsubscribe {
        packet_id: id(98),
        filters: filters
            .iter()
            .map(|filter| TopicFilter::parse(filter).unwrap())
            .collect(),
        user_properties: Vec::new(),
    }))
}

pub(super) fn puback(number: u16) -> Packet {
    Packet::Puback(Ack::success(id(number)))
}

pub(super) fn pubrec(number: u16) -> Packet {
    Packet::Pubrec(Ack::success(id(number)))
}

pub(super) fn pubrel(number: u16) -> Packet {
    Packet::Pubrel(Ack::success(id(number)))
}

pub(super) fn pubcomp(number: u16) -> Packet {
    Packet::Pubcomp(Ack::success(id(number)))
}

pub(super) fn disconnect(reason: protocol::ReasonCode) -> Packet {
    Packet::Disconnect(Box::new(Disconnect::new(reason)))
}

fn say((after, outgoing): &(After, Outgoing)) -> String {
    let mark = if *after == After::Sync { "*" } else { "" };
    mark.to_owned() + &say_outgoing(outgoing)
}

fn say_outgoing(outgoing: &Outgoing) -> String {
    match outgoing {
        Outgoing::Packet(packet) => say_packet(packet),
        Outgoing::Deliver(delivery) => say_delivery(delivery),
        Outgoing::AskDrained => "drained?".to_owned(),
        Outgoing::Close(CloseReason::Disconnected) => "bye".to_owned(),
        Outgoing::Close(CloseReason::Refused(_)) => "refused".to_owned(),
        Outgoing::Close(why) => format!("CLOSE {:02x}", why.disconnect().unwrap().reason.byte()),
    }
}

fn say_packet(packet: &Packet) -> String {
    let ack =
        |name: &str, ack: &Ack| format!("{name} #{} {:02x}", ack.packet_id, ack.reason.byte());
    let codes = |reasons: &[protocol::ReasonCode]| {
        let codes: Vec<_> = reasons
            .iter()
            .map(|code| format!("{:02x}", code.byte()))
            .collect();
        format!("[{}]", codes.join(" "))
    };
    match packet {
        Packet::Connack(connack) => {
            let present = if connack.session_present {
                " present"
            } else {
                ""
            };
            format!("CONNACK {:02x}{present}", connack.reason.byte())
        }
        Packet::Puback(it) => ack("PUBACK", it),
        Packet::Pubrec(it) => ack("PUBREC", it),
        Packet::Pubrel(it) => ack("PUBREL", it),
        Packet::Pubcomp(it) => ack("PUBCOMP", it),
        Packet::Suback(suback) => format!("SUBACK {}", codes(&suback.reasons)),
        Packet::Unsuback(unsuback) => format!("UNSUBACK {}", codes(&unsuback.reasons)),
        other => panic!("the engine never says {other:?}"),
    }
}

fn say_delivery(delivery: &Delivery) -> String {
    let payload = String::from_utf8_lossy(delivery.message.payload());
    let ids = delivery.subscription_ids.as_slice();
    let mut words = vec![
        format!("PUBLISH {}={payload}", delivery.message.topic()),
        format!("q{}", delivery.qos.bits()),
    ];
    words.extend(delivery.packet_id.map(|id| format!("#{id}")));
    words.extend(delivery.dup.then(|| "dup".to_owned()));
    words.extend(delivery.retain.then(|| "retain".to_owned()));
    words.extend((!ids.is_empty()).then(|| format!("ids{ids:?}")));
    let expires = delivery.message_expiry_interval;
    words.extend(expires.map(|seconds| format!("expires[{seconds}]")));
    words.join(" ")
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
        revoked: &RevocationSet::default(),
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOT_BEFORE));
    admit(leaf.der(), &admission, now).unwrap()
}
