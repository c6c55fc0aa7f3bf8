//! Records to be kept: some of each sort, and messages, which only an engine makes.

use crate::engine::test_world::{World, lasting, subject};
use crate::engine::{
    Message, MessageNumber, Record, SessionKey, SessionNumber, SubscriptionIds, Target, Time,
};
use crate::storage::log::MessageParts;
use bytes::Bytes;
use certs::Kind;
use protocol::Text;
use protocol::packet::{
    ForwardedParts, ForwardedProperties, Packet, PacketId, Publish, PublishProperties, QoS,
};
use protocol::topic::{TopicFilter, TopicName};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex};

/// Lets an engine make a message of its parts: it is published to a session that is away. What
/// was made once is kept.
pub(super) fn message(parts: MessageParts) -> Arc<Message> {
    static MADE: Cache<Parts, Arc<Message>> = LazyLock::new(Mutex::default);
    let terms = (parts.expires_at, parts.qos, parts.retain);
    let forwarded = parts.forwarded.as_bytes().clone();
    let content = (parts.topic.clone(), parts.payload.clone(), forwarded);
    let of = (content, parts.publisher.clone(), terms);
    cached(&MADE, of, || publish(parts))
}

type Parts = (
    (TopicName, Bytes, Bytes),
    Option<SessionKey>,
    (Option<Time>, QoS, bool),
);
type Cache<K, V> = LazyLock<Mutex<HashMap<K, V>>>;

fn cached<K: Hash + Eq, V: Clone>(cache: &Cache<K, V>, of: K, make: impl FnOnce() -> V) -> V {
    let known = cache.lock().unwrap().get(&of).cloned();
    known.unwrap_or_else(|| {
        let value = make();
        cache.lock().unwrap().insert(of, value.clone());
        value
    })
}

fn publish(parts: MessageParts) -> Arc<Message> {
    let publisher = parts
        .publisher
        .expect("what the broker says is not recorded");
    let mut world = World::open();
    let mut seconds = None;
    if let Some(at) = parts.expires_at {
        world.now = Time::from_millis(at.millis() % 1000);
        seconds = Some(u32::try_from(at.millis() / 1000).unwrap());
    }
    let keeper = world.enter_with("keeper", lasting);
    world.subscribe(keeper, "#", QoS::ExactlyOnce);
    world.lose(keeper);
    let device = match publisher.subject.kind {
        Kind::Device => publisher.subject.id.to_string(),
        Kind::App => format!("app/{}", publisher.subject.id),
    };
    let connection = world.enter_with(&device, |connect| connect.client_id = publisher.client_id);
    world.records();
    let properties = PublishProperties {
        message_expiry_interval: seconds,
        forwarded: parts.forwarded,
        ..PublishProperties::default()
    };
    let publish = Publish {
        dup: false,
        qos: parts.qos,
        retain: parts.retain,
        topic: parts.topic,
        packet_id: PacketId::new(1).filter(|_| parts.qos != QoS::AtMostOnce),
        properties: properties.boxed(),
        payload: parts.payload,
    };
    world.send(connection, Packet::Publish(publish));
    let recorded = world.records().into_iter().find_map(|record| match record {
        Record::Message { message, .. } | Record::Retained { message } => Some(message),
        _ => None,
    });
    recorded.expect("it was kept")
}

pub(super) fn parts(device: &str, topic: &str, payload: &[u8]) -> MessageParts {
    MessageParts {
        topic: TopicName::parse(topic).unwrap(),
        payload: Bytes::copy_from_slice(payload),
        forwarded: ForwardedProperties::default(),
        publisher: Some(key(device, device)),
        expires_at: None,
        qos: QoS::AtLeastOnce,
        retain: false,
    }
}

pub(super) fn key(device: &str, client_id: &str) -> SessionKey {
    SessionKey {
        subject: subject(device),
        client_id: Text::parse(client_id.trim_start_matches("app/")).unwrap(),
    }
}

pub(super) fn number(number: u64) -> MessageNumber {
    MessageNumber(number.try_into().unwrap())
}

pub(super) fn target(session: u64, qos: QoS) -> Target {
    Target {
        session: SessionNumber(session),
        qos,
        retain: false,
        subscription_ids: SubscriptionIds::default(),
        share: None,
    }
}

/// What turn `position` of every test has recorded: nothing, a little, much, and once in a while
/// more than fits into a segment.
pub(super) fn turn(position: u64) -> Vec<Record> {
    let session = SessionNumber(position);
    match position % 7 {
        0 => Vec::new(),
        1 | 4 => (1..=position % 5 + 1)
            .map(|it| Record::Settled {
                session,
                message: number(position * 10 + it),
            })
            .collect(),
        2 | 5 => vec![bulk(position, 300)],
        _ if position % 41 == 3 => vec![bulk(position, 20_000)],
        _ => vec![
            bulk(position, 800),
            Record::Unsubscribed {
                session,
                filter: TopicFilter::parse(&format!("{position}/#")).unwrap(),
            },
        ],
    }
}

fn bulk(position: u64, len: usize) -> Record {
    Record::Message {
        number: number(position),
        message: message(parts("dev-1", "a/b", &vec![b'x'; len])),
        targets: [target(position, QoS::ExactlyOnce)].into_iter().collect(),
    }
}

/// Records, and the same as bytes.
type Turn = (Vec<Record>, Vec<u8>);

/// The same, and what its records are as bytes, made once.
pub(super) fn made_turn(position: u64) -> Arc<Turn> {
    static MADE: Cache<u64, Arc<Turn>> = LazyLock::new(Mutex::default);
    cached(&MADE, position, || {
        let records = turn(position);
        let bytes = super::bytes_of(&records);
        Arc::new((records, bytes))
    })
}

pub(super) fn forwarded() -> ForwardedProperties {
    let text = |text: &str| Text::parse(text).unwrap();
    ForwardedProperties::from_parts(&ForwardedParts {
        payload_is_utf8: Some(true),
        content_type: Some(text("text/plain")),
        response_topic: Some(TopicName::parse("answers").unwrap()),
        correlation_data: Some(Bytes::from_static(&[0, 255])),
        user_properties: vec![(text("k"), text("v")), (text("k"), text("w"))],
    })
    .unwrap()
}

#[test]
fn a_message_is_made_of_all_its_parts() {
    let parts = MessageParts {
        forwarded: forwarded(),
        publisher: Some(key("app/reader", "reader/7")),
        expires_at: Some(Time::from_millis(1_800_000_000_123)),
        qos: QoS::ExactlyOnce,
        retain: true,
        ..parts("dev-1", "a/b", b"payload")
    };
    let message = message(parts.clone());
    assert_eq!(message.topic(), &parts.topic);
    assert_eq!(message.payload(), &parts.payload);
    assert_eq!(message.forwarded(), &parts.forwarded);
    assert_eq!(
        message.publisher().map(|it| &**it),
        parts.publisher.as_ref()
    );
    assert_eq!(message.expires_at(), parts.expires_at);
    assert_eq!((message.qos(), message.retain()), (parts.qos, parts.retain));
}
