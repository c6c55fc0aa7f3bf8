//! Any packet, of either version and in either direction, in the form in which it is read.
//!
//! What 3.1.1 cannot say is at its default, and what means nothing is left out: so that a packet
//! written and read is the same.

use crate::reasons::{
    CONNACK, CONNACK_311, DISCONNECT_FROM_CLIENT, DISCONNECT_FROM_SERVER, FROM_CLIENT, FROM_SERVER,
    RECEIVED, RELEASED, SUBACK, SUBACK_311, UNSUBACK,
};
use countersign_protocol::ReasonCode as Code;
use countersign_protocol::Text;
use countersign_protocol::packet::{
    Ack, AckWords, Auth, Authentication, Connack, ConnackProperties, Connect, ConnectProperties,
    Disconnect, ForwardedParts, ForwardedProperties, Packet, PacketId, Publish, PublishProperties,
    QoS, RetainHandling, Suback, Subscribe, Subscription, SubscriptionId, Unsuback, Unsubscribe,
    UserProperties, Version, Will,
};
use countersign_protocol::topic::{TopicFilter, TopicName};
use countersign_protocol::wire::Direction;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::num::{NonZeroU16, NonZeroU32};

/// A packet, the version it is written in, and the way it travels.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) packet: Packet,
    pub(crate) version: Version,
    pub(crate) direction: Direction,
}

pub(crate) fn any_packet() -> impl Strategy<Value = Sent> {
    let version = select(vec![Version::V311, Version::V5]);
    let direction = select(vec![Direction::ToServer, Direction::ToClient]);
    (version, direction).prop_flat_map(|(version, direction)| {
        packet(version, direction).prop_map(move |packet| Sent {
            packet,
            version,
            direction,
        })
    })
}

fn packet(version: Version, direction: Direction) -> BoxedStrategy<Packet> {
    let delivery = prop_oneof![
        publish(version, direction).prop_map(Packet::Publish),
        ack(version, RECEIVED).prop_map(Packet::Puback),
        ack(version, RECEIVED).prop_map(Packet::Pubrec),
        ack(version, RELEASED).prop_map(Packet::Pubrel),
        ack(version, RELEASED).prop_map(Packet::Pubcomp),
    ];
    let control = match direction {
        Direction::ToServer => prop_oneof![
            connect(version).prop_map(|it| Packet::Connect(Box::new(it))),
            subscribe(version).prop_map(|it| Packet::Subscribe(Box::new(it))),
            unsubscribe(version).prop_map(|it| Packet::Unsubscribe(Box::new(it))),
            Just(Packet::Pingreq),
            disconnect(version, direction).prop_map(|it| Packet::Disconnect(Box::new(it))),
        ]
        .boxed(),
        Direction::ToClient => prop_oneof![
            connack(version).prop_map(|it| Packet::Connack(Box::new(it))),
            suback(version).prop_map(|it| Packet::Suback(Box::new(it))),
            unsuback(version).prop_map(|it| Packet::Unsuback(Box::new(it))),
            Just(Packet::Pingresp),
        ]
        .boxed(),
    };
    match (version, direction) {
        (Version::V311, _) => prop_oneof![1 => delivery, 2 => control].boxed(),
        (Version::V5, Direction::ToServer) => {
            let auth = auth(FROM_CLIENT).prop_map(|it| Packet::Auth(Box::new(it)));
            prop_oneof![3 => delivery, 6 => control, 1 => auth].boxed()
        }
        (Version::V5, Direction::ToClient) => {
            let auth = auth(FROM_SERVER).prop_map(|it| Packet::Auth(Box::new(it)));
            let disconnect = disconnect(version, direction);
            let disconnect = disconnect.prop_map(|it| Packet::Disconnect(Box::new(it)));
            prop_oneof![3 => delivery, 4 => control, 1 => auth, 1 => disconnect].boxed()
        }
    }
}

