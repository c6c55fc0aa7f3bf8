//! Records to be kept, some of each sort.

use crate::engine::test_world::subject;
use crate::engine::{
    Message, MessageNumber, MessageParts, Reach, Record, SessionKey, SessionNumber,
    SubscriptionIds, Target,
};
use bytes::Bytes;
use protocol::Text;
use protocol::packet::{ForwardedParts, ForwardedProperties, QoS};
use protocol::topic::{TopicFilter, TopicName};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex};

type Cache<K, V> = LazyLock<Mutex<HashMap<K, V>>>;

fn cached<K: Hash + Eq, V: Clone>(cache: &Cache<K, V>, of: K, make: impl FnOnce() -> V) -> V {
    let known = cache.lock().unwrap().get(&of).cloned();
    known.unwrap_or_else(|| {
        let value = make();
        cache.lock().unwrap().insert(of, value.clone());
        value
    })
}

pub(in crate::storage) fn parts(device: &str, topic: &str, payload: &[u8]) -> MessageParts {
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

pub(in crate::storage) fn key(device: &str, client_id: &str) -> SessionKey {
    SessionKey {
        subject: subject(device),
        client_id: Text::parse(client_id.trim_start_matches("app/")).unwrap(),
    }
}

pub(in crate::storage) fn number(number: u64) -> MessageNumber {
    MessageNumber(number.try_into().unwrap())
}

pub(in crate::storage) fn target(session: u64, qos: QoS) -> Target {
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
pub(in crate::storage) fn turn(position: u64) -> Vec<Record> {
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
        message: Message::recorded(parts("dev-1", "a/b", &vec![b'x'; len])),
        targets: [target(position, QoS::ExactlyOnce)].into_iter().collect(),
        reach: Reach::Here,
    }
}

/// Records, and the same as bytes.
type Turn = (Vec<Record>, Vec<u8>);

/// The same, and what its records are as bytes, made once.
pub(in crate::storage) fn made_turn(position: u64) -> Arc<Turn> {
    static MADE: Cache<u64, Arc<Turn>> = LazyLock::new(Mutex::default);
    cached(&MADE, position, || {
        let records = turn(position);
        let len = u8::try_from(records.len()).unwrap();
        let bytes = [vec![len], super::bytes_of(&records)].concat();
        Arc::new((records, bytes))
    })
}

pub(in crate::storage) fn forwarded() -> ForwardedProperties {
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
