//! Retained messages.
//!
//! A topic has one at most: the last that was published to it with RETAIN.

use Property::ContentType;
use countersign_tests::mqtt::request::{RETAIN_AS_PUBLISHED, RETAINED_IF_NEW, RETAINED_NEVER};
use countersign_tests::prelude::*;
use std::collections::BTreeSet;

fn retained(topic: &str, payload: &str) -> Publish {
    Publish::new(topic, payload).retain()
}

/// A stage, a client, and a topic that retains "old".
fn scene() -> (Stage, Client, String) {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let mut client = stage.client(V5, "a");
    client.publish(&retained(&topic, "old").qos(1));
    (stage, client, topic)
}

#[test]
fn mqtt_3_3_1_5_the_last_retained_message_replaces_the_one_before() {
    let (stage, mut client, topic) = scene();
    for qos in 0..3 {
        client.publish(
            &retained(&topic, "new")
                .qos(qos)
                .with(&ContentType("t".into())),
        );
        let mut subscriber = stage.client(V5, "sub");
        subscriber.subscribe(&topic, 2);
        let published = subscriber.take();
        assert_eq!((published.text(), published.retain), ("new", true));
        assert_eq!((published.qos, published.dup), (qos, false));
        assert_eq!(published.properties, [ContentType("t".into())]);
        subscriber.expect_nothing();
    }
}

/// [MQTT-3.3.1-7]
#[test]
fn mqtt_3_3_1_6_an_empty_retained_message_clears() {
    let (stage, mut client, topic) = scene();
    let mut live = stage.client(V5, "live");
    live.subscribe(&topic, RETAINED_NEVER);
    client.publish(&retained(&topic, ""));
    assert!(
        !live.expect_message("").retain,
        "it is still a message like any other"
    );
    client.subscribe(&topic, 0);
    client.expect_nothing();
}

#[test]
fn mqtt_3_3_1_7_an_empty_message_is_not_retained_where_nothing_was() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.publish(&retained(&stage.topic("t"), ""));
    client.subscribe(&stage.topic("t"), 0);
    client.expect_nothing();
}

#[test]
fn mqtt_3_3_1_8_a_message_without_retain_changes_nothing() {
    let (_stage, mut client, topic) = scene();
    client.publish(&Publish::new(&topic, "live"));
    client.publish(&Publish::new(&topic, ""));
    client.subscribe(&topic, 0);
    client.expect_message("old");
    client.expect_nothing();
}

#[test]
fn mqtt_3_3_1_9_handling_0_sends_at_every_subscribe() {
    let (_stage, mut client, topic) = scene();
    for _ in 0..3 {
        client.subscribe(&topic, 0);
        assert!(client.expect_message("old").retain);
        client.expect_nothing();
    }
}

#[test]
fn mqtt_3_3_1_9_every_matching_topic_is_sent() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    let names = ["a", "a/b", "a/b/c", "d", "d/b", "\u{e9}"];
    for name in names {
        client.publish(&retained(&stage.topic(name), name));
    }
    for (filter, matching) in [
        ("#", &names[..]),
        ("a/#", &["a", "a/b", "a/b/c"][..]),
        ("+", &["a", "d", "\u{e9}"]),
        ("+/b", &["a/b", "d/b"]),
        ("+/b/#", &["a/b", "a/b/c", "d/b"]),
        ("d", &["d"]),
    ] {
        client.subscribe(&stage.topic(filter), 0);
        let sent: BTreeSet<String> = matching
            .iter()
            .map(|_| client.expect_publish().text().to_owned())
            .collect();
        assert_eq!(
            sent,
            matching.iter().map(ToString::to_string).collect(),
            "for {filter}"
        );
        client.expect_nothing();
    }
}

#[test]
fn mqtt_3_3_1_10_handling_1_sends_to_a_new_subscription_only() {
    let (_stage, mut client, topic) = scene();
    client.subscribe(&topic, RETAINED_IF_NEW);
    client.expect_message("old");
    client.subscribe(&topic, RETAINED_IF_NEW);
    client.expect_nothing();
    client.unsubscribe(&[&topic]);
    client.subscribe(&topic, RETAINED_IF_NEW);
    client.expect_message("old");
}

