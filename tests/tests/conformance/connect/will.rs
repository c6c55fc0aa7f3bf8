//! Wills: kept with the session, published once, or never.
//!
//! A DISCONNECT of success, and only that, removes a will for good.

use Property::{
    ContentType, CorrelationData, MessageExpiry, PayloadFormat, ResponseTopic, WillDelay,
};
use countersign_tests::mqtt::request::RETAIN_AS_PUBLISHED;
use countersign_tests::prelude::*;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A stage with somebody who waits for the will.
fn scene() -> (Stage, Client, String) {
    let stage = Stage::new();
    let topic = stage.topic("will");
    let mut observer = stage.client(V5, "observer");
    observer.subscribe(&topic, 2 | RETAIN_AS_PUBLISHED);
    (stage, observer, topic)
}

#[test]
fn mqtt_3_1_2_7_the_will_is_kept_and_published_when_the_network_fails() {
    let (stage, mut observer, topic) = scene();
    let connect = stage.connect(V5, "a").will(&Will::new(topic, "x"));
    let (client, _) = stage.open("a", &connect);
    observer.expect_nothing();
    client.vanish();
    observer.expect_message("x");
}

/// [MQTT-3.1.2-10] [MQTT-3.1.2-8]
#[test]
fn mqtt_3_14_4_3_a_normal_disconnect_removes_the_will() {
    let (stage, mut observer, topic) = scene();
    let connect = stage.connect(V5, "a").will(&Will::new(topic, "x"));
    stage.open("a", &connect).0.leave();
    let (mut client, _) = stage.open("a", &connect);
    client.send(&request::disconnect_with(0, &[]));
    client.raw.expect_closed();
    observer.expect_nothing();
}

#[test]
fn mqtt_3_1_2_8_disconnect_with_will_publishes_it() {
    let (stage, mut observer, topic) = scene();
    let connect = stage.connect(V5, "a").will(&Will::new(topic, "x"));
    let (mut client, _) = stage.open("a", &connect);
    client.send(&request::disconnect_with(0x04, &[]));
    client.raw.expect_closed();
    observer.expect_message("x");
}

#[test]
fn mqtt_3_1_2_8_a_disconnect_that_tells_an_error_publishes_it() {
    let (stage, mut observer, topic) = scene();
    let connect = stage.connect(V5, "a").will(&Will::new(topic, "x"));
    let (mut client, _) = stage.open("a", &connect);
    client.send(&request::disconnect_with(0x80, &[]));
    client.raw.expect_closed();
    observer.expect_message("x");
}

#[test]
fn mqtt_3_1_2_8_a_protocol_error_publishes_it() {
    let (stage, mut observer, topic) = scene();
    let connect = stage.connect(V5, "a").will(&Will::new(topic, "x"));
    let (mut client, _) = stage.open("a", &connect);
    client.send(b"\x00\x00");
    client.expect_closed_with(&crate::EITHER);
    observer.expect_message("x");
}

#[test]
fn mqtt_3_1_2_10_a_will_is_published_once() {
    let (stage, mut observer, topic) = scene();
    let connect = stage.connect(V5, "a").resume().expiry(60);
    let (client, _) = stage.open("a", &connect.clone().will(&Will::new(topic, "x")));
    client.vanish();
    observer.expect_message("x");
    let (client, _) = stage.open("a", &connect);
    client.vanish();
    let (mut client, _) = stage.open("a", &connect);
    client.expect_alive();
    observer.expect_nothing();
}

#[test]
fn mqtt_3_1_2_9_the_qos_of_the_will_counts() {
    let (stage, mut observer, topic) = scene();
    for qos in 0..3 {
        let will = Will::new(&topic, "x").qos(qos);
        let (client, _) = stage.open("a", &stage.connect(V5, "a").will(&will));
        client.vanish();
        assert_eq!(observer.take().qos, qos);
    }
}

#[test]
fn mqtt_3_1_2_14_a_will_without_retain_is_not_retained() {
    let (stage, mut observer, topic) = scene();
    let connect = stage.connect(V5, "a").will(&Will::new(&topic, "x"));
    stage.open("a", &connect).0.vanish();
    assert!(!observer.expect_message("x").retain);
    let mut late = stage.client(V5, "late");
    late.subscribe(&topic, 0);
    late.expect_nothing();
}

#[test]
fn mqtt_3_1_2_15_a_will_with_retain_is_retained() {
    let (stage, mut observer, topic) = scene();
    let connect = stage
        .connect(V5, "a")
        .will(&Will::new(&topic, "x").retain());
    stage.open("a", &connect).0.vanish();
    assert!(observer.expect_message("x").retain);
    let mut late = stage.client(V5, "late");
    late.subscribe(&topic, 0);
    assert!(late.expect_message("x").retain);
}

