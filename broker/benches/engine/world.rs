//! An engine as `net` and `shard` use it: bytes of clients in, bytes for clients out.
//!
//! Only what the crate shows to everybody is used, so that what is measured is what runs.

#![allow(clippy::unwrap_used, reason = "measurements")]

use bytes::BytesMut;
use certs::{Admission, RevocationSet, TrustDomain, VerifiedDevice, admit};
use countersign_broker::engine::policy::Policy;
use countersign_broker::engine::{
    Arrival, ConnectionId, Effects, Engine, Input, Limits, ShardPlace, Speech, Time,
};
use protocol::Text;
use protocol::connection::ServerConnection;
use protocol::packet::{
    Ack, Connect, ConnectProperties, Packet, PacketId, Publish, QoS, RetainHandling, Subscribe,
    Subscription, Unsubscribe, Version,
};
use protocol::topic::{TopicFilter, TopicName};
use protocol::wire::{self, PACKET_SIZE_MAX};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::UnixTime;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Lets every client do everything.
const OPEN: &str = r##"
[[rule]]
name = "open"
client_ids = "*"
publish = ["#"]
subscribe = ["#"]
"##;

const NOW: Time = Time::from_millis(1_800_000_000_000);

/// An engine and what it said last.
pub(crate) struct World {
    engine: Engine,
    effects: Effects,
    connections: u64,
}

/// One of its clients, as `net` knows it.
pub(crate) struct Client {
    pub(crate) id: ConnectionId,
    protocol: ServerConnection,
    packets_len: usize,
}

impl World {
    /// Everybody may do everything, and hold as many filters as there are.
    pub(crate) fn open() -> Self {
        let limits = Limits {
            subscriptions_max: usize::MAX,
            sessions_per_device_max: usize::MAX,
            ..Limits::default()
        };
        let policy = Arc::new(Policy::parse("policy.toml", OPEN).unwrap());
        let place = ShardPlace { index: 0, count: 1 };
        Self {
            engine: Engine::new(limits, policy, place, 7),
            effects: Effects::default(),
            connections: 0,
        }
    }

    /// A client connects and is greeted.
    pub(crate) fn enter(&mut self) -> Client {
        self.connections += 1;
        let id = ConnectionId(self.connections);
        let mut protocol = ServerConnection::new(PACKET_SIZE_MAX, 0);
        let hello = Packet::Connect(Box::new(connect(self.connections)));
        let received = protocol.receive(&mut written(&hello).freeze()).unwrap();
        let Some(Packet::Connect(connect)) = received else {
            unreachable!("a CONNECT was written")
        };
        let arrival = Arrival {
            peer: None,
            connection: id,
            device: device(),
            connect: *connect,
            listener: None,
            nonce: self.connections,
        };
        self.engine.handle(NOW, Input::Connect(Box::new(arrival)));
        self.end_turn();
        assert_eq!(self.said().len(), 1, "a CONNACK");
        Client {
            id,
            protocol,
            packets_len: 0,
        }
    }

    /// A client has sent these packets.
    pub(crate) fn decide(&mut self, connection: ConnectionId, packets: Vec<Packet>) {
        let input = Input::Packets {
            connection,
            packets,
        };
        self.engine.handle(NOW, input);
    }

    /// Ends the turn: what was said in it is what [`Self::said`] yields, and what was said in the
    /// one before is gone.
    pub(crate) fn end_turn(&mut self) {
        self.effects.speech.clear();
        self.engine.take_effects(&mut self.effects);
        self.effects.records.clear();
    }

    /// All that was said in the last turn.
    pub(crate) fn said(&self) -> &[Speech] {
        &self.effects.speech
    }

    /// Nobody acknowledged what was not in flight.
    pub(crate) fn expect_known_acknowledgements(&self) {
        assert_eq!(self.engine.counters().unknown_acknowledgements, 0);
    }

    /// A client subscribes, with one packet.
    pub(crate) fn subscribe(&mut self, client: &Client, filters: &[String], qos: QoS) {
        self.decide(client.id, vec![subscribe(filters, qos)]);
        self.end_turn();
        assert_eq!(self.said().len(), 1, "a SUBACK");
    }
}

impl Client {
    /// The packets of a chunk that one read brought, as `net` collects them.
    pub(crate) fn decode(&mut self, chunk: BytesMut) -> Vec<Packet> {
        let mut chunk = chunk.freeze();
        let mut packets = Vec::with_capacity(self.packets_len);
        let protocol = &mut self.protocol;
        while protocol
            .receive_into(&mut chunk, |packet| packets.push(packet))
            .unwrap()
        {}
        self.packets_len = packets.len();
        packets
    }
}

fn connect(number: u64) -> Connect {
    Connect {
        version: Version::V5,
        clean_start: true,
        keep_alive: 60,
        client_id: Text::parse(&format!("client-{number}")).unwrap(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// A PUBLISH; it has a packet id where its QoS wants one.
pub(crate) fn publish(topic: &str, payload: &[u8], qos: QoS, id: u16) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: TopicName::parse(topic).unwrap(),
        packet_id: PacketId::new(id).filter(|_| qos != QoS::AtMostOnce),
        properties: None,
        payload: payload.to_vec().into(),
    })
}

pub(crate) fn subscribe(filters: &[String], qos: QoS) -> Packet {
    let subscription = |filter: &String| Subscription {
        filter: TopicFilter::parse(filter).unwrap(),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    Packet::Subscribe(Box::new(Subscribe {
        packet_id: PacketId::MIN,
        subscriptions: filters.iter().map(subscription).collect(),
        subscription_id: None,
        user_properties: Vec::new(),
    }))
}

pub(crate) fn unsubscribe(filters: &[String]) -> Packet {
    let filters = filters.iter().map(|it| TopicFilter::parse(it).unwrap());
    Packet::Unsubscribe(Box::new(Unsubscribe {
        packet_id: PacketId::MIN,
        filters: filters.collect(),
        user_properties: Vec::new(),
    }))
}

/// The acknowledgement of a session's message with this number, from 0: packet ids are given out
/// one after the other, from 1 to 65,535 and again.
pub(crate) fn puback(number: usize) -> Packet {
    let id = u16::try_from(number % 65_535).unwrap() + 1;
    Packet::Puback(Ack::success(PacketId::new(id).unwrap()))
}

/// What goes over the wire.
pub(crate) fn written(packet: &Packet) -> BytesMut {
    let mut out = BytesMut::new();
    wire::write(packet, Version::V5, &mut out).unwrap();
    out
}

/// The device that all clients are.
pub(crate) fn device() -> VerifiedDevice {
    static DEVICE: LazyLock<VerifiedDevice> = LazyLock::new(admitted);
    DEVICE.clone()
}

fn admitted() -> VerifiedDevice {
    let (ca, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let issuer = Issuer::new(CertificateParams::default(), ca);
    let uri = "spiffe://test.example/device/dev-1";
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "dev-1");
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from(vec![7; 20]));
    params.not_before = rcgen::date_time_ymd(2023, 1, 1);
    params.not_after = rcgen::date_time_ymd(2043, 1, 1);
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let trust_domain = &TrustDomain::parse("test.example").unwrap();
    let revoked = &RevocationSet::default();
    let admission = Admission {
        trust_domain,
        id_from: &certs::IdFrom::Uri,
        revoked,
    };
    let now = UnixTime::since_unix_epoch(Duration::from_millis(NOW.millis()));
    admit(leaf.der(), &admission, now).unwrap()
}
