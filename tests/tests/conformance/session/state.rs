//! How long a session lives, and what it remembers.
//!
//! A session ends when its connection is closed and its expiry has passed, and not before.

use crate::PROTOCOL_ERROR;
use countersign_tests::prelude::*;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Asks until the session of `connect` is gone.
fn wait_until_gone(stage: &Stage, connect: &Connect) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while stage.open("a", connect).1.session_present {
        assert!(Instant::now() < deadline, "the session is still there");
        sleep(Duration::from_millis(1200));
    }
}

#[test]
fn mqtt_3_1_2_4_clean_start_discards_the_session() {
    let stage = Stage::new();
    let (mut client, _) = stage.lasting(V5, "a");
    client.subscribe(&stage.topic("t"), 1);
    client.leave();
    stage
        .client(V5, "pub")
        .publish(&Publish::new(stage.topic("t"), "queued").qos(1));
    let mut clean = stage.client(V5, "a");
    clean.expect_nothing();
    stage
        .client(V5, "pub")
        .publish(&Publish::new(stage.topic("t"), "live").qos(1));
    clean.expect_nothing();
}

#[test]
fn mqtt_3_1_2_5_a_resumed_session_keeps_its_subscriptions() {
    let stage = Stage::new();
    let (mut client, _) = stage.lasting(V5, "a");
    client.subscribe(&stage.topic("t"), 1);
    client.leave();
    let (mut client, present) = stage.lasting(V5, "a");
    assert!(present);
    stage
        .client(V5, "pub")
        .publish(&Publish::new(stage.topic("t"), "live").qos(1));
    client.expect_message("live");
}

#[test]
fn mqtt_3_1_2_5_a_resumed_session_keeps_its_subscription_options() {
    let stage = Stage::new();
    let (mut client, _) = stage.lasting(V5, "a");
    let options = 1 | request::NO_LOCAL | request::RETAIN_AS_PUBLISHED;
    let subscribe = Subscribe::new(1).filter(stage.topic("t"), options);
    client.subscribe_with(&subscribe.with(&Property::SubscriptionId(9)));
    client.leave();
    let (mut client, _) = stage.lasting(V5, "a");
    let publish = Publish::new(stage.topic("t"), "x").qos(2).retain();
    client.publish(&publish);
    client.expect_nothing();
    stage.client(V5, "pub").publish(&publish);
    let published = client.expect_message("x");
    assert_eq!((published.qos, published.retain), (1, true));
    assert_eq!(published.subscription_ids(), [9]);
}

#[test]
fn mqtt_3_1_2_6_without_a_session_there_is_a_new_one() {
    let stage = Stage::new();
    let (mut client, present) = stage.lasting(V5, "a");
    assert!(!present);
    client.subscribe(&stage.topic("t"), 0);
    client.send_publish(&Publish::new(stage.topic("t"), "x"));
    client.expect_message("x");
}

/// [MQTT-4.5.0-1]
#[test]
fn mqtt_3_1_2_23_a_session_collects_messages_while_away() {
    let stage = Stage::new();
    let (mut client, _) = stage.lasting(V5, "a");
    client.subscribe(&stage.topic("#"), 2);
    client.leave();
    let mut publisher = stage.client(V5, "pub");
    for (qos, payload) in [(1, "one"), (2, "two"), (1, "three")] {
        publisher.publish(&Publish::new(stage.topic("t"), payload).qos(qos));
    }
    let (mut client, _) = stage.lasting(V5, "a");
    for (qos, payload) in [(1, "one"), (2, "two"), (1, "three")] {
        let published = client.expect_message(payload);
        assert_eq!((published.qos, published.dup), (qos, false));
    }
    client.expect_nothing();
}

#[test]
fn mqtt_3_1_2_23_without_expiry_the_session_ends_with_its_connection() {
    let stage = Stage::new();
    for connect in [
        stage.connect(V5, "a").resume(),
        stage.connect(V5, "a").resume().expiry(0),
    ] {
        stage.open("a", &connect).0.leave();
        let (_, connack) = stage.open("a", &connect);
        assert!(!connack.session_present);
    }
}

