//! Fixed header and remaining length.
//!
//! Packets are what the lengths say, however they are cut into writes.

use crate::{EITHER, closes, refuses};
use countersign_tests::prelude::*;

#[test]
fn mqtt_1_5_5_1_a_remaining_length_of_five_bytes_is_malformed() {
    for length in [
        &b"\x80\x80\x80\x80\x01"[..],
        b"\xff\xff\xff\xff\x7f",
        b"\x80\x80\x80\x80\x80",
    ] {
        closes(&[b"\x30", length].concat(), &EITHER);
        refuses(&[b"\x10", length].concat(), &EITHER);
    }
}

#[test]
fn mqtt_1_5_5_1_a_remaining_length_longer_than_need_be_is_malformed() {
    closes(b"\xc0\x80\x00", &EITHER);
    let whole = Publish::new("t", "x").bytes(V5);
    closes(
        &[&[0x30, whole[1] | 0x80, 0x00], &whole[2..]].concat(),
        &EITHER,
    );
}

#[test]
fn mqtt_1_5_5_1_lengths_of_one_to_three_bytes() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("t"), 0);
    let overhead = 2 + stage.topic("t").len() + 1;
    for remaining in [127, 128, 16_383, 16_384, 100_000] {
        let payload = "x".repeat(remaining - overhead);
        client.send_publish(&Publish::new(stage.topic("t"), &payload));
        assert_eq!(client.expect_publish().payload.len(), payload.len());
    }
}

#[test]
fn mqtt_4_2_1_packets_may_come_byte_by_byte() {
    let stage = Stage::new();
    let mut raw = stage.raw("a");
    for byte in stage.connect(V5, "a").bytes() {
        raw.send(&[byte]);
    }
    raw.expect_packet();
    let mut client = Client::on(raw, V5);
    client.subscribe(&stage.topic("t"), 0);
    for byte in Publish::new(stage.topic("t"), "in pieces").bytes(V5) {
        client.send(&[byte]);
    }
    client.expect_message("in pieces");
}

/// Bytes arrive in order and whole both ways [MQTT-4.2-1].
#[test]
fn mqtt_4_2_1_many_packets_may_come_at_once() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("t"), 0);
    let payloads: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    let together: Vec<u8> = payloads
        .iter()
        .flat_map(|payload| Publish::new(stage.topic("t"), payload).bytes(V5))
        .collect();
    client.send(&together);
    for payload in payloads {
        client.expect_message(payload);
    }
}

/// [MQTT-2.1.3-1]
#[test]
fn mqtt_2_1_3_1_reserved_packet_type_0_is_malformed() {
    for flags in 0..16 {
        closes(&[flags, 0], &EITHER);
    }
}

#[test]
fn mqtt_2_1_3_1_packets_without_flags_have_none() {
    for kind in [Kind::Pingreq, Kind::Disconnect, Kind::Auth] {
        for flags in 1..16 {
            closes(&[kind.head() | flags, 0], &EITHER);
        }
    }
}

#[test]
fn mqtt_2_2_2_1_acknowledgements_have_a_property_block_or_none() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    let publish = Publish::new(stage.topic("t"), "x").qos(2).id(9);
    // Nothing behind the id; a code; a code and an empty block; a code and properties.
    let endings = [
        &b""[..],
        b"\x00",
        b"\x00\x00",
        b"\x00\x08\x26\x00\x01a\x00\x02bc",
    ];
    for ending in endings {
        client.send_publish(&publish);
        client.expect_success(Kind::Pubrec, 9);
        client.send(&request::packet(0x62, &[b"\x00\x09", ending].concat()));
        client.expect_success(Kind::Pubcomp, 9);
    }
}