/// Anything in 5.0; in 3.1.1, which has no place for it, the default.
fn only_in_5<T, S>(version: Version, strategy: S) -> BoxedStrategy<T>
where
    T: Clone + Default + std::fmt::Debug + 'static,
    S: Strategy<Value = T> + 'static,
{
    match version {
        Version::V311 => Just(T::default()).boxed(),
        Version::V5 => strategy.boxed(),
    }
}

fn string() -> impl Strategy<Value = String> {
    let letters = select(vec![
        'a', 'Z', '/', '$', ' ', '\u{1}', 'é', '€', '😀', '\u{feff}',
    ]);
    vec(letters, 0..6).prop_map(|letters| letters.into_iter().collect())
}

fn text() -> impl Strategy<Value = Text> {
    let long = Just("x".repeat(65_535));
    prop_oneof![400 => string(), 1 => long].prop_map(|text| Text::parse(&text).unwrap())
}

fn bytes() -> impl Strategy<Value = bytes::Bytes> {
    vec(any::<u8>(), 0..20).prop_map(bytes::Bytes::from)
}

fn topic_name() -> impl Strategy<Value = TopicName> {
    let short = string().prop_map(|text| format!("t{text}"));
    let slashes = Just("/".repeat(65_535));
    prop_oneof![400 => short, 1 => slashes].prop_map(|text| TopicName::parse(&text).unwrap())
}

fn topic_filter() -> impl Strategy<Value = TopicFilter> {
    let level = select(vec!["", "a", "$x", "é", "+"]);
    let shape = (any::<bool>(), vec(level, 1..5), any::<bool>());
    shape.prop_filter_map("empty", |(is_shared, mut levels, has_hash)| {
        if has_hash {
            levels.push("#");
        }
        let prefix = if is_shared { "$share/g/" } else { "" };
        TopicFilter::parse(&format!("{prefix}{}", levels.join("/"))).ok()
    })
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn subscription_id() -> impl Strategy<Value = SubscriptionId> {
    let edges = select(vec![1, 127, 128, 16_383, 16_384, 2_097_152, 268_435_455]);
    edges.prop_map(|id| SubscriptionId::new(id).unwrap())
}

fn user_properties() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..4)
}

fn reason(known: &'static [Code]) -> impl Strategy<Value = Code> {
    select(known.to_vec())
}

fn words() -> impl Strategy<Value = Option<Box<AckWords>>> {
    (of(text()), user_properties()).prop_map(|(reason_string, user_properties)| {
        let words = AckWords {
            reason_string,
            user_properties,
        };
        (words != AckWords::default()).then(|| Box::new(words))
    })
}

fn forwarded() -> impl Strategy<Value = ForwardedProperties> {
    (
        of(any::<bool>()),
        of(text()),
        of(topic_name()),
        of(bytes()),
        user_properties(),
    )
        .prop_map(
            |(payload_is_utf8, content_type, response_topic, data, user)| {
                ForwardedProperties::from_parts(&ForwardedParts {
                    payload_is_utf8,
                    content_type,
                    response_topic,
                    correlation_data: data,
                    user_properties: user,
                })
                .unwrap()
            },
        )
}

fn publish(version: Version, direction: Direction) -> impl Strategy<Value = Publish> {
    let subscription_ids = match direction {
        Direction::ToServer => Just(Vec::new()).boxed(),
        Direction::ToClient => only_in_5(version, vec(subscription_id(), 0..4)),
    };
    let delivery = (any::<bool>(), qos(), any::<bool>(), packet_id());
    let properties = (
        only_in_5(version, of(any::<u32>())),
        subscription_ids,
        only_in_5(version, forwarded()),
    );
    (delivery, topic_name(), properties, bytes()).prop_map(
        |((dup, qos, retain, id), topic, (expiry, subscription_ids, forwarded), payload)| {
            let is_delivery = qos != QoS::AtMostOnce;
            let properties = PublishProperties {
                message_expiry_interval: expiry,
                subscription_ids,
                forwarded,
            };
            Publish {
                dup: dup && is_delivery,
                qos,
                retain,
                topic,
                packet_id: is_delivery.then_some(id),
                properties: properties.boxed(),
                payload,
            }
        },
    )
}

