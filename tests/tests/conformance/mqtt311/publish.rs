//! PUBLISH and retained messages of 3.1.1.
//!
//! RETAIN tells a subscriber that the message is old, and nothing else.

use super::closes;
use countersign_tests::prelude::*;

fn retained(topic: &str, payload: &str) -> Publish {
    Publish::new(topic, payload).retain()
}

#[test]
fn mqtt311_2_3_1_5_qos_0_has_no_packet_id() {
    let stage = Stage::new();
    let mut client = stage.client(V311, "a");
    client.subscribe(&stage.topic("t"), 2);
    let publish = Publish::new(stage.topic("t"), "x");
    client.send_publish(&publish);
    assert_eq!(client.raw.expect_packet().bytes(), publish.bytes(V311));
}

#[test]
fn mqtt311_2_3_1_1_a_packet_id_must_not_be_0() {
    closes(&Publish::new("t", "x").qos(1).id(0).bytes(V311));
    closes(&Subscribe::new(0).filter("t", 0).bytes(V311));
    closes(&request::unsubscribe(V311, 0, &["t"]));
}

#[test]
fn mqtt311_2_3_1_4_the_server_gives_unused_ids() {
    let stage = Stage::new();
    let mut subscriber = stage.client(V311, "sub");
    subscriber.subscribe(&stage.topic("t"), 2);
    let mut publisher = stage.client(V311, "pub");
    let mut ids = std::collections::HashSet::new();
    for number in 0..50 {
        publisher.publish(&Publish::new(stage.topic("t"), "x").qos(1 + number % 2));
        assert!(ids.insert(subscriber.expect_message("x").id));
    }
}

#[test]
fn mqtt311_3_3_1_2_dup_at_qos_0_closes() {
    closes(&Publish::new("t", "x").dup().bytes(V311));
}

#[test]
fn mqtt311_3_3_1_3_dup_is_not_passed_on() {
    let stage = Stage::new();
    let mut subscriber = stage.client(V311, "sub");
    subscriber.subscribe(&stage.topic("t"), 2);
    let mut publisher = stage.client(V311, "pub");
    for qos in 1..3 {
        publisher.publish(&Publish::new(stage.topic("t"), "x").qos(qos).dup());
        assert!(!subscriber.take().dup);
    }
}

#[test]
fn mqtt311_3_3_1_4_both_qos_bits_close() {
    closes(&Publish::new("t", "x").qos(3).id(1).bytes(V311));
}

#[test]
fn mqtt311_3_3_1_5_retain_replaces_and_3_3_1_8_marks_it() {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let mut publisher = stage.client(V311, "pub");
    for qos in 0..3 {
        publisher.publish(&retained(&topic, &qos.to_string()).qos(qos));
        let mut subscriber = stage.client(V311, "sub");
        subscriber.subscribe(&topic, 2);
        let published = subscriber.take();
        assert_eq!(published.text(), qos.to_string());
        assert_eq!((published.qos, published.retain), (qos, true));
        subscriber.expect_nothing();
    }
}

#[test]
fn mqtt311_3_3_1_9_to_an_established_subscription_retain_is_0() {
    let stage = Stage::new();
    let mut client = stage.client(V311, "a");
    client.subscribe(&stage.topic("t"), 0);
    client.send_publish(&retained(&stage.topic("t"), "x"));
    assert!(!client.expect_message("x").retain);
}

#[test]
fn mqtt311_3_3_1_10_an_empty_retained_message_clears_and_3_3_1_11_is_not_kept() {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let mut client = stage.client(V311, "a");
    client.publish(&retained(&topic, "x").qos(1));
    client.publish(&retained(&topic, "").qos(1));
    client.subscribe(&topic, 0);
    client.expect_nothing();
}

#[test]
fn mqtt311_3_3_1_12_without_retain_nothing_retained_changes() {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let mut client = stage.client(V311, "a");
    client.publish(&retained(&topic, "old").qos(1));
    client.publish(&Publish::new(&topic, "").qos(1));
    client.subscribe(&topic, 0);
    client.expect_message("old");
}

#[test]
fn mqtt311_3_3_2_1_a_topic_name_must_be_utf_8() {
    closes(&Publish::new(b"\xff", "x").bytes(V311));
    closes(&Publish::new(b"\xed\xa0\x80", "x").bytes(V311));
}

#[test]
fn mqtt311_3_3_2_2_a_topic_name_has_no_wildcards() {
    for wrong in ["#", "+", "a/#", "a/+/b"] {
        closes(&Publish::new(wrong, "x").bytes(V311));
    }
}

#[test]
fn mqtt311_4_7_3_1_a_topic_name_is_not_empty() {
    closes(&Publish::new("", "x").bytes(V311));
}

#[test]
fn mqtt311_1_5_3_2_no_u_0000() {
    closes(&Publish::new("a\0b", "x").bytes(V311));
    closes(&Subscribe::new(1).filter("a\0b", 0).bytes(V311));
}

#[test]
fn mqtt311_1_5_3_3_a_byte_order_mark_is_a_character() {
    let stage = Stage::new();
    let mut client = stage.client(V311, "a");
    client.subscribe(&stage.topic("#"), 0);
    client.send_publish(&Publish::new(stage.topic("\u{feff}x"), "x"));
    assert_eq!(client.expect_message("x").topic, stage.topic("\u{feff}x"));
}

/// 3.1.1 cannot refuse a PUBLISH: the connection is closed, nothing is acknowledged.
#[test]
fn mqtt311_3_3_5_2_a_publish_not_permitted_closes() {
    for qos in 0..3 {
        let stage = Stage::new();
        let mut subscriber = stage.client(V311, "sub");
        subscriber.subscribe(&stage.topic("#"), 0);
        let mut client = stage.client(V311, "a");
        client.send_publish(&Publish::new(stage.topic("denied/t"), "x").qos(qos));
        client.raw.expect_closed();
        subscriber.expect_nothing();
    }
}

#[test]
fn mqtt311_3_3_5_1_each_matching_client_gets_a_copy() {
    let stage = Stage::new();
    let mut subscribers: Vec<Client> = (0..5)
        .map(|number| {
            let version = if number % 2 == 0 { V311 } else { V5 };
            let mut subscriber = stage.client(version, &number.to_string());
            subscriber.subscribe(&stage.topic("t"), number % 3);
            subscriber
        })
        .collect();
    stage
        .client(V311, "pub")
        .publish(&Publish::new(stage.topic("t"), "x").qos(2));
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        assert_eq!(usize::from(subscriber.take().qos), number % 3);
    }
}
