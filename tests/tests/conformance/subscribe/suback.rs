//! SUBSCRIBE as a packet, and its SUBACK.
//!
//! Each filter is judged for itself, and each is answered, in its place.

use crate::{EITHER, MALFORMED, PROTOCOL_ERROR, closes};
use Property::SubscriptionId;
use countersign_tests::prelude::*;

fn subscribe(filter: impl AsRef<[u8]>) -> Subscribe {
    Subscribe::new(1).filter(filter, 0)
}

/// [MQTT-3.8.4-2] [MQTT-2.2.1-6] [MQTT-3.8.4-7]
#[test]
fn mqtt_3_8_4_1_subscribe_is_answered_under_its_id() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    for id in [1, 2, 255, 256, 65535] {
        client.send(&Subscribe::new(id).filter(stage.topic("t"), 1).bytes(V5));
        let suback = client.expect_suback();
        assert_eq!((suback.id, suback.codes), (id, vec![1]));
    }
}

/// [MQTT-3.8.4-6] [MQTT-3.9.3-1] [MQTT-3.8.4-7] [MQTT-3.9.3-2]
#[test]
fn mqtt_3_8_4_5_many_filters_have_one_suback_in_their_order() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    let many = (0..60).fold(Subscribe::new(1), |packet, number| {
        packet.filter(stage.topic(&number.to_string()), number % 3)
    });
    let codes: Vec<u8> = (0..60).map(|number| number % 3).collect();
    assert_eq!(client.subscribe_with(&many).codes, codes);
    client.send_publish(&Publish::new(stage.topic("59"), "x"));
    client.expect_message("x");
}

/// [MQTT-3.9.3-1] [MQTT-3.9.3-2]
#[test]
fn mqtt_3_8_4_7_a_filter_not_permitted_fails_alone() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    let mixed = Subscribe::new(1)
        .filter(stage.topic("a"), 1)
        .filter(stage.topic("hidden/b"), 1)
        .filter(stage.topic("c"), 2);
    assert_eq!(client.subscribe_with(&mixed).codes, [1, 0x87, 2]);
    let mut publisher = stage.client(V5, "pub");
    for name in ["a", "hidden/b", "c"] {
        publisher.publish(&Publish::new(stage.topic(name), name));
    }
    client.expect_message("a");
    client.expect_message("c");
    client.expect_nothing();
}

/// [MQTT-3.3.4-2]
#[test]
fn mqtt_3_8_4_8_a_message_comes_at_the_lower_qos() {
    let stage = Stage::new();
    let mut publisher = stage.client(V5, "pub");
    for granted in 0..3 {
        let mut client = stage.client(V5, "a");
        client.subscribe(&stage.topic("t"), granted);
        for published in 0..3 {
            publisher.publish(&Publish::new(stage.topic("t"), "x").qos(published));
            assert_eq!(client.take().qos, published.min(granted));
        }
    }
}

/// [MQTT-2.1.3-1]
#[test]
fn mqtt_3_8_1_1_subscribe_has_the_flags_0010() {
    let good = subscribe("t").bytes(V5);
    for flags in (0..16).filter(|flags| *flags != 2) {
        closes(&[&[0x80 | flags], &good[1..]].concat(), &EITHER);
    }
}

#[test]
fn mqtt_3_8_3_1_a_filter_must_be_utf_8() {
    for wrong in [&b"\xff"[..], b"a/\xed\xa0\x80", b"\xc0\x80/#"] {
        closes(&subscribe(wrong).bytes(V5), &[0x81, 0x82, 0x8f]);
    }
}

#[test]
fn mqtt_3_8_3_2_without_a_filter_it_is_an_error() {
    closes(&Subscribe::new(1).bytes(V5), &EITHER);
}

#[test]
fn mqtt_3_8_3_5_reserved_bits_in_the_options_are_malformed() {
    for options in [0x40, 0x80, 0xc0] {
        closes(
            &Subscribe::new(1).filter("t", options).bytes(V5),
            &[MALFORMED],
        );
    }
}

#[test]
fn mqtt_3_8_3_qos_3_and_retain_handling_3_are_errors() {
    closes(&Subscribe::new(1).filter("t", 3).bytes(V5), &EITHER);
    closes(&Subscribe::new(1).filter("t", 0x30).bytes(V5), &EITHER);
}

#[test]
fn mqtt_3_8_3_a_packet_cut_within_a_filter_is_malformed() {
    let whole = subscribe("filter").bytes(V5);
    for len in 2..whole.len() {
        closes(&request::packet(0x82, &whole[2..len]), &EITHER);
    }
}

#[test]
fn mqtt_3_8_2_a_subscription_identifier_is_within_its_range() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    for id in [1, 127, 128, 268_435_455] {
        let subscribe = Subscribe::new(1)
            .with(&SubscriptionId(id))
            .filter(stage.topic("t"), 0);
        assert_eq!(client.subscribe_with(&subscribe).codes, [0]);
        client.send_publish(&Publish::new(stage.topic("t"), "x"));
        assert_eq!(client.expect_message("x").subscription_ids(), [id]);
    }
    closes(&subscribe("t").with(&SubscriptionId(0)).bytes(V5), &EITHER);
    closes(
        &subscribe("t")
            .with_bytes(b"\x0b\xff\xff\xff\xff\x01")
            .bytes(V5),
        &EITHER,
    );
}

#[test]
fn mqtt_3_8_2_properties_must_be_those_of_subscribe_and_come_once() {
    let id = SubscriptionId(1);
    closes(
        &subscribe("t").with(&id).with(&id).bytes(V5),
        &[PROTOCOL_ERROR],
    );
    for property in [Property::TopicAlias(1), Property::Reason("r".into())] {
        closes(&subscribe("t").with(&property).bytes(V5), &EITHER);
    }
    let mut client = Stage::new().client(V5, "a");
    let user = Property::user("a", "b");
    assert_eq!(
        client
            .subscribe_with(&subscribe("t").with(&user).with(&user))
            .codes,
        [0]
    );
}

/// A filter that is none: refused alone, or the end of the connection.
///
/// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.8.2-1] [MQTT-4.8.2-2]
#[test]
fn mqtt_4_7_1_1_wildcards_must_stand_where_they_may() {
    for wrong in [
        "",
        "a#",
        "#/a",
        "a/#/b",
        "##",
        "/##",
        "a/b#",
        "+a",
        "a+",
        "a/+b",
        "a/b+/c",
        "++",
        "#+",
        "$share/",
        "$share/g",
        "$share//a",
        "$share/g/",
        "$share/+/a",
        "$share/#/a",
        "$share/g+/a",
        "$share/g#/a",
        "$share/g/a#",
        "$share/g/a/#/b",
    ] {
        let mut client = Stage::new().client(V5, "a");
        client.send(&subscribe(wrong).bytes(V5));
        let frame = client.raw.expect_packet();
        match frame.kind() {
            Kind::Suback => assert_eq!(frame.body.last(), Some(&0x8f), "for {wrong:?}"),
            Kind::Disconnect => {
                assert!([0x81, 0x82, 0x8f].contains(&frame.body[0]), "for {wrong:?}");
            }
            _ => panic!("{frame:?} for {wrong:?}"),
        }
    }
}

/// [MQTT-1.5.4-2]
#[test]
fn mqtt_4_7_3_2_a_filter_has_no_u_0000() {
    closes(&subscribe("a\0b").bytes(V5), &[0x81, 0x82, 0x8f]);
    closes(&request::unsubscribe(V5, 1, &["a\0b"]), &[0x81, 0x82, 0x8f]);
}
