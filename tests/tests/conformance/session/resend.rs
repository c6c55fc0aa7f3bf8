//! What is sent again when a session is resumed.
//!
//! Then, under the same ids and in the same order; and at no other time.

use countersign_tests::prelude::*;
use std::time::Duration;

/// Somebody with a lasting session, subscribed at QoS 2, and somebody to publish to them.
fn scene() -> (Stage, Client, Client, String) {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let (mut subscriber, _) = stage.lasting(V5, "sub");
    subscriber.subscribe(&topic, 2);
    let publisher = stage.client(V5, "pub");
    (stage, subscriber, publisher, topic)
}

fn resume(stage: &Stage) -> Client {
    let (client, present) = stage.lasting(V5, "sub");
    assert!(present);
    client
}

/// [MQTT-3.3.1-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3]
#[test]
fn mqtt_4_4_0_1_what_is_unacknowledged_is_sent_again() {
    for qos in 1..3 {
        let (stage, mut subscriber, mut publisher, topic) = scene();
        publisher.publish(&Publish::new(&topic, "x").qos(qos));
        let first = subscriber.expect_message("x");
        subscriber.vanish();
        let again = resume(&stage).expect_message("x");
        assert_eq!(again, Published { dup: true, ..first });
    }
}

#[test]
fn mqtt_4_4_0_1_what_is_sent_again_keeps_its_order() {
    let (stage, mut subscriber, mut publisher, topic) = scene();
    let mut first = Vec::new();
    for (number, qos) in [1, 2, 1, 1, 2, 2].into_iter().enumerate() {
        publisher.publish(&Publish::new(&topic, number.to_string()).qos(qos));
        first.push(subscriber.expect_message(number.to_string()));
    }
    // One in the middle is done with.
    subscriber.send(&request::ack(Kind::Puback, first[2].id.unwrap()));
    subscriber.expect_nothing();
    subscriber.vanish();
    publisher.publish(&Publish::new(&topic, "new").qos(1));
    let mut subscriber = resume(&stage);
    first.remove(2);
    for published in first {
        assert_eq!(
            subscriber.expect_publish(),
            Published {
                dup: true,
                ..published
            }
        );
    }
    subscriber.expect_message("new");
}

/// [MQTT-4.3.3-5]
#[test]
fn mqtt_4_3_3_6_after_pubrel_only_pubrel_is_sent_again() {
    let (stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "x").qos(2));
    let id = subscriber.expect_message("x").id.unwrap();
    subscriber.send(&request::ack(Kind::Pubrec, id));
    subscriber.expect_success(Kind::Pubrel, id);
    subscriber.vanish();
    let mut subscriber = resume(&stage);
    subscriber.expect_success(Kind::Pubrel, id);
    subscriber.send(&request::ack(Kind::Pubcomp, id));
    subscriber.expect_nothing();
    subscriber.vanish();
    resume(&stage).expect_nothing();
}

#[test]
fn mqtt_4_4_0_1_nothing_is_sent_again_while_connected() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "1").qos(1));
    publisher.publish(&Publish::new(&topic, "2").qos(2));
    subscriber.expect_message("1");
    let id = subscriber.expect_message("2").id.unwrap();
    subscriber.raw.expect_silence(Duration::from_millis(1500));
    subscriber.send(&request::ack(Kind::Pubrec, id));
    subscriber.expect_success(Kind::Pubrel, id);
    subscriber.raw.expect_silence(Duration::from_millis(1500));
}

/// [MQTT-4.3.2-3]
#[test]
fn mqtt_4_4_0_1_what_is_acknowledged_is_not_sent_again() {
    let (stage, mut subscriber, mut publisher, topic) = scene();
    for qos in 1..3 {
        publisher.publish(&Publish::new(&topic, "x").qos(qos));
        subscriber.take();
    }
    subscriber.expect_nothing();
    subscriber.vanish();
    resume(&stage).expect_nothing();
}

#[test]
fn mqtt_4_4_0_2_an_error_acknowledges_too() {
    let (stage, mut subscriber, mut publisher, topic) = scene();
    for (qos, kind) in [(1, Kind::Puback), (2, Kind::Pubrec)] {
        publisher.publish(&Publish::new(&topic, "x").qos(qos));
        let id = subscriber.expect_message("x").id.unwrap();
        subscriber.send(&request::ack_with(kind, id, 0x97));
        subscriber.expect_nothing();
    }
    subscriber.vanish();
    resume(&stage).expect_nothing();
}

/// [MQTT-3.1.2-4]
#[test]
fn mqtt_4_4_0_1_after_a_clean_start_nothing_is_sent_again() {
    let (stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "x").qos(1));
    subscriber.expect_message("x");
    subscriber.vanish();
    stage.client(V5, "sub").expect_nothing();
}

#[test]
fn mqtt_4_3_3_10_a_publish_repeated_after_reconnecting_is_delivered_once() {
    let (stage, mut subscriber, _, topic) = scene();
    let publish = Publish::new(&topic, "once").qos(2).id(4);
    let (mut publisher, _) = stage.lasting(V5, "again");
    publisher.send_publish(&publish);
    publisher.expect_success(Kind::Pubrec, 4);
    publisher.vanish();
    let (mut publisher, present) = stage.lasting(V5, "again");
    assert!(present);
    publisher.send_publish(&publish.dup());
    publisher.expect_success(Kind::Pubrec, 4);
    publisher.vanish();
    let (mut publisher, _) = stage.lasting(V5, "again");
    publisher.send(&request::ack(Kind::Pubrel, 4));
    publisher.expect_success(Kind::Pubcomp, 4);
    subscriber.expect_message("once");
    subscriber.expect_nothing();
}

/// [MQTT-4.1.0-2]
#[test]
fn mqtt_4_3_3_12_the_memory_of_qos_2_ends_with_the_session() {
    let (stage, mut subscriber, _, topic) = scene();
    let publish = Publish::new(&topic, "x").qos(2).id(4);
    let mut publisher = stage.client(V5, "again");
    publisher.send_publish(&publish);
    publisher.expect_success(Kind::Pubrec, 4);
    publisher.vanish();
    // Whether the first was delivered before its PUBREL is the server's choice.
    subscriber.drain();
    stage.client(V5, "again").publish(&publish.dup());
    assert_eq!(subscriber.take().text(), "x");
}

#[test]
fn mqtt_4_3_3_7_what_was_sent_does_not_expire() {
    for qos in 1..3 {
        let (stage, mut subscriber, mut publisher, topic) = scene();
        let publish = Publish::new(&topic, "x").with(&Property::MessageExpiry(1));
        publisher.publish(&publish.qos(qos));
        let id = subscriber.expect_message("x").id;
        subscriber.vanish();
        std::thread::sleep(Duration::from_millis(1300));
        let again = resume(&stage).expect_message("x");
        assert_eq!((again.id, again.dup), (id, true));
    }
}
