//! The PUBLISH that is written from parts is the one that would be written whole.

use crate::strategies::any_packet;
use crate::{cases, written};
use bytes::{Bytes, BytesMut};
use countersign_protocol::connection::{AliasesOut, ClientConnection};
use countersign_protocol::packet::{
    Alias, Connack, ForwardedProperties, Packet, PublishHead, QoS, Version,
};
use countersign_protocol::topic::TopicName;
use countersign_protocol::wire::{PACKET_SIZE_MAX, TooLarge};
use countersign_protocol::{ProtocolError, ReasonCode};
use proptest::prelude::*;
use std::num::{NonZeroU16, NonZeroU32};

fn head_written(head: &PublishHead<'_>, version: Version) -> Bytes {
    let mut out = BytesMut::new();
    head.write(version, &mut out).unwrap();
    assert_eq!(head.encoded_len(version), out.len());
    out.freeze()
}

/// A client that has been welcomed and takes that many topic aliases.
fn client(version: Version, topic_alias_max: u16) -> ClientConnection {
    let mut client = ClientConnection::new(version, PACKET_SIZE_MAX, topic_alias_max);
    let welcome = Packet::Connack(Box::new(Connack::refused(ReasonCode::Success)));
    let mut welcome = Bytes::from(written(&welcome, version));
    assert!(client.receive(&mut welcome).unwrap().is_some());
    client
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_head_without_alias_is_written_like_its_packet(sent in any_packet()) {
        if let Packet::Publish(publish) = &sent.packet {
            let out = head_written(&publish.head(), sent.version);
            prop_assert_eq!(out.to_vec(), written(&sent.packet, sent.version));
        }
    }

    #[test]
    fn mqtt_3_3_2_a_client_knows_the_topic_behind_every_alias(
        packets in prop::collection::vec(any_packet(), 1..12),
        maximum in 0..4_u16,
    ) {
        let mut aliases = AliasesOut::new(maximum);
        let mut client = client(Version::V5, maximum);
        for sent in packets.iter().chain(&packets) {
            let Packet::Publish(publish) = &sent.packet else { continue };
            let alias = aliases.choose(&publish.topic);
            let mut out = head_written(&PublishHead { alias, ..publish.head() }, Version::V5);
            let received = client.receive(&mut out).unwrap();
            prop_assert_eq!(received.as_ref(), Some(&sent.packet));
        }
    }

    #[test]
    fn mqtt_3_1_2_24_a_head_is_not_written_beyond_the_size_allowed(
        sent in any_packet(),
        size_max in 1..100_u32,
    ) {
        if let Packet::Publish(publish) = &sent.packet {
            let mut out = BytesMut::new();
            let head = publish.head();
            let size_max_len = usize::try_from(size_max).unwrap();
            let fits = head.encoded_len(sent.version) <= size_max_len;
            let size_max = NonZeroU32::new(size_max).unwrap();
            let expected = if fits { Ok(()) } else { Err(TooLarge) };
            prop_assert_eq!(head.write_within(sent.version, size_max, &mut out), expected);
            prop_assert_eq!(out.is_empty(), !fits);
        }
    }
}

#[test]
fn mqtt_3_3_2_8_a_server_that_makes_aliases_up_is_refused() {
    let topic = TopicName::parse("a").unwrap();
    let forwarded = ForwardedProperties::default();
    for alias in [Alias::Known(NonZeroU16::MIN), Alias::New(NonZeroU16::MAX)] {
        let head = PublishHead {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            packet_id: None,
            topic: &topic,
            alias,
            message_expiry_interval: None,
            subscription_ids: &[],
            forwarded: &forwarded,
            payload: b"",
        };
        let mut out = head_written(&head, Version::V5);
        let received = client(Version::V5, 10).receive(&mut out);
        assert_eq!(received, Err(ProtocolError::TopicAliasInvalid));
        // 3.1.1 has no aliases: the name is written.
        let mut out = head_written(&head, Version::V311);
        let received = client(Version::V311, 0).receive(&mut out).unwrap();
        assert!(matches!(received, Some(Packet::Publish(publish)) if publish.topic == topic));
    }
}