#[test]
fn mqtt_4_1_0_1_a_session_outlives_its_expiry_while_connected() {
    let stage = Stage::new();
    let connect = stage.connect(V5, "a").resume().expiry(1);
    let (mut client, _) = stage.open("a", &connect);
    client.subscribe(&stage.topic("t"), 1);
    sleep(Duration::from_millis(1500));
    client.expect_alive();
    client.leave();
    let (_, connack) = stage.open("a", &connect);
    assert!(connack.session_present);
}

#[test]
fn mqtt_4_1_0_2_a_session_ends_when_its_expiry_has_passed() {
    let stage = Stage::new();
    let connect = stage.connect(V5, "a").resume().expiry(1);
    stage.open("a", &connect).0.leave();
    sleep(Duration::from_millis(1200));
    wait_until_gone(&stage, &connect);
}

#[test]
fn mqtt_3_14_2_disconnect_may_shorten_the_expiry() {
    let stage = Stage::new();
    let connect = stage.connect(V5, "a").resume().expiry(600);
    let (mut client, _) = stage.open("a", &connect);
    client.send(&request::disconnect_with(0, &[Property::SessionExpiry(0)]));
    client.raw.expect_closed();
    let (_, connack) = stage.open("a", &connect);
    assert!(!connack.session_present);
}

#[test]
fn mqtt_3_14_2_disconnect_may_lengthen_the_expiry() {
    let stage = Stage::new();
    let connect = stage.connect(V5, "a").resume().expiry(1);
    let (mut client, _) = stage.open("a", &connect);
    client.send(&request::disconnect_with(0, &[Property::SessionExpiry(60)]));
    client.raw.expect_closed();
    sleep(Duration::from_millis(2200));
    let (_, connack) = stage.open("a", &connect);
    assert!(connack.session_present);
}

#[test]
fn mqtt_3_14_2_an_expiry_of_0_cannot_be_lengthened() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.send(&request::disconnect_with(0, &[Property::SessionExpiry(60)]));
    client.expect_closed_with(&[PROTOCOL_ERROR]);
    let (_, connack) = stage.open("a", &stage.connect(V5, "a").resume());
    assert!(!connack.session_present);
}

#[test]
fn mqtt_3_1_3_2_sessions_of_two_client_ids_are_apart() {
    let stage = Stage::new();
    let open = |id: &str| stage.open("a", &Connect::new(V5, stage.id(id))).0;
    let (mut one, mut two) = (open("a"), open("a:2"));
    one.subscribe(&stage.topic("one"), 0);
    two.subscribe(&stage.topic("two"), 0);
    one.publish(&Publish::new(stage.topic("two"), "for two").qos(1));
    two.expect_message("for two");
    two.unsubscribe(&[&stage.topic("one")]);
    two.publish(&Publish::new(stage.topic("one"), "for one").qos(1));
    one.expect_message("for one");
    two.expect_nothing();
}

/// What a session needs is not the connection's: receive maximum, aliases and keep-alive are not
/// remembered.
#[test]
fn mqtt_4_1_0_settings_of_a_connection_are_not_of_its_session() {
    let stage = Stage::new();
    let narrow = stage
        .connect(V5, "a")
        .resume()
        .expiry(60)
        .with(&Property::ReceiveMaximum(1));
    let (mut client, _) = stage.open("a", &narrow.with(&Property::TopicAliasMaximum(5)));
    client.subscribe(&stage.topic("t"), 1);
    client.leave();
    let (mut client, _) = stage.lasting(V5, "a");
    let mut publisher = stage.client(V5, "pub");
    for payload in ["1", "2", "3"] {
        publisher.publish(&Publish::new(stage.topic("t"), payload).qos(1));
        assert_eq!(client.expect_message(payload).topic, stage.topic("t"));
    }
}