/// [MQTT-3.3.2-17]
#[test]
fn mqtt_3_1_3_10_the_properties_of_a_will_are_published_with_it() {
    let (stage, mut observer, topic) = scene();
    let properties = [
        PayloadFormat(1),
        ContentType("text/plain".into()),
        ResponseTopic("answers".into()),
        CorrelationData(vec![0, 1, 2]),
        Property::user("b", "1"),
        Property::user("a", "2"),
        Property::user("b", "3"),
    ];
    let will = properties.iter().fold(Will::new(topic, "x"), Will::with);
    stage
        .open("a", &stage.connect(V5, "a").will(&will))
        .0
        .vanish();
    let published = observer.expect_message("x");
    let users = |property: &&Property| matches!(property, Property::User(..));
    let order: Vec<_> = published.properties.iter().filter(users).collect();
    assert_eq!(order, properties[4..].iter().collect::<Vec<_>>());
    for property in &properties {
        assert!(
            published.properties.contains(property),
            "{property:?} in {published:?}"
        );
    }
    assert_eq!(published.properties.len(), properties.len());
}

#[test]
fn mqtt_3_1_2_8_a_delayed_will_waits_for_its_delay() {
    let (stage, mut observer, topic) = scene();
    let will = Will::new(topic, "x").with(&WillDelay(1));
    let start = Instant::now();
    stage
        .open("a", &stage.connect(V5, "a").expiry(60).will(&will))
        .0
        .vanish();
    observer.expect_nothing();
    observer.expect_message("x");
    assert!(
        start.elapsed() >= Duration::from_secs(1),
        "after {:?}",
        start.elapsed()
    );
}

#[test]
fn mqtt_3_1_2_8_a_delayed_will_does_not_outlast_its_session() {
    let (stage, mut observer, topic) = scene();
    let will = Will::new(&topic, "at once").with(&WillDelay(600));
    stage
        .open("a", &stage.connect(V5, "a").will(&will))
        .0
        .vanish();
    observer.expect_message("at once");
    let will = Will::new(&topic, "after a second").with(&WillDelay(600));
    stage
        .open("a", &stage.connect(V5, "a").expiry(1).will(&will))
        .0
        .vanish();
    observer.expect_message("after a second");
}

#[test]
fn mqtt_3_1_3_9_a_client_back_in_time_has_no_will_published() {
    let (stage, mut observer, topic) = scene();
    let will = Will::new(topic, "x").with(&WillDelay(1));
    let connect = stage.connect(V5, "a").resume().expiry(60);
    stage.open("a", &connect.clone().will(&will)).0.vanish();
    let (_back, connack) = stage.open("a", &connect);
    assert!(connack.session_present);
    sleep(Duration::from_millis(1500));
    observer.expect_nothing();
}

#[test]
fn mqtt_3_1_2_10_an_expiry_of_0_at_disconnect_ends_session_and_will_delay() {
    let (stage, mut observer, topic) = scene();
    let will = Will::new(topic, "x").with(&WillDelay(600));
    let (mut client, _) = stage.open("a", &stage.connect(V5, "a").expiry(600).will(&will));
    client.send(&request::disconnect_with(
        0x04,
        &[Property::SessionExpiry(0)],
    ));
    client.raw.expect_closed();
    observer.expect_message("x");
}

#[test]
fn mqtt_3_3_2_6_the_expiry_of_a_will_begins_when_it_is_published() {
    let (stage, mut observer, topic) = scene();
    let will = Will::new(topic, "x")
        .with(&MessageExpiry(30))
        .with(&WillDelay(1));
    stage
        .open("a", &stage.connect(V5, "a").expiry(60).will(&will))
        .0
        .vanish();
    assert_eq!(observer.expect_message("x").properties, [MessageExpiry(30)]);
}

#[test]
fn mqtt_3_1_2_8_a_will_reaches_a_session_that_is_away() {
    let (stage, _, topic) = scene();
    let (mut away, _) = stage.lasting(V5, "away");
    away.subscribe(&topic, 1);
    away.vanish();
    let connect = stage.connect(V5, "a").will(&Will::new(&topic, "x").qos(1));
    let (client, _) = stage.open("a", &connect);
    client.vanish();
    let (mut back, present) = stage.lasting(V5, "away");
    assert!(present);
    back.expect_message("x");
}
