//! Sessions and delivery of 3.1.1.
//!
//! A session that is not clean has no expiry of its own.

use countersign_tests::prelude::*;
use std::time::Duration;

/// Somebody with a lasting session, subscribed at QoS 2, and somebody to publish to them.
fn scene() -> (Stage, Client, Client, String) {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let (mut subscriber, _) = stage.lasting(V311, "sub");
    subscriber.subscribe(&topic, 2);
    let publisher = stage.client(V311, "pub");
    (stage, subscriber, publisher, topic)
}

#[test]
fn mqtt311_3_1_2_4_a_session_is_resumed() {
    let (stage, subscriber, mut publisher, topic) = scene();
    subscriber.leave();
    let (mut subscriber, present) = stage.lasting(V311, "sub");
    assert!(present);
    publisher.publish(&Publish::new(&topic, "x").qos(1));
    subscriber.expect_message("x");
}

#[test]
fn mqtt311_3_1_2_5_messages_are_kept_for_a_session_that_is_away() {
    let (stage, subscriber, mut publisher, topic) = scene();
    subscriber.leave();
    publisher.publish(&Publish::new(&topic, "1").qos(1));
    publisher.publish(&Publish::new(&topic, "2").qos(2));
    let (mut subscriber, _) = stage.lasting(V311, "sub");
    for (payload, qos) in [("1", 1), ("2", 2)] {
        let published = subscriber.expect_message(payload);
        assert_eq!((published.qos, published.dup), (qos, false));
    }
}

#[test]
fn mqtt311_3_1_2_6_a_clean_session_discards_and_ends_with_its_connection() {
    let (stage, subscriber, mut publisher, topic) = scene();
    subscriber.leave();
    let mut clean = stage.client(V311, "sub");
    publisher.publish(&Publish::new(&topic, "x").qos(1));
    clean.expect_nothing();
    clean.subscribe(&topic, 1);
    clean.leave();
    let (mut again, present) = stage.lasting(V311, "sub");
    assert!(!present);
    publisher.publish(&Publish::new(&topic, "y").qos(1));
    again.expect_nothing();
}

#[test]
fn mqtt311_3_1_2_7_retained_messages_outlive_every_session() {
    let stage = Stage::new();
    let mut client = stage.client(V311, "a");
    client.publish(&Publish::new(stage.topic("t"), "x").retain().qos(1));
    client.leave();
    let mut clean = stage.client(V311, "a");
    clean.subscribe(&stage.topic("t"), 0);
    assert!(clean.expect_message("x").retain);
}

#[test]
fn mqtt311_3_1_2_8_the_will_is_published_when_the_network_fails() {
    let stage = Stage::new();
    let mut observer = stage.client(V311, "observer");
    observer.subscribe(&stage.topic("will"), 2);
    for qos in 0..3 {
        let will = Will::new(stage.topic("will"), "x").qos(qos);
        stage
            .open("a", &stage.connect(V311, "a").will(&will))
            .0
            .vanish();
        let published = observer.take();
        assert_eq!(
            (published.qos, published.retain),
            (qos, false),
            "[MQTT-3.1.2-16]"
        );
    }
}

#[test]
fn mqtt311_3_1_2_8_the_will_is_published_after_a_protocol_error() {
    let stage = Stage::new();
    let mut observer = stage.client(V311, "observer");
    observer.subscribe(&stage.topic("will"), 0);
    let will = Will::new(stage.topic("will"), "x");
    let (mut client, _) = stage.open("a", &stage.connect(V311, "a").will(&will));
    client.send(b"\x00\x00");
    client.raw.expect_closed();
    observer.expect_message("x");
}

#[test]
fn mqtt311_3_1_2_17_a_will_with_retain_is_retained() {
    let stage = Stage::new();
    let mut observer = stage.client(V311, "observer");
    observer.subscribe(&stage.topic("will"), 0);
    let will = Will::new(stage.topic("will"), "x").retain();
    stage
        .open("a", &stage.connect(V311, "a").will(&will))
        .0
        .vanish();
    observer.expect_message("x");
    let mut late = stage.client(V311, "late");
    late.subscribe(&stage.topic("will"), 0);
    assert!(late.expect_message("x").retain);
}

