//! What we accept, `mqtt-protocol-core` accepts, and it reads the same from it; and the reverse.
//!
//! Where the two differ on purpose it is said here, with the clause.

use crate::damage::{any_mutation, body, framed};
use crate::strategies::any_packet;
use crate::{always_the_same, read_one, written};
use countersign_protocol::packet::{Packet, Version};
use countersign_protocol::topic::InvalidTopic;
use countersign_protocol::wire::Direction;
use countersign_protocol::{InvalidText, ProtocolError};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use proptest::prelude::*;
use std::mem::discriminant;
use std::sync::Arc;

proptest! {
    #![proptest_config(always_the_same(1_000))]

    #[test]
    fn generated_packets_are_read_alike(sent in any_packet()) {
        let bytes = written(&sent.packet, sent.version);
        let body = body(&bytes);
        compare(bytes[0], &body, sent.version, sent.direction);
    }
}

proptest! {
    #![proptest_config(always_the_same(3_000))]

    #[test]
    fn mutated_packets_are_read_alike(
        sent in any_packet(),
        mutations in prop::collection::vec(any_mutation(), 1..3),
    ) {
        let bytes = written(&sent.packet, sent.version);
        let mut body = body(&bytes);
        for mutation in &mutations {
            mutation.apply(&mut body);
        }
        compare(bytes[0], &body, sent.version, sent.direction);
    }
}

#[test]
fn every_known_difference_is_still_one() {
    for it in WE_REFUSE {
        let (version, bytes) = (it.versions[0], it.example);
        let ours = read_one(bytes, version, it.direction);
        assert_eq!(ours, Err(it.error), "{}", it.clause);
        assert!(
            read_theirs(bytes[0], &body(bytes), version).is_some(),
            "{}",
            it.clause
        );
    }
    let ours = read_one(PASSWORD_ALONE, Version::V5, Direction::ToServer)
        .unwrap()
        .unwrap();
    assert!(has_password_alone(&ours));
    assert_eq!(
        read_theirs(PASSWORD_ALONE[0], &body(PASSWORD_ALONE), Version::V5),
        None
    );
}

fn compare(first: u8, body: &[u8], version: Version, direction: Direction) {
    let bytes = framed(first, body);
    let ours = read_one(&bytes, version, direction);
    let theirs = read_theirs(first, body, version);
    let what = || format!("{version:?} {direction:?} {bytes:02x?} is not read alike");
    match (ours, theirs) {
        (Ok(None), _) => panic!("{}", what()),
        (Err(_), None) => {}
        (Ok(Some(packet)), Some(again)) => {
            let read_again = read_one(&again, version, direction);
            assert_eq!(read_again, Ok(Some(packet)), "{}", what());
        }
        (Ok(Some(packet)), None) => assert!(has_password_alone(&packet), "{}", what()),
        (Err(error), Some(_)) => {
            let mut known = WE_REFUSE.iter().filter(|it| it.versions.contains(&version));
            assert!(known.any(|it| it.is_about(error)), "{}: {error:?}", what());
        }
    }
}

/// [MQTT 5.0 §3.1.2.9] allows what 3.1.1 did not; they refuse it.
fn has_password_alone(packet: &Packet) -> bool {
    matches!(packet, Packet::Connect(it) if it.username.is_none() && it.password.is_some())
}

const PASSWORD_ALONE: &[u8] = b"\x10\x0F\0\x04MQTT\x05\x42\0\0\0\0\0\0\0";

/// Something that they accept, and we do not.
struct Refusal {
    clause: &'static str,
    versions: &'static [Version],
    direction: Direction,
    error: ProtocolError,
    /// In the first of the versions.
    example: &'static [u8],
}

impl Refusal {
    fn is_about(&self, error: ProtocolError) -> bool {
        match (self.error, error) {
            (ProtocolError::Text(known), ProtocolError::Text(error)) => known == error,
            (ProtocolError::Topic(known), ProtocolError::Topic(error)) => known == error,
            (known, error) => discriminant(&known) == discriminant(&error),
        }
    }
}

