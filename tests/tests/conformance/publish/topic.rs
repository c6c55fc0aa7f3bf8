//! Topic names.
//!
//! A name that is none closes the connection and reaches nobody.

use crate::{EITHER, closes};
use countersign_tests::prelude::*;

#[test]
fn mqtt_3_3_2_1_a_topic_name_must_be_utf_8() {
    for wrong in [
        &b"\xff"[..],
        b"a/\xc3",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xc0\xaf",
        b"\xf8\x88",
    ] {
        closes(&Publish::new(wrong, "x").bytes(V5), &[0x81, 0x82, 0x90]);
    }
}

#[test]
fn mqtt_3_3_2_1_the_topic_name_must_be_there() {
    closes(&request::packet(0x30, &[]), &EITHER);
    closes(&request::packet(0x30, &[0]), &EITHER);
    closes(&request::packet(0x30, &[0, 5, b'a']), &EITHER);
    closes(&request::packet(0x32, &[0, 1, b'a', 0]), &EITHER);
}

/// [MQTT-4.7.0-1]
#[test]
fn mqtt_3_3_2_2_a_topic_name_has_no_wildcards() {
    for wrong in ["#", "+", "a/#", "a/+/b", "a+", "a#b"] {
        closes(&Publish::new(wrong, "x").bytes(V5), &[0x90, 0x81, 0x82]);
    }
}

#[test]
fn mqtt_4_7_3_1_a_topic_name_is_not_empty() {
    closes(&Publish::new("", "x").bytes(V5), &[0x82, 0x90, 0x81]);
}

/// [MQTT-1.5.4-2]
#[test]
fn mqtt_4_7_3_2_a_topic_name_has_no_u_0000() {
    closes(&Publish::new("a\0b", "x").bytes(V5), &[0x81, 0x82, 0x90]);
    closes(&Publish::new("\0", "x").bytes(V5), &[0x81, 0x82, 0x90]);
}

#[test]
fn mqtt_1_5_4_1_every_form_of_ill_formed_utf_8_is_refused() {
    let ill_formed: &[&[u8]] = &[
        b"\x80",             // a continuation alone
        b"\xc2",             // cut short
        b"\xe2\x82",         // cut short
        b"\xf0\x9f\x98",     // cut short
        b"\xc0\x80",         // longer than need be
        b"\xe0\x80\xaf",     // longer than need be
        b"\xf0\x80\x80\xaf", // longer than need be
        b"\xed\xa0\x80",     // U+D800
        b"\xed\xbf\xbf",     // U+DFFF
        b"\xf4\x90\x80\x80", // above U+10FFFF
        b"\xfe",
        b"\xff",
    ];
    for wrong in ill_formed {
        closes(
            &Publish::new([b"a/", *wrong].concat(), "x").bytes(V5),
            &[0x81, 0x82, 0x90],
        );
    }
}

#[test]
fn mqtt_1_5_4_3_a_byte_order_mark_is_a_character() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("\u{feff}x"), 0);
    client.publish(&Publish::new(stage.topic("x"), "other"));
    client.send_publish(&Publish::new(stage.topic("\u{feff}x"), "marked"));
    assert_eq!(
        client.expect_message("marked").topic,
        stage.topic("\u{feff}x")
    );
}

#[test]
fn mqtt_4_7_3_4_no_normalisation() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    // é composed, and e with an accent behind it; upper case; doubled and trailing separators.
    for (filter, other) in [
        ("\u{e9}", "e\u{301}"),
        ("Case", "case"),
        ("a/b", "a//b"),
        ("a/c", "a/c/"),
        ("d", "/d"),
        ("sp ace", "space"),
    ] {
        client.subscribe(&stage.topic(filter), 0);
        client.publish(&Publish::new(stage.topic(other), "other"));
        client.send_publish(&Publish::new(stage.topic(filter), filter));
        client.expect_message(filter);
    }
}

#[test]
fn mqtt_4_7_3_topic_names_may_be_long_and_hold_what_they_like() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("#"), 0);
    let longest = "x".repeat(65_535 - stage.topic("").len());
    for name in [
        " ",
        "/",
        "//",
        "a b",
        "\u{1F600}",
        "\u{7f}",
        "$x",
        "a/$b",
        &longest,
    ] {
        client.send_publish(&Publish::new(stage.topic(name), "x"));
        assert_eq!(client.expect_message("x").topic, stage.topic(name));
    }
}

#[test]
fn mqtt_3_3_3_a_payload_may_be_empty_and_hold_any_byte() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("t"), 0);
    let every_byte: Vec<u8> = (0..=255).collect();
    for payload in [&b""[..], b"\0", &every_byte, &every_byte.repeat(1000)] {
        client.send_publish(&Publish::new(stage.topic("t"), payload));
        assert_eq!(client.expect_publish().payload, payload);
    }
}
