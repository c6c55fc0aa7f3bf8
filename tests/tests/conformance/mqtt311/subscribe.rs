//! SUBSCRIBE and UNSUBSCRIBE of 3.1.1.
//!
//! A failure is 0x80, in its filter's place.

use super::closes;
use countersign_tests::prelude::*;

#[test]
fn mqtt311_3_8_4_1_subscribe_is_answered_under_its_id() {
    let stage = Stage::new();
    let mut client = stage.client(V311, "a");
    for (id, answer) in [(1, "90 03 00 01 01"), (65535, "90 03 ff ff 01")] {
        client.send(&Subscribe::new(id).filter(stage.topic("t"), 1).bytes(V311));
        client.raw.expect_hex(answer);
    }
}

#[test]
fn mqtt311_3_9_3_1_codes_stand_in_the_order_of_the_filters() {
    let stage = Stage::new();
    let mut client = stage.client(V311, "a");
    let many = (0..30_u8).fold(Subscribe::new(1), |packet, number| {
        packet.filter(stage.topic(&number.to_string()), 2 - number % 3)
    });
    let codes: Vec<u8> = (0..30).map(|number| 2 - number % 3).collect();
    assert_eq!(client.subscribe_with(&many).codes, codes);
}

#[test]
fn mqtt311_3_9_3_2_a_filter_not_permitted_fails_alone() {
    let stage = Stage::new();
    let mut client = stage.client(V311, "a");
    let mixed = Subscribe::new(1)
        .filter(stage.topic("hidden/b"), 1)
        .filter(stage.topic("c"), 2);
    assert_eq!(client.subscribe_with(&mixed).codes, [0x80, 2]);
}

#[test]
fn mqtt311_3_8_4_3_subscribing_again_replaces_and_sends_what_is_retained() {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let mut publisher = stage.client(V311, "pub");
    publisher.publish(&Publish::new(&topic, "old").retain().qos(1));
    let mut client = stage.client(V311, "a");
    for qos in [2, 0, 1] {
        client.subscribe(&topic, qos);
        assert_eq!(client.take().text(), "old");
    }
    publisher.publish(&Publish::new(&topic, "new").qos(2));
    assert_eq!(client.take().qos, 1);
    client.expect_nothing();
}

#[test]
fn mqtt311_3_8_4_6_a_message_comes_at_the_lower_qos() {
    let stage = Stage::new();
    let mut publisher = stage.client(V311, "pub");
    for granted in 0..3 {
        let mut client = stage.client(V311, "a");
        client.subscribe(&stage.topic("t"), granted);
        for published in 0..3 {
            publisher.publish(&Publish::new(stage.topic("t"), "x").qos(published));
            assert_eq!(client.take().qos, published.min(granted));
        }
    }
}

#[test]
fn mqtt311_3_8_1_1_subscribe_has_the_flags_0010() {
    let good = Subscribe::new(1).filter("t", 0).bytes(V311);
    for flags in [0, 1, 3, 10] {
        closes(&[&[0x80 | flags], &good[1..]].concat());
    }
}

#[test]
fn mqtt311_3_8_3_1_a_filter_must_be_utf_8() {
    closes(&Subscribe::new(1).filter(b"\xff", 0).bytes(V311));
}

#[test]
fn mqtt311_3_8_3_3_without_a_filter_it_is_an_error() {
    closes(&Subscribe::new(1).bytes(V311));
}

/// Bits that mean something in 5.0 are reserved here.
#[test]
fn mqtt311_3_8_3_4_reserved_bits_and_qos_3_close() {
    for options in [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80] {
        closes(&Subscribe::new(1).filter("t", options).bytes(V311));
    }
}

#[test]
fn mqtt311_4_7_1_2_wildcards_must_stand_where_they_may() {
    for wrong in ["", "a#", "#/a", "a/#/b", "+a", "a+", "a/b+/c"] {
        let mut client = Stage::new().client(V311, "a");
        client.send(&Subscribe::new(1).filter(wrong, 0).bytes(V311));
        match client.raw.next(countersign_tests::raw::PATIENCE) {
            Next::Closed(_) => {}
            Next::Packet(frame) => {
                let suback = Suback::read(&frame, V311, Kind::Suback);
                assert_eq!(suback.codes, [0x80], "for {wrong:?}");
            }
            Next::Silence => panic!("no answer for {wrong:?}"),
        }
    }
}

#[test]
fn mqtt311_3_10_4_4_unsubscribe_is_answered_under_its_id() {
    let stage = Stage::new();
    let mut client = stage.client(V311, "a");
    client.subscribe(&stage.topic("t"), 1);
    client.send(&request::unsubscribe(
        V311,
        513,
        &[stage.topic("t"), stage.topic("never")],
    ));
    client.raw.expect_hex("b0 02 02 01");
    client.send_publish(&Publish::new(stage.topic("t"), "x"));
    client.expect_nothing();
}

#[test]
fn mqtt311_3_10_4_1_filters_are_compared_character_by_character() {
    let stage = Stage::new();
    let mut client = stage.client(V311, "a");
    client.subscribe(&stage.topic("a/+"), 0);
    client.unsubscribe(&[
        &stage.topic("a/b"),
        &stage.topic("a/#"),
        &stage.topic("+/+"),
    ]);
    client.send_publish(&Publish::new(stage.topic("a/b"), "x"));
    client.expect_message("x");
}

#[test]
fn mqtt311_3_10_1_1_unsubscribe_has_the_flags_0010() {
    let good = request::unsubscribe(V311, 1, &["t"]);
    for flags in [0, 1, 3, 10] {
        closes(&[&[0xa0 | flags], &good[1..]].concat());
    }
}

#[test]
fn mqtt311_3_10_3_2_without_a_filter_it_is_an_error() {
    closes(&request::unsubscribe::<&str>(V311, 1, &[]));
}