#[test]
fn mqtt311_3_14_4_3_disconnect_removes_the_will() {
    let stage = Stage::new();
    let mut observer = stage.client(V311, "observer");
    observer.subscribe(&stage.topic("will"), 0);
    let will = Will::new(stage.topic("will"), "x");
    stage
        .open("a", &stage.connect(V311, "a").will(&will))
        .0
        .leave();
    stage.client(V311, "a").expect_alive();
    observer.expect_nothing();
}

#[test]
fn mqtt311_4_4_0_1_what_is_unacknowledged_is_sent_again() {
    for qos in 1..3 {
        let (stage, mut subscriber, mut publisher, topic) = scene();
        publisher.publish(&Publish::new(&topic, "x").qos(qos));
        let first = subscriber.expect_message("x");
        assert!(!first.dup);
        subscriber.vanish();
        let (mut subscriber, _) = stage.lasting(V311, "sub");
        assert_eq!(
            subscriber.expect_message("x"),
            Published { dup: true, ..first }
        );
    }
}

#[test]
fn mqtt311_4_4_0_1_pubrel_is_sent_again() {
    let (stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "x").qos(2));
    let id = subscriber.expect_message("x").id.unwrap();
    subscriber.send(&request::ack(Kind::Pubrec, id));
    subscriber.expect_success(Kind::Pubrel, id);
    subscriber.vanish();
    let (mut subscriber, _) = stage.lasting(V311, "sub");
    subscriber.expect_success(Kind::Pubrel, id);
    subscriber.send(&request::ack(Kind::Pubcomp, id));
    subscriber.expect_nothing();
}

#[test]
fn mqtt311_4_4_0_1_nothing_is_sent_again_while_connected() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    publisher.publish(&Publish::new(&topic, "x").qos(1));
    subscriber.expect_message("x");
    subscriber.raw.expect_silence(Duration::from_millis(1500));
}

#[test]
fn mqtt311_4_3_2_2_qos_1_is_acknowledged() {
    let (_stage, _, mut publisher, topic) = scene();
    publisher.send_publish(&Publish::new(&topic, "x").qos(1).id(258));
    publisher.raw.expect_hex("40 02 01 02");
}

#[test]
fn mqtt311_4_3_3_2_qos_2_is_acknowledged_and_completed() {
    let (_stage, _, mut publisher, topic) = scene();
    publisher.send_publish(&Publish::new(&topic, "x").qos(2).id(258));
    publisher.raw.expect_hex("50 02 01 02");
    publisher.raw.send_hex("62 02 01 02");
    publisher.raw.expect_hex("70 02 01 02");
}

#[test]
fn mqtt311_4_3_3_2_until_pubrel_the_same_id_is_delivered_once() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    for publish in [Publish::new(&topic, "x"), Publish::new(&topic, "x").dup()] {
        publisher.send_publish(&publish.qos(2).id(9));
        publisher.expect_success(Kind::Pubrec, 9);
    }
    publisher.send(&request::ack(Kind::Pubrel, 9));
    publisher.expect_success(Kind::Pubcomp, 9);
    subscriber.take();
    subscriber.expect_nothing();
}

#[test]
fn mqtt311_4_3_3_2_a_pubrel_for_nothing_is_completed_too() {
    let (_stage, _, mut publisher, _) = scene();
    publisher.raw.send_hex("62 02 00 63");
    publisher.raw.expect_hex("70 02 00 63");
}

#[test]
fn mqtt311_4_6_0_6_messages_arrive_in_their_order() {
    let (_stage, mut subscriber, mut publisher, topic) = scene();
    for number in 0..100 {
        publisher.publish(&Publish::new(&topic, number.to_string()).qos(number % 3));
    }
    let mut next = [0, 1, 2];
    for published in subscriber.take_many(100) {
        let expected = &mut next[usize::from(published.qos)];
        assert_eq!(
            published.text(),
            expected.to_string(),
            "at QoS {}",
            published.qos
        );
        *expected += 3;
    }
}
