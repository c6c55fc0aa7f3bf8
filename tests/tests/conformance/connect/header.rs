//! The first packet, its protocol name and its protocol version.
//!
//! Until a CONNECT is accepted, nothing but a CONNACK may be said.

use crate::{EITHER, PROTOCOL_ERROR, refuses};
use countersign_tests::prelude::*;
use countersign_tests::raw::PATIENCE;

/// [MQTT-3.14.0-1]
#[test]
fn mqtt_3_1_0_1_the_first_packet_must_be_connect() {
    let stage = Stage::new();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Connect) {
        let mut raw = stage.raw("a");
        raw.send(&request::packet(kind.head(), &[0, 1, 0, 0]));
        let next = raw.next(PATIENCE);
        assert!(matches!(next, Next::Closed(_)), "{kind:?} first: {next:?}");
    }
}

/// [MQTT-3.14.0-1]
#[test]
fn mqtt_3_1_0_1_a_publish_before_connect_is_not_delivered() {
    let stage = Stage::new();
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&stage.topic("#"), 0);
    let mut raw = stage.raw("a");
    raw.send(&Publish::new(stage.topic("early"), "x").bytes(V5));
    raw.send(&stage.connect(V5, "a").bytes());
    raw.expect_closed();
    subscriber.expect_nothing();
}

/// [MQTT-3.2.0-2] [MQTT-4.13.1-1]
#[test]
fn mqtt_3_1_0_2_a_second_connect_is_a_protocol_error() {
    let stage = Stage::new();
    let connect = stage.connect(V5, "a");
    let (mut client, _) = stage.open("a", &connect);
    client.send(&connect.bytes());
    client.expect_disconnect(PROTOCOL_ERROR);
}

#[test]
fn mqtt_3_1_2_1_another_protocol_name_is_refused() {
    let stage = Stage::new();
    for name in ["", "M", "mqtt", "MQT", "MQTTT", "MQTT ", "HTTP", "MQTX"] {
        for version in BOTH {
            let level = if version == V5 { 5 } else { 4 };
            let connect = stage.connect(version, "a").protocol(name, level);
            let mut raw = stage.raw("a");
            raw.send(&connect.bytes());
            raw.expect_refused(&[0x84, 0x01, 0x81, 0x82]);
        }
    }
}

#[test]
fn mqtt_3_1_2_1_the_protocol_name_must_be_utf_8() {
    refuses(
        &Connect::new(V5, "a").protocol(b"MQ\xff\xff", 5).bytes(),
        &[0x84, 0x01, 0x81],
    );
}

/// [MQTT-3.2.2-7]
#[test]
fn mqtt_3_1_2_2_an_unknown_protocol_version_is_refused() {
    let stage = Stage::new();
    for level in [0, 1, 2, 6, 7, 127, 255] {
        let mut raw = stage.raw("a");
        raw.send(&stage.connect(V5, "a").protocol("MQTT", level).bytes());
        raw.expect_refused(&[0x84, 0x01]);
    }
}

#[test]
fn mqtt_3_1_2_2_mqtt_3_1_is_refused_in_its_own_words() {
    let mut raw = Stage::new().raw("a");
    raw.send_hex("10 0f 00 06 4d 51 49 73 64 70 03 02 00 3c 00 01 61");
    raw.expect_hex("20 02 00 01");
    raw.expect_closed();
}

#[test]
fn mqtt_3_1_2_2_level_3_under_the_new_name_is_refused() {
    let mut raw = Stage::new().raw("a");
    raw.send_hex("10 0d 00 04 4d 51 54 54 03 02 00 3c 00 01 61");
    raw.expect_hex("20 02 00 01");
    raw.expect_closed();
}

/// [MQTT-3.1.4-1]
#[test]
fn mqtt_3_1_2_3_the_reserved_connect_flag_must_be_0() {
    refuses(&Connect::new(V5, "a").flip(0b0000_0001).bytes(), &EITHER);
}

/// [MQTT-3.1.4-1]
#[test]
fn mqtt_2_1_3_1_the_flags_of_connect_must_be_0() {
    for flags in 1..16 {
        let connect = Connect::new(V5, "a");
        refuses(
            &request::packet(Kind::Connect.head() | flags, &connect.body()),
            &EITHER,
        );
    }
}

#[test]
fn mqtt_3_1_4_1_a_connect_cut_short_is_refused() {
    let body = Connect::new(V5, "a").user_name("u").body();
    for len in 0..body.len() {
        refuses(
            &request::packet(Kind::Connect.head(), &body[..len]),
            &[0x81, 0x82, 0x84],
        );
    }
}

#[test]
fn mqtt_3_1_4_1_bytes_behind_the_payload_are_refused() {
    let body = [Connect::new(V5, "a").body(), vec![0]].concat();
    refuses(&request::packet(Kind::Connect.head(), &body), &EITHER);
}

/// [MQTT-3.14.0-1]
#[test]
fn mqtt_3_1_4_6_nothing_behind_a_refused_connect_is_processed() {
    let stage = Stage::new();
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&stage.topic("#"), 0);
    let connect = stage
        .connect(V5, "a")
        .with(&Property::AuthMethod("none".into()));
    let publish = Publish::new(stage.topic("late"), "x").retain();
    let mut raw = stage.raw("a");
    raw.send(&[connect.bytes(), publish.bytes(V5)].concat());
    raw.expect_refused(&[0x8c]);
    subscriber.expect_nothing();
    subscriber.subscribe(&stage.topic("late"), 0);
    subscriber.expect_nothing();
}