#[test]
fn mqtt_3_3_1_11_handling_2_sends_nothing() {
    let (_stage, mut client, topic) = scene();
    client.subscribe(&topic, RETAINED_NEVER);
    client.expect_nothing();
    client.send_publish(&Publish::new(&topic, "live"));
    assert!(!client.expect_message("live").retain);
}

#[test]
fn mqtt_3_3_1_12_without_retain_as_published_the_flag_is_cleared() {
    let (stage, mut client, topic) = scene();
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&topic, RETAINED_NEVER);
    client.publish(&retained(&topic, "new"));
    assert!(!subscriber.expect_message("new").retain);
}

#[test]
fn mqtt_3_3_1_13_with_retain_as_published_the_flag_stays() {
    let (stage, mut client, topic) = scene();
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&topic, RETAINED_NEVER | RETAIN_AS_PUBLISHED);
    client.publish(&retained(&topic, "retained"));
    assert!(subscriber.expect_message("retained").retain);
    client.publish(&Publish::new(&topic, "live"));
    assert!(!subscriber.expect_message("live").retain);
}

#[test]
fn mqtt_3_3_1_13_a_session_that_is_away_keeps_the_flag() {
    let (stage, mut client, topic) = scene();
    let (mut subscriber, _) = stage.lasting(V5, "sub");
    subscriber.subscribe(&topic, 1 | RETAINED_NEVER | RETAIN_AS_PUBLISHED);
    subscriber.leave();
    client.publish(&retained(&topic, "retained").qos(1));
    client.publish(&Publish::new(&topic, "live").qos(1));
    let (mut subscriber, _) = stage.lasting(V5, "sub");
    assert!(subscriber.expect_message("retained").retain);
    assert!(!subscriber.expect_message("live").retain);
}

#[test]
fn mqtt_3_8_4_8_a_retained_message_comes_at_the_lower_qos() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    for published in 0..3 {
        client.publish(&retained(&stage.topic("t"), "x").qos(published));
        let mut subscriber = stage.client(V5, "sub");
        for granted in 0..3 {
            subscriber.subscribe(&stage.topic("t"), granted);
            assert_eq!(subscriber.take().qos, published.min(granted));
        }
    }
}

#[test]
fn mqtt_3_3_1_9_an_overlapping_subscription_gets_the_retained_message_of_its_own() {
    let (stage, mut client, topic) = scene();
    client.subscribe(&topic, 0);
    client.expect_message("old");
    client.subscribe(&stage.topic("#"), 0);
    client.expect_message("old");
    client.expect_nothing();
}

#[test]
fn mqtt_3_3_4_3_a_retained_message_bears_the_identifier_of_the_subscription() {
    let (stage, mut client, topic) = scene();
    let subscribe = Subscribe::new(1).with(&Property::SubscriptionId(268_435_455));
    client.subscribe_with(&subscribe.filter(&topic, 0));
    assert_eq!(
        client.expect_message("old").subscription_ids(),
        [268_435_455]
    );
    client.subscribe(&stage.topic("#"), 0);
    assert_eq!(client.expect_message("old").subscription_ids(), [0; 0]);
}

/// §4.8.2: retained messages are not sent to a shared subscription when it is made.
#[test]
fn mqtt_4_8_2_a_shared_subscription_gets_no_retained_message() {
    let (stage, mut client, topic) = scene();
    client.subscribe(&format!("$share/{}/{topic}", stage.id("group")), 1);
    client.expect_nothing();
}

#[test]
fn mqtt_3_3_1_5_a_publisher_that_has_left_leaves_its_retained_messages() {
    let (stage, client, topic) = scene();
    client.leave();
    let mut late = stage.client(V311, "late");
    late.subscribe(&topic, 0);
    assert!(late.expect_message("old").retain);
}
