//! The bodies of the fuzz targets, run for a while on what resembles MQTT and on what does not.
#![allow(clippy::expect_used, reason = "tests")]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use proptest::prelude::*;
use proptest::test_runner::Config;

fn cases() -> Config {
    Config {
        cases: 2_000,
        failure_persistence: None,
        ..Config::default()
    }
}

/// Complete packets and other tokens of the protocol, in any order.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&[u8]> = vec![
        b"\x10\x0E\0\x04MQTT\x05\x02\0\x3C\0\0\x01c",
        b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01c",
        b"\x20\x03\0\0\0",
        b"\x20\x02\0\0",
        b"\x30\x07\0\x01t\x03\x23\0\x01",
        b"\x30\x06\0\0\x03\x23\0\x01",
        b"\x32\x06\0\x01t\0\x01\0",
        b"\x40\x02\0\x01",
        b"\x62\x02\0\x01",
        b"\x82\x07\0\x01\0\0\x01t\x01",
        b"\x90\x04\0\x01\0\x01",
        b"\xC0\0",
        b"\xD0\0",
        b"\xE0\0",
    ];
    let packet = prop::sample::select(known).prop_map(<[u8]>::to_vec);
    let noise = prop::collection::vec(any::<u8>(), 0..4);
    let part = prop_oneof![20 => packet, 1 => noise];
    let piece = 1..40_u8;
    (piece, prop::collection::vec(part, 0..8)).prop_map(|(piece, parts)| {
        let mut stream = vec![piece];
        stream.extend(parts.concat());
        stream
    })
}

/// Properties, well formed or almost.
fn properties() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&[u8]> = vec![
        b"\x01\x01",
        b"\x03\0\x01c",
        b"\x08\0\x01r",
        b"\x09\0\x01\0",
        b"\x26\0\x01n\0\x01v",
        b"\x26\0\0\0\0",
        b"\x02\0\0\0\x01",
        b"\x08\0\x01+",
    ];
    let property = prop::sample::select(known).prop_map(<[u8]>::to_vec);
    prop::collection::vec(property, 0..6).prop_map(|all| all.concat())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn read_packet(octets in prop::collection::vec(any::<u8>(), 0..80), stream in stream()) {
        bodies::read_packet(&octets);
        bodies::read_packet(&stream[1..]);
    }

    #[test]
    fn topic_filter(
        text in prop::collection::vec(prop::sample::select(b"ab$+#//\n".to_vec()), 0..16),
    ) {
        bodies::topic_filter(&text);
        bodies::topic_filter(&[b"$share/g/", &*text].concat());
    }

    #[test]
    fn connection(octets in prop::collection::vec(any::<u8>(), 0..80), stream in stream()) {
        bodies::connection(&octets);
        bodies::connection(&stream);
    }

    #[test]
    fn forwarded_properties(
        octets in prop::collection::vec(any::<u8>(), 0..40),
        valid in properties(),
    ) {
        bodies::forwarded_properties(&octets);
        bodies::forwarded_properties(&valid);
    }
}
