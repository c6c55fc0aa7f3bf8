//! Delivery from a client: the server's answers to PUBLISH and PUBREL.
//!
//! A message at QoS 2 is delivered once, however often it is sent before its PUBREL.

use crate::{EITHER, closes};
use countersign_tests::prelude::*;

/// Somebody subscribed, and somebody to publish to them.
fn scene() -> (Stage, Client, Client, String) {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&topic, 0);
    let publisher = stage.client(V5, "pub");
    (stage, subscriber, publisher, topic)
}

/// [MQTT-4.3.2-4] [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-2.2.1-5]
#[test]
fn mqtt_3_3_4_1_a_publish_is_answered_as_its_qos_demands() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    publisher.send_publish(&Publish::new(&topic, "0"));
    publisher.expect_nothing();
    publisher.send_publish(&Publish::new(&topic, "1").qos(1).id(11));
    publisher.expect_success(Kind::Puback, 11);
    publisher.send_publish(&Publish::new(&topic, "2").qos(2).id(12));
    publisher.expect_success(Kind::Pubrec, 12);
    publisher.send(&request::ack(Kind::Pubrel, 12));
    publisher.expect_success(Kind::Pubcomp, 12);
    for payload in ["0", "1", "2"] {
        subscriber.expect_message(payload);
    }
}

/// [MQTT-3.5.2-1]
#[test]
fn mqtt_3_4_2_1_a_publish_nobody_wants_is_a_success_too() {
    let stage = Stage::new();
    let mut publisher = stage.client(V5, "pub");
    publisher.send_publish(&Publish::new(stage.topic("unheard"), "x").qos(1).id(1));
    let puback = publisher.expect_ack(Kind::Puback);
    assert!([0x00, 0x10].contains(&puback.code), "{puback:?}");
    publisher.send_publish(&Publish::new(stage.topic("unheard"), "x").qos(2).id(2));
    let pubrec = publisher.expect_ack(Kind::Pubrec);
    assert!([0x00, 0x10].contains(&pubrec.code), "{pubrec:?}");
}

/// [MQTT-3.5.2-1]
#[test]
fn mqtt_3_4_2_1_a_publish_not_permitted_is_told_so() {
    let (stage, mut subscriber, mut publisher, _) = scene();
    subscriber.subscribe(&stage.topic("#"), 0);
    let denied = stage.topic("denied/t");
    publisher.send_publish(&Publish::new(&denied, "0"));
    publisher.send_publish(&Publish::new(&denied, "1").qos(1).id(1));
    assert_eq!(publisher.expect_ack(Kind::Puback).code, 0x87);
    publisher.send_publish(&Publish::new(&denied, "2").qos(2).id(2));
    assert_eq!(publisher.expect_ack(Kind::Pubrec).code, 0x87);
    subscriber.expect_nothing();
}

#[test]
fn mqtt_4_3_3_9_after_a_refusal_the_id_is_free() {
    let (stage, mut subscriber, mut publisher, topic) = scene();
    publisher.send_publish(&Publish::new(stage.topic("denied/t"), "x").qos(2).id(5));
    assert_eq!(publisher.expect_ack(Kind::Pubrec).code, 0x87);
    publisher.send_publish(&Publish::new(&topic, "permitted").qos(2).id(5));
    publisher.expect_success(Kind::Pubrec, 5);
    subscriber.expect_message("permitted");
}

#[test]
fn mqtt_4_3_2_5_after_puback_the_same_id_is_a_new_message() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "first").qos(1).id(3));
    publisher.publish(&Publish::new(&topic, "second").qos(1).id(3).dup());
    publisher.publish(&Publish::new(&topic, "third").qos(1).id(3));
    for payload in ["first", "second", "third"] {
        subscriber.expect_message(payload);
    }
}

#[test]
fn mqtt_4_3_3_10_until_pubrel_the_same_id_is_delivered_once() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    let publish = Publish::new(&topic, "once").qos(2).id(4);
    publisher.send_publish(&publish);
    publisher.expect_success(Kind::Pubrec, 4);
    for again in [publish.clone().dup(), publish.clone(), publish.dup()] {
        publisher.send_publish(&again);
        publisher.expect_success(Kind::Pubrec, 4);
    }
    publisher.send(&request::ack(Kind::Pubrel, 4));
    publisher.expect_success(Kind::Pubcomp, 4);
    subscriber.expect_message("once");
    subscriber.expect_nothing();
}

