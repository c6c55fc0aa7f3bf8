//! Delivery to a client: packet ids, QoS 1 and QoS 2 from the server's side, order.
//!
//! An id is in use until its exchange is over, and no two messages share one.

use countersign_tests::prelude::*;
use std::collections::HashSet;

/// Somebody subscribed at QoS 2, and somebody to publish to them.
fn scene() -> (Stage, Client, Client, String) {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&topic, 2);
    let publisher = stage.client(V5, "pub");
    (stage, subscriber, publisher, topic)
}

/// [MQTT-3.3.1-2] [MQTT-2.2.1-2]
#[test]
fn mqtt_4_3_1_1_qos_0_is_sent_with_dup_0_and_no_packet_id() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "x"));
    let frame = subscriber.raw.expect_packet();
    let expected = Publish::new(&topic, "x").bytes(V5);
    assert_eq!(frame.bytes(), expected, "{frame:?}");
}

/// [MQTT-4.3.2-1] [MQTT-2.2.1-4]
#[test]
fn mqtt_4_3_2_2_qos_1_is_sent_with_an_id_and_dup_0() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "x").qos(1));
    let published = subscriber.expect_message("x");
    assert_eq!(
        (published.qos, published.dup, published.id),
        (1, false, Some(1))
    );
}

/// [MQTT-4.3.3-1] [MQTT-4.3.3-4] [MQTT-2.2.1-5] [MQTT-3.6.2-1]
#[test]
fn mqtt_4_3_3_2_qos_2_is_sent_with_an_id_and_dup_0_and_released() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "x").qos(2));
    let published = subscriber.expect_message("x");
    assert_eq!(
        (published.qos, published.dup, published.id),
        (2, false, Some(1))
    );
    subscriber.send(&request::ack(Kind::Pubrec, 1));
    let pubrel = subscriber.expect_ack(Kind::Pubrel);
    assert_eq!((pubrel.id, pubrel.code), (1, 0));
    subscriber.send(&request::ack(Kind::Pubcomp, 1));
    subscriber.expect_nothing();
}

/// [MQTT-4.3.2-1] [MQTT-4.3.3-1]
#[test]
fn mqtt_2_2_1_4_ids_in_use_are_not_used_again() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    let mut ids = HashSet::new();
    for number in 0..100 {
        let payload = number.to_string();
        publisher.publish(&Publish::new(&topic, &payload).qos(1 + number % 2));
        let id = subscriber.expect_message(&payload).id.unwrap();
        assert!(ids.insert(id), "packet id {id} twice");
    }
}

#[test]
fn mqtt_2_2_1_4_an_id_is_free_after_its_exchange() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    let mut held = None;
    for number in 0..200 {
        publisher.publish(&Publish::new(&topic, "x").qos(1));
        let id = subscriber.expect_message("x").id.unwrap();
        assert_ne!(Some(id), held, "the id that is still in use");
        if number == 0 {
            held = Some(id);
        } else {
            subscriber.send(&request::ack(Kind::Puback, id));
        }
    }
}

/// [MQTT-4.3.3-5]
#[test]
fn mqtt_4_3_3_4_the_id_stays_in_use_until_pubcomp() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "first").qos(2));
    let first = subscriber.expect_message("first").id.unwrap();
    subscriber.send(&request::ack(Kind::Pubrec, first));
    subscriber.expect_success(Kind::Pubrel, first);
    publisher.publish(&Publish::new(&topic, "second").qos(2));
    assert_ne!(subscriber.expect_message("second").id, Some(first));
}

/// [MQTT-3.6.2-1]
#[test]
fn mqtt_4_3_3_4_a_pubrec_of_an_error_is_not_answered() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "x").qos(2));
    let id = subscriber.expect_message("x").id.unwrap();
    subscriber.send(&request::ack_with(Kind::Pubrec, id, 0x83));
    subscriber.expect_nothing();
}

#[test]
fn mqtt_3_6_2_1_a_pubrec_for_nothing_is_told_so() {
    let mut client = Stage::new().client(V5, "a");
    client.send(&request::ack(Kind::Pubrec, 77));
    let pubrel = client.expect_ack(Kind::Pubrel);
    assert_eq!((pubrel.id, pubrel.code), (77, 0x92));
    client.send(&request::ack(Kind::Pubcomp, 77));
    client.expect_alive();
}

/// [MQTT-4.6.0-6]
#[test]
fn mqtt_4_6_0_5_messages_arrive_in_their_order() {
    for qos in 0..3 {
        let (_stage, mut subscriber, mut publisher, topic) = scene();
        let payloads: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        // All sent before anything is awaited, as a client may.
        let packet = |(payload, id): (&String, u16)| {
            let publish = Publish::new(&topic, payload).qos(qos);
            if qos == 0 { publish } else { publish.id(id) }.bytes(V5)
        };
        let together: Vec<u8> = payloads.iter().zip(1..).flat_map(packet).collect();
        publisher.send(&together);
        expect_answers(&mut publisher, qos);
        assert_eq!(texts(&subscriber.take_many(100)), payloads);
    }
}

/// The server answers in the order in which we published.
fn expect_answers(publisher: &mut Client, qos: u8) {
    match qos {
        0 => {}
        1 => (1..=100).for_each(|id| publisher.expect_success(Kind::Puback, id)),
        _ => {
            (1..=100).for_each(|id| publisher.expect_success(Kind::Pubrec, id));
            (1..=100).for_each(|id| publisher.send(&request::ack(Kind::Pubrel, id)));
            (1..=100).for_each(|id| publisher.expect_success(Kind::Pubcomp, id));
        }
    }
}

fn texts(published: &[Published]) -> Vec<&str> {
    published.iter().map(Published::text).collect()
}

#[test]
fn mqtt_4_6_0_5_order_holds_within_a_wildcard_and_while_away() {
    let stage = Stage::new();
    let (mut subscriber, _) = stage.lasting(V5, "sub");
    subscriber.subscribe(&stage.topic("#"), 1);
    subscriber.leave();
    let mut publisher = stage.client(V5, "pub");
    for number in 0..50 {
        let publish = Publish::new(stage.topic("a/b"), number.to_string()).qos(1);
        publisher.publish(&publish);
    }
    let (mut subscriber, _) = stage.lasting(V5, "sub");
    for number in 0..50 {
        subscriber.expect_message(number.to_string());
    }
}
