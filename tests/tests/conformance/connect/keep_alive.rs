//! Keep-alive: §3.1.2.10, and PINGREQ, §3.12.
//!
//! Silence of one and a half intervals, and nothing less, ends the connection.

use crate::EITHER;
use countersign_tests::prelude::*;
use std::thread::sleep;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(700);

#[test]
fn mqtt_3_1_2_22_silence_of_one_and_a_half_intervals_closes() {
    let stage = Stage::new();
    let start = Instant::now();
    let (mut client, _) = stage.open("a", &stage.connect(V5, "a").keep_alive(1));
    client.expect_disconnect(0x8d);
    let waited = start.elapsed();
    assert!(
        waited >= Duration::from_millis(1400),
        "closed after {waited:?}"
    );
    assert!(waited < Duration::from_secs(4), "closed after {waited:?}");
}

/// [MQTT-3.1.2-8]
#[test]
fn mqtt_3_1_2_22_the_will_of_a_silent_client_is_published() {
    let stage = Stage::new();
    let mut observer = stage.client(V5, "observer");
    observer.subscribe(&stage.topic("will"), 0);
    let will = Will::new(stage.topic("will"), "silent");
    let (_client, _) = stage.open("a", &stage.connect(V5, "a").keep_alive(1).will(&will));
    observer.expect_message("silent");
}

#[test]
fn mqtt_3_1_2_22_every_packet_counts_as_a_sign_of_life() {
    let stage = Stage::new();
    let (mut client, _) = stage.open("a", &stage.connect(V5, "a").keep_alive(1));
    for _ in 0..2 {
        sleep(MOMENT);
        client.publish(&Publish::new(stage.topic("t"), "x").qos(1));
        sleep(MOMENT);
        client.expect_alive();
    }
}

#[test]
fn mqtt_3_1_2_22_what_the_server_sends_is_no_sign_of_life() {
    let stage = Stage::new();
    let (mut client, _) = stage.open("a", &stage.connect(V5, "a").keep_alive(1));
    client.subscribe(&stage.topic("t"), 0);
    let mut publisher = stage.client(V5, "pub");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        publisher.publish(&Publish::new(stage.topic("t"), "x"));
        sleep(Duration::from_millis(100));
    }
    let frames = std::iter::from_fn(|| match client.raw.next(Duration::from_secs(1)) {
        Next::Packet(frame) => Some(frame),
        Next::Closed(_) => None,
        Next::Silence => panic!("the connection is still open"),
    });
    assert_eq!(
        frames.last().map(|frame| frame.head),
        Some(Kind::Disconnect.head())
    );
}

#[test]
fn mqtt_3_1_2_22_a_packet_in_pieces_is_no_sign_of_life_until_whole() {
    let stage = Stage::new();
    let (mut client, _) = stage.open("a", &stage.connect(V5, "a").keep_alive(1));
    let publish = Publish::new(stage.topic("t"), "x".repeat(100)).bytes(V5);
    for byte in publish.iter().take(8) {
        client.send(&[*byte]);
        sleep(Duration::from_millis(250));
    }
    client.expect_disconnect(0x8d);
}

/// The cap stands in the settings, and bounds how long a dead peer is kept.
#[test]
fn mqtt_3_2_2_a_keep_alive_of_0_or_beyond_the_cap_is_replaced() {
    let stage = Stage::new();
    for seconds in [0, 1201, 65535] {
        let (_, connack) = stage.open("a", &stage.connect(V5, "a").keep_alive(seconds));
        assert!(
            connack
                .properties
                .contains(&Property::ServerKeepAlive(1200)),
            "{connack:?}"
        );
    }
}

#[test]
fn mqtt_3_12_4_1_a_ping_is_answered() {
    let mut client = Stage::new().client(V5, "a");
    for _ in 0..3 {
        client.send(&request::pingreq());
    }
    for _ in 0..3 {
        client.raw.expect_hex("d0 00");
    }
}

/// [MQTT-2.1.3-1]
#[test]
fn mqtt_3_12_1_a_ping_has_no_flags_and_nothing_in_it() {
    for wrong in [&b"\xc1\x00"[..], b"\xc8\x00", b"\xc0\x01\x00"] {
        crate::closes(wrong, &EITHER);
    }
}
