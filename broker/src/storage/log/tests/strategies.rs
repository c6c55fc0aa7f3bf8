//! Records of every sort, as strategies: whatever may be recorded.

use super::samples::{forwarded, key, number, target};
use crate::engine::{
    Grant, Message, MessageParts, Reach, Record, SessionKey, SessionNumber, Target, Time,
};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocol::packet::{ForwardedProperties, PacketId, QoS, Will};
use protocol::topic::{TopicFilter, TopicName};
use std::sync::Arc;

pub(super) fn records() -> impl Strategy<Value = Record> {
    prop_oneof![of_numbers(), of_sessions(), of_messages()]
}

fn topics() -> impl Strategy<Value = TopicName> {
    "[a-zé/]{1,40}".prop_map(|text| TopicName::parse(&text).unwrap())
}

fn filters() -> impl Strategy<Value = TopicFilter> {
    let texts = prop_oneof![
        "[a-zé/]{1,40}",
        "[$]share/g/[a-z]{1,9}/#",
        "[+]/[a-z]{1,9}/#"
    ];
    texts.prop_map(|text| TopicFilter::parse(&text).unwrap())
}

fn keys() -> impl Strategy<Value = SessionKey> {
    let subjects = prop_oneof![Just("dev-1"), Just("app/reader"), Just("x")];
    (subjects, "[a-z/]{1,20}", any::<bool>()).prop_map(|(subject, client_id, same)| {
        key(subject, if same { subject } else { &client_id })
    })
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ]
}

fn properties() -> impl Strategy<Value = ForwardedProperties> {
    prop_oneof![Just(ForwardedProperties::default()), Just(forwarded())]
}

fn payloads() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn messages() -> impl Strategy<Value = Arc<Message>> {
    let times = option::of((1000_u64..4_000_000_000_000).prop_map(Time::from_millis));
    let parts = (
        topics(),
        payloads(),
        properties(),
        option::of(keys()),
        times,
        qos(),
        any::<bool>(),
    );
    parts.prop_map(
        |(topic, payload, forwarded, publisher, expires_at, qos, retain)| {
            Message::recorded(MessageParts {
                topic,
                payload,
                forwarded,
                publisher,
                expires_at,
                qos,
                retain,
            })
        },
    )
}

fn targets() -> impl Strategy<Value = Target> {
    let ids = vec(1_u32..268_435_455, 0..3);
    let parts = (
        any::<u64>(),
        qos(),
        any::<bool>(),
        ids,
        option::of(filters()),
    );
    parts.prop_map(|(session, qos, retain, ids, share)| Target {
        retain,
        subscription_ids: ids.into_iter().map(|id| id.try_into().unwrap()).collect(),
        share: share.map(Arc::new),
        ..target(session, qos)
    })
}

fn grants() -> impl Strategy<Value = Grant> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (qos(), flags, option::of(1_u32..268_435_455)).prop_map(|(qos, flags, id)| Grant {
        qos,
        no_local: flags.0,
        retain_as_published: flags.1,
        withholds: flags.2,
        id: id.map(|id| id.try_into().unwrap()),
    })
}

fn wills() -> impl Strategy<Value = Will> {
    let terms = (qos(), any::<bool>(), any::<u32>(), option::of(any::<u32>()));
    (terms, topics(), payloads(), properties()).prop_map(
        |((qos, retain, delay_interval, message_expiry_interval), topic, payload, forwarded)| {
            Will {
                qos,
                retain,
                topic,
                payload,
                delay_interval,
                message_expiry_interval,
                forwarded,
            }
        },
    )
}

fn of_numbers() -> impl Strategy<Value = Record> {
    let numbers = (any::<u64>(), any::<u32>(), 1_u64.., 1_u16..);
    (numbers, 0..12).prop_map(|((session, expiry, message, id), which)| {
        let session = SessionNumber(session);
        let at = Time::from_millis(message);
        let message = number(message);
        let packet_id = PacketId::new(id).unwrap();
        match which {
            0 => Record::SessionResumed { session, expiry },
            1 => Record::SessionLeft {
                session,
                at,
                expiry,
            },
            2 => Record::SessionEnded { session },
            3 => Record::WillCleared { session },
            4 => Record::Settled { session, message },
            5 => Record::Sent {
                session,
                message,
                packet_id,
            },
            6 => Record::Received {
                session,
                message,
                packet_id,
            },
            7 => Record::Completed { session, packet_id },
            8 => Record::Accepted { session, packet_id },
            9 => Record::ForwardsTaken {
                from: expiry,
                up_to: message,
            },
            10 => Record::ForwardsDone { up_to: message },
            _ => Record::Released { session, packet_id },
        }
    })
}

fn of_sessions() -> impl Strategy<Value = Record> {
    let sessions = || any::<u64>().prop_map(SessionNumber);
    prop_oneof![
        (sessions(), any::<u32>(), keys()).prop_map(|(session, expiry, key)| {
            let key = Arc::new(key);
            Record::SessionCreated {
                session,
                key,
                expiry,
            }
        }),
        (sessions(), filters(), grants()).prop_map(|(session, filter, grant)| {
            Record::Subscribed {
                session,
                filter,
                grant,
            }
        }),
        (sessions(), filters())
            .prop_map(|(session, filter)| Record::Unsubscribed { session, filter }),
        (sessions(), wills().prop_map(Arc::new))
            .prop_map(|(session, will)| Record::WillSet { session, will }),
    ]
}

fn reaches() -> impl Strategy<Value = Reach> {
    prop_oneof![Just(Reach::Here), Just(Reach::Everywhere)]
}

fn of_messages() -> impl Strategy<Value = Record> {
    let numbers = || (1_u64..).prop_map(number);
    prop_oneof![
        (numbers(), messages(), vec(targets(), 0..4), reaches()).prop_map(
            |(number, message, targets, reach)| {
                Record::Message {
                    number,
                    message,
                    targets: targets.into(),
                    reach,
                }
            }
        ),
        (numbers(), numbers(), targets()).prop_map(|(number, of, target)| Record::Copy {
            number,
            of,
            target
        }),
        messages().prop_map(|message| Record::Retained { message }),
        topics().prop_map(|topic| Record::RetainedCleared { topic }),
    ]
}