fn ack(version: Version, known: &'static [Code]) -> impl Strategy<Value = Ack> {
    let reason = match version {
        Version::V311 => Just(Code::Success).boxed(),
        Version::V5 => reason(known).boxed(),
    };
    (packet_id(), reason, only_in_5(version, words())).prop_map(|(packet_id, reason, words)| Ack {
        packet_id,
        reason,
        words,
    })
}

fn authentication() -> impl Strategy<Value = Authentication> {
    (text(), of(bytes())).prop_map(|(method, data)| Authentication { method, data })
}

fn will(version: Version) -> impl Strategy<Value = Will> {
    let properties = (
        only_in_5(version, any::<u32>()),
        only_in_5(version, of(any::<u32>())),
        only_in_5(version, forwarded()),
    );
    (qos(), any::<bool>(), topic_name(), bytes(), properties).prop_map(
        |(qos, retain, topic, payload, (delay, expiry, forwarded))| Will {
            qos,
            retain,
            topic,
            payload,
            delay_interval: delay,
            message_expiry_interval: expiry,
            forwarded,
        },
    )
}

fn connect(version: Version) -> impl Strategy<Value = Connect> {
    let session = (any::<bool>(), any::<u16>(), text());
    let credentials = (of(text()), of(bytes()));
    let properties = match version {
        Version::V311 => Just(ConnectProperties::default()).boxed(),
        Version::V5 => connect_properties().boxed(),
    };
    (session, of(will(version)), credentials, properties).prop_map(
        move |((clean_start, keep_alive, client_id), will, (username, password), properties)| {
            let mut connect = Connect {
                version,
                clean_start,
                keep_alive,
                client_id,
                will,
                password: password.filter(|_| version == Version::V5 || username.is_some()),
                username,
                properties,
            };
            if version == Version::V311 {
                connect.clean_start |= connect.client_id.is_empty();
                let expiry = if connect.clean_start { 0 } else { u32::MAX };
                connect.properties.session_expiry_interval = expiry;
            }
            connect
        },
    )
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties> {
    let limits = (1..=u16::MAX, of(1..=u32::MAX), any::<u16>());
    let wishes = (any::<bool>(), any::<bool>());
    (
        any::<u32>(),
        limits,
        wishes,
        user_properties(),
        of(authentication()),
    )
        .prop_map(
            |(expiry, limits, wishes, user_properties, authentication)| ConnectProperties {
                session_expiry_interval: expiry,
                receive_maximum: NonZeroU16::new(limits.0).unwrap(),
                maximum_packet_size: limits.1.and_then(NonZeroU32::new),
                topic_alias_maximum: limits.2,
                request_response_information: wishes.0,
                request_problem_information: wishes.1,
                user_properties,
                authentication,
            },
        )
}

fn connack(version: Version) -> impl Strategy<Value = Connack> {
    let (known, properties) = match version {
        Version::V311 => (CONNACK_311, Just(ConnackProperties::default()).boxed()),
        Version::V5 => (CONNACK, connack_properties().boxed()),
    };
    (any::<bool>(), reason(known), properties).prop_map(|(present, reason, properties)| Connack {
        session_present: present && !reason.is_error(),
        reason,
        properties,
    })
}

fn connack_properties() -> impl Strategy<Value = ConnackProperties> {
    let limits = (
        of(any::<u32>()),
        1..=u16::MAX,
        qos(),
        of(1..=u32::MAX),
        any::<u16>(),
    );
    let available = [any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()];
    let texts = [of(text()), of(text()), of(text()), of(text())];
    let rest = (user_properties(), of(any::<u16>()), of(authentication()));
    (limits, available, texts, rest).prop_map(|(limits, available, texts, rest)| {
        let [retain, wildcard, ids, shared] = available;
        let [client_id, reason_string, response, reference] = texts;
        ConnackProperties {
            session_expiry_interval: limits.0,
            receive_maximum: NonZeroU16::new(limits.1).unwrap(),
            maximum_qos: limits.2,
            retain_available: retain,
            maximum_packet_size: limits.3.and_then(NonZeroU32::new),
            assigned_client_id: client_id,
            topic_alias_maximum: limits.4,
            reason_string,
            user_properties: rest.0,
            wildcard_subscription_available: wildcard,
            subscription_ids_available: ids,
            shared_subscription_available: shared,
            server_keep_alive: rest.1,
            response_information: response,
            server_reference: reference,
            authentication: rest.2,
        }
    })
}

fn subscription(version: Version) -> impl Strategy<Value = Subscription> {
    let handling = select(vec![
        RetainHandling::Send,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    let options = only_in_5(version, (any::<bool>(), any::<bool>(), handling));
    (topic_filter(), qos(), options).prop_map(|(filter, qos, options)| Subscription {
        no_local: options.0 && filter.share_group().is_none(),
        filter,
        qos,
        retain_as_published: options.1,
        retain_handling: options.2,
    })
}

fn subscribe(version: Version) -> impl Strategy<Value = Subscribe> {
    (
        packet_id(),
        vec(subscription(version), 1..5),
        only_in_5(version, of(subscription_id())),
        only_in_5(version, user_properties()),
    )
        .prop_map(
            |(packet_id, subscriptions, subscription_id, user_properties)| Subscribe {
                packet_id,
                subscriptions,
                subscription_id,
                user_properties,
            },
        )
}

fn suback(version: Version) -> impl Strategy<Value = Suback> {
    let known = match version {
        Version::V311 => SUBACK_311,
        Version::V5 => SUBACK,
    };
    let reasons = vec(reason(known), 1..5);
    (packet_id(), reasons, only_in_5(version, words())).prop_map(|(packet_id, reasons, words)| {
        Suback {
            packet_id,
            reasons,
            words,
        }
    })
}

fn unsubscribe(version: Version) -> impl Strategy<Value = Unsubscribe> {
    let filters = vec(topic_filter(), 1..5);
    (packet_id(), filters, only_in_5(version, user_properties())).prop_map(
        |(packet_id, filters, user_properties)| Unsubscribe {
            packet_id,
            filters,
            user_properties,
        },
    )
}

fn unsuback(version: Version) -> impl Strategy<Value = Unsuback> {
    let reasons = only_in_5(version, vec(reason(UNSUBACK), 1..5));
    (packet_id(), reasons, only_in_5(version, words())).prop_map(|(packet_id, reasons, words)| {
        Unsuback {
            packet_id,
            reasons,
            words,
        }
    })
}

fn disconnect(version: Version, direction: Direction) -> BoxedStrategy<Disconnect> {
    if version == Version::V311 {
        return Just(Disconnect::new(Code::Success)).boxed();
    }
    let (codes, expiry, reference) = match direction {
        Direction::ToServer => (
            DISCONNECT_FROM_CLIENT,
            of(any::<u32>()).boxed(),
            Just(None).boxed(),
        ),
        Direction::ToClient => (
            DISCONNECT_FROM_SERVER,
            Just(None).boxed(),
            of(text()).boxed(),
        ),
    };
    (
        reason(codes),
        expiry,
        of(text()),
        user_properties(),
        reference,
    )
        .prop_map(
            |(reason, expiry, reason_string, user_properties, reference)| Disconnect {
                reason,
                session_expiry_interval: expiry,
                reason_string,
                user_properties,
                server_reference: reference,
            },
        )
        .boxed()
}

fn auth(known: &'static [Code]) -> impl Strategy<Value = Auth> {
    (
        reason(known),
        authentication(),
        of(text()),
        user_properties(),
    )
        .prop_map(
            |(reason, authentication, reason_string, user_properties)| Auth {
                reason,
                authentication: Some(authentication),
                reason_string,
                user_properties,
            },
        )
}