const BOTH: &[Version] = &[Version::V311, Version::V5];
const V311: &[Version] = &[Version::V311];
const V5: &[Version] = &[Version::V5];

const fn refusal(
    clause: &'static str,
    versions: &'static [Version],
    error: ProtocolError,
    example: &'static [u8],
) -> Refusal {
    Refusal {
        clause,
        versions,
        direction: Direction::ToServer,
        error,
        example,
    }
}

const fn refusal_to_client(
    clause: &'static str,
    versions: &'static [Version],
    error: ProtocolError,
    example: &'static [u8],
) -> Refusal {
    Refusal {
        direction: Direction::ToClient,
        ..refusal(clause, versions, error, example)
    }
}

const WE_REFUSE: &[Refusal] = &[
    refusal(
        "MQTT-1.5.4-2",
        BOTH,
        ProtocolError::Text(InvalidText::Nul),
        b"\x30\x04\0\x02a\0",
    ),
    refusal(
        "MQTT-1.5.5-1",
        V5,
        ProtocolError::VarintNotMinimal,
        b"\x82\x08\0\x01\x80\0\0\x01a\0",
    ),
    refusal_to_client(
        "MQTT-2.2.1-3",
        V5,
        ProtocolError::PacketIdZero,
        b"\x90\x04\0\0\0\0",
    ),
    refusal(
        "MQTT-3.1.2-3",
        BOTH,
        ProtocolError::ConnectFlags,
        b"\x10\x0D\0\x04MQTT\x04\x03\0\0\0\x01a",
    ),
    refusal(
        "MQTT-3.1.2-12",
        BOTH,
        ProtocolError::QosReserved,
        b"\x10\x12\0\x04MQTT\x04\x1E\0\0\0\x01a\0\x01w\0\0",
    ),
    refusal(
        "MQTT-3.1.3-8 of 3.1.1",
        V311,
        ProtocolError::ClientIdMissing,
        b"\x10\x0C\0\x04MQTT\x04\0\0\0\0\0",
    ),
    refusal_to_client(
        "MQTT-3.2.2-1",
        BOTH,
        ProtocolError::AcknowledgeFlags,
        b"\x20\x02\x02\0",
    ),
    refusal_to_client(
        "MQTT-3.2.2-6",
        BOTH,
        ProtocolError::SessionPresentWithError,
        b"\x20\x02\x01\x05",
    ),
    refusal(
        "MQTT-3.3.2-2",
        BOTH,
        ProtocolError::Topic(InvalidTopic::WildcardInName),
        b"\x30\x03\0\x01+",
    ),
    refusal(
        "MQTT-3.3.2-8: what an alias means is known to its connection alone",
        V5,
        ProtocolError::TopicAliasInvalid,
        b"\x30\x06\0\0\x03\x23\0\x01",
    ),
    refusal(
        "MQTT-3.3.4-6",
        V5,
        ProtocolError::SubscriptionIdFromClient,
        b"\x30\x06\0\x01a\x02\x0B\x01",
    ),
    refusal(
        "MQTT 3.1.1 §3.4: an acknowledgement has two bytes",
        V311,
        ProtocolError::TrailingBytes,
        b"\x40\x03\0\x01\0",
    ),
    refusal(
        "MQTT-3.8.3-4",
        V5,
        ProtocolError::NoLocalOnShared,
        b"\x82\x10\0\x01\0\0\x0A$share/g/t\x04",
    ),
    refusal(
        "MQTT-3.8.3-4 of 3.1.1",
        V311,
        ProtocolError::SubscriptionOptionsReserved,
        b"\x82\x06\0\x01\0\x01a\x04",
    ),
    refusal(
        "MQTT-3.14.2-1: only a server says that it shuts down",
        V5,
        ProtocolError::ReasonCodeNotAllowed(0x8B),
        b"\xE0\x01\x8B",
    ),
    refusal(
        "MQTT-4.7.1-1",
        BOTH,
        ProtocolError::Topic(InvalidTopic::LevelsAfterHash),
        b"\x82\x08\0\x01\0\x03#/a\0",
    ),
    refusal(
        "MQTT-4.7.1-2",
        BOTH,
        ProtocolError::Topic(InvalidTopic::WildcardInLevel),
        b"\x82\x07\0\x01\0\x02a+\0",
    ),
    refusal(
        "MQTT-4.7.3-1",
        BOTH,
        ProtocolError::Topic(InvalidTopic::Empty),
        b"\xA2\x04\0\x01\0\0",
    ),
    refusal(
        "MQTT-4.7.3-1",
        V311,
        ProtocolError::TopicMissing,
        b"\x30\x02\0\0",
    ),
    refusal(
        "MQTT-4.8.2-1",
        BOTH,
        ProtocolError::Topic(InvalidTopic::ShareGroup),
        b"\x82\x0E\0\x01\0\x09$share//t\0",
    ),
    refusal(
        "MQTT-4.8.2-2",
        BOTH,
        ProtocolError::Topic(InvalidTopic::ShareFilter),
        b"\x82\x0D\0\x01\0\x08$share/g\0",
    ),
];