#[test]
fn mqtt_4_3_3_12_after_pubcomp_the_same_id_is_a_new_message() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "first").qos(2).id(4));
    publisher.publish(&Publish::new(&topic, "second").qos(2).id(4));
    subscriber.expect_message("first");
    subscriber.expect_message("second");
}

#[test]
fn mqtt_4_3_3_12_a_released_message_is_not_delivered_again() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "once").qos(2).id(4));
    publisher.send(&request::ack(Kind::Pubrel, 4));
    let pubcomp = publisher.expect_ack(Kind::Pubcomp);
    assert_eq!((pubcomp.id, pubcomp.code), (4, 0x92));
    subscriber.expect_message("once");
    subscriber.expect_nothing();
}

/// [MQTT-4.3.3-11]
#[test]
fn mqtt_3_7_2_1_a_pubrel_for_nothing_is_told_so() {
    let mut client = Stage::new().client(V5, "a");
    client.send(&request::ack(Kind::Pubrel, 99));
    let pubcomp = client.expect_ack(Kind::Pubcomp);
    assert_eq!((pubcomp.id, pubcomp.code), (99, 0x92));
}

#[test]
fn mqtt_4_3_3_13_an_expired_message_is_still_completed() {
    let (_stage, _, mut publisher, topic) = scene();
    let publish = Publish::new(&topic, "x").with(&Property::MessageExpiry(1));
    publisher.send_publish(&publish.qos(2).id(8));
    publisher.expect_success(Kind::Pubrec, 8);
    std::thread::sleep(std::time::Duration::from_millis(1300));
    publisher.send(&request::ack(Kind::Pubrel, 8));
    publisher.expect_success(Kind::Pubcomp, 8);
}

#[test]
fn mqtt_2_2_1_3_a_packet_id_must_not_be_0() {
    closes(&Publish::new("t", "x").qos(1).id(0).bytes(V5), &EITHER);
    closes(&Publish::new("t", "x").qos(2).id(0).bytes(V5), &EITHER);
    closes(&Subscribe::new(0).filter("t", 0).bytes(V5), &EITHER);
    closes(&request::unsubscribe(V5, 0, &["t"]), &EITHER);
}

#[test]
fn mqtt_3_3_1_2_dup_at_qos_0_is_malformed() {
    closes(&Publish::new("t", "x").dup().bytes(V5), &EITHER);
}

#[test]
fn mqtt_3_3_1_3_dup_is_not_passed_on() {
    let stage = Stage::new();
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&stage.topic("t"), 2);
    let mut publisher = stage.client(V5, "pub");
    for qos in 1..3 {
        publisher.publish(&Publish::new(stage.topic("t"), "x").qos(qos).dup());
        assert!(!subscriber.take().dup, "at QoS {qos}");
    }
}

#[test]
fn mqtt_3_3_1_4_both_qos_bits_are_malformed() {
    closes(&Publish::new("t", "x").qos(3).id(1).bytes(V5), &EITHER);
}

/// [MQTT-2.1.3-1]
#[test]
fn mqtt_3_6_1_1_pubrel_has_the_flags_0010() {
    for flags in (0..16).filter(|flags| *flags != 2) {
        closes(&request::packet(0x60 | flags, &[0, 1]), &EITHER);
    }
}

#[test]
fn mqtt_2_1_3_1_puback_pubrec_and_pubcomp_have_no_flags() {
    for head in [0x40, 0x50, 0x70] {
        for flag in [1, 2, 4, 8] {
            closes(&request::packet(head | flag, &[0, 1]), &EITHER);
        }
    }
}

#[test]
fn mqtt_3_4_2_acknowledgements_with_wrong_codes_or_properties_are_refused() {
    for kind in [Kind::Puback, Kind::Pubrec, Kind::Pubrel, Kind::Pubcomp] {
        let head = kind.head();
        // A code that is not of the table; a property that is not of the packet; cut short.
        closes(&request::packet(head, &[0, 1, 0x03]), &EITHER);
        closes(
            &request::packet(head, &[0, 1, 0x00, 0x03, 0x21, 0, 1]),
            &EITHER,
        );
        closes(
            &request::packet(head, &[0, 1, 0x00, 0x02, 0x1f, 0]),
            &EITHER,
        );
        closes(&request::packet(head, &[0]), &EITHER);
        closes(&request::packet(head, &[0, 0]), &EITHER);
    }
}
