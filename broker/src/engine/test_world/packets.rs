//! Packets as the tests send them: in one short call each.

use bytes::Bytes;
use protocol::packet::{
    Ack, Connect, ConnectProperties, Disconnect, ForwardedProperties, Packet, PacketId, Publish,
    PublishProperties, QoS, RetainHandling, Subscribe, Subscription, Unsubscribe, Version, Will,
};
use protocol::topic::{TopicFilter, TopicName};
use protocol::{ReasonCode, Text};

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
pub(crate) fn v311(connect: &mut Connect) {
    connect.version = Version::V311;
}

pub(crate) fn will(topic: &str) -> Will {
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

pub(crate) fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

/// A PUBLISH with a packet id where there has to be one: `#7 dup retain` may follow the payload.
pub(crate) fn publish(topic: &str, payload: &str, qos: QoS, packet_id: u16) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: TopicName::parse(topic).unwrap(),
        packet_id: (qos != QoS::AtMostOnce).then(|| id(packet_id)),
        properties: None,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

/// Gives a PUBLISH so many seconds.
pub(crate) fn expiring(publish: Publish, seconds: Option<u32>) -> Publish {
    let properties = PublishProperties {
        message_expiry_interval: seconds,
        ..PublishProperties::default()
    };
    Publish {
        properties: properties.boxed(),
        ..publish
    }
}

pub(crate) fn qos0(topic: &str, payload: &str) -> Packet {
    Packet::Publish(publish(topic, payload, QoS::AtMostOnce, 0))
}

pub(crate) fn qos1(topic: &str, payload: &str, id: u16) -> Packet {
    Packet::Publish(publish(topic, payload, QoS::AtLeastOnce, id))
}

pub(crate) fn qos2(topic: &str, payload: &str, id: u16) -> Packet {
    Packet::Publish(publish(topic, payload, QoS::ExactlyOnce, id))
}

pub(crate) fn retained(packet: Packet) -> Packet {
    match packet {
        Packet::Publish(publish) => Packet::Publish(Publish {
            retain: true,
            ..publish
        }),
        other => other,
    }
}

pub(crate) fn subscription(filter: &str, qos: QoS) -> Subscription {
    Subscription {
        filter: TopicFilter::parse(filter).unwrap(),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    }
}

pub(crate) fn subscribe(filters: &[(&str, QoS)]) -> Packet {
    let subscriptions = filters
        .iter()
        .map(|(filter, qos)| subscription(filter, *qos))
        .collect();
    subscribe_to(subscriptions, None)
}

pub(crate) fn subscribe_to(subscriptions: Vec<Subscription>, number: Option<u32>) -> Packet {
    Packet::Subscribe(Box::new(Subscribe {
        packet_id: id(99),
        subscriptions,
        subscription_id: number.map(|number| number.try_into().unwrap()),
        user_properties: Vec::new(),
    }))
}

pub(crate) fn unsubscribe(filters: &[&str]) -> Packet {
    Packet::Unsubscribe(Box::new(Unsubscribe {
        packet_id: id(98),
        filters: filters
            .iter()
            .map(|filter| TopicFilter::parse(filter).unwrap())
            .collect(),
        user_properties: Vec::new(),
    }))
}

pub(crate) fn puback(number: u16) -> Packet {
    Packet::Puback(Ack::success(id(number)))
}

pub(crate) fn pubrec(number: u16) -> Packet {
    Packet::Pubrec(Ack::success(id(number)))
}

pub(crate) fn pubrel(number: u16) -> Packet {
    Packet::Pubrel(Ack::success(id(number)))
}

pub(crate) fn pubcomp(number: u16) -> Packet {
    Packet::Pubcomp(Ack::success(id(number)))
}

pub(crate) fn disconnect(reason: ReasonCode) -> Packet {
    Packet::Disconnect(Box::new(Disconnect::new(reason)))
}
