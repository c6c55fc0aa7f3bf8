//! What is written is read as it was.

use crate::strategies::{Sent, any_packet};
use crate::{read_one, written};
use bytes::BytesMut;
use countersign_protocol::packet::{ForwardedProperties, Packet};
use countersign_protocol::wire;
use proptest::prelude::*;
use std::num::NonZeroU32;

proptest! {
    #![proptest_config(crate::cases(1_000))]

    #[test]
    fn every_packet_written_is_read_as_it_was(sent in any_packet()) {
        let Sent { packet, version, direction } = sent;
        let bytes = written(&packet, version);
        prop_assert_eq!(wire::encoded_len(&packet, version), bytes.len());
        prop_assert_eq!(read_one(&bytes, version, direction), Ok(Some(packet)));
    }

    #[test]
    fn mqtt_3_2_2_19_words_are_left_out_where_the_packet_would_be_too_large(
        sent in any_packet(),
        size_max in 2..120_u32,
    ) {
        let Sent { packet, version, direction } = sent;
        let mut out = BytesMut::new();
        let size_max = NonZeroU32::new(size_max).unwrap();
        let whole = wire::encoded_len(&packet, version);
        let size_max_len = usize::try_from(size_max.get()).unwrap();
        if wire::write_within(&packet, version, size_max, &mut out) == Err(wire::TooLarge) {
            prop_assert!(out.is_empty());
            prop_assert!(wire::encoded_len(&without_words(packet), version) > size_max_len);
            return Ok(());
        }
        prop_assert!(out.len() <= whole.min(size_max_len));
        let read = read_one(&out, version, direction).unwrap().unwrap();
        if out.len() == whole {
            prop_assert_eq!(read, packet);
        } else {
            prop_assert_eq!(without_words(read), without_words(packet));
        }
    }

    #[test]
    fn forwarded_properties_come_back_from_their_bytes_and_their_parts(sent in any_packet()) {
        if let Packet::Publish(publish) = sent.packet {
            let forwarded = publish.forwarded();
            let from_bytes = ForwardedProperties::read(forwarded.as_bytes()).unwrap();
            let from_parts = ForwardedProperties::from_parts(&forwarded.parts()).unwrap();
            prop_assert_eq!(&from_bytes, forwarded);
            prop_assert_eq!(&from_parts, forwarded);
            prop_assert_eq!(&forwarded.detached(), forwarded);
        }
    }
}

/// The packet without what may be left out; one that may not leave anything out is as it was.
fn without_words(mut packet: Packet) -> Packet {
    match &mut packet {
        Packet::Connack(connack) => {
            connack.properties.reason_string = None;
            connack.properties.user_properties.clear();
        }
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            ack.words = None;
        }
        Packet::Suback(suback) => suback.words = None,
        Packet::Unsuback(unsuback) => unsuback.words = None,
        Packet::Disconnect(disconnect) => {
            disconnect.reason_string = None;
            disconnect.user_properties.clear();
        }
        Packet::Auth(auth) => {
            auth.reason_string = None;
            auth.user_properties.clear();
        }
        Packet::Connect(_)
        | Packet::Publish(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::Pingreq
        | Packet::Pingresp => {}
    }
    packet
}