/// The packet as they would write it, if they can read it.
fn read_theirs(first: u8, body: &[u8], version: Version) -> Option<Vec<u8>> {
    match version {
        Version::V311 => read_theirs_311(first, body),
        Version::V5 => read_theirs_5(first, body),
    }
}

fn again<P: GenericPacketTrait>(
    body: &[u8],
    read: Result<(P, usize), MqttError>,
) -> Option<Vec<u8>> {
    let (packet, len) = read.ok()?;
    // Whether bytes are left over is for their caller to see.
    (len == body.len()).then(|| packet.to_continuous_buffer())
}

fn read_theirs_311(first: u8, body: &[u8]) -> Option<Vec<u8>> {
    match first >> 4 {
        1 => again(body, v3_1_1::Connect::parse(body)),
        2 => again(body, v3_1_1::Connack::parse(body)),
        3 => again(body, v3_1_1::Publish::parse(first & 0x0F, Arc::from(body))),
        4 => again(body, v3_1_1::Puback::parse(body)),
        5 => again(body, v3_1_1::Pubrec::parse(body)),
        6 => again(body, v3_1_1::Pubrel::parse(body)),
        7 => again(body, v3_1_1::Pubcomp::parse(body)),
        8 => again(body, v3_1_1::Subscribe::parse(body)),
        9 => again(body, v3_1_1::Suback::parse(body)),
        10 => again(body, v3_1_1::Unsubscribe::parse(body)),
        11 => again(body, v3_1_1::Unsuback::parse(body)),
        12 => again(body, v3_1_1::Pingreq::parse(body)),
        13 => again(body, v3_1_1::Pingresp::parse(body)),
        14 => again(body, v3_1_1::Disconnect::parse(body)),
        _ => None,
    }
}

fn read_theirs_5(first: u8, body: &[u8]) -> Option<Vec<u8>> {
    match first >> 4 {
        1 => again(body, v5_0::Connect::parse(body)),
        2 => again(body, v5_0::Connack::parse(body)),
        3 => again(body, v5_0::Publish::parse(first & 0x0F, Arc::from(body))),
        4 => again(body, v5_0::Puback::parse(body)),
        5 => again(body, v5_0::Pubrec::parse(body)),
        6 => again(body, v5_0::Pubrel::parse(body)),
        7 => again(body, v5_0::Pubcomp::parse(body)),
        8 => again(body, v5_0::Subscribe::parse(body)),
        9 => again(body, v5_0::Suback::parse(body)),
        10 => again(body, v5_0::Unsubscribe::parse(body)),
        11 => again(body, v5_0::Unsuback::parse(body)),
        12 => again(body, v5_0::Pingreq::parse(body)),
        13 => again(body, v5_0::Pingresp::parse(body)),
        14 => again(body, v5_0::Disconnect::parse(body)),
        15 => again(body, v5_0::Auth::parse(body)),
        _ => None,
    }
}
