//! Overlapping subscriptions: one copy for a client, with all that is due to it.
//!
//! The standard leaves one or several copies to the server; Countersign sends one.

use Property::SubscriptionId;
use countersign_tests::mqtt::request::{NO_LOCAL, RETAIN_AS_PUBLISHED};
use countersign_tests::prelude::*;

#[test]
fn mqtt_3_3_4_2_one_copy_at_the_highest_qos() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("#"), 0);
    client.subscribe(&stage.topic("+"), 2);
    client.subscribe(&stage.topic("t"), 1);
    let mut publisher = stage.client(V5, "pub");
    for qos in 0..3 {
        publisher.publish(&Publish::new(stage.topic("t"), "x").qos(qos));
        assert_eq!(client.take().qos, qos);
        client.expect_nothing();
    }
}

#[test]
fn mqtt_3_3_4_4_one_copy_bears_every_identifier() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    for (id, filter) in [(3, "#"), (1, "+"), (2, "t")] {
        let subscribe = Subscribe::new(1).with(&SubscriptionId(id));
        client.subscribe_with(&subscribe.filter(stage.topic(filter), 1));
    }
    client.subscribe(&stage.topic("+/#"), 0);
    let mut publisher = stage.client(V5, "pub");
    publisher.publish(&Publish::new(stage.topic("t"), "x").qos(1));
    assert_eq!(client.take().subscription_ids(), [1, 2, 3]);
    client.expect_nothing();
    client.unsubscribe(&[&stage.topic("+")]);
    publisher.publish(&Publish::new(stage.topic("t"), "x").qos(1));
    assert_eq!(client.take().subscription_ids(), [2, 3]);
}

#[test]
fn mqtt_3_3_4_4_a_session_that_is_away_keeps_the_identifiers() {
    let stage = Stage::new();
    let (mut client, _) = stage.lasting(V5, "a");
    for (id, filter) in [(3, "#"), (1, "t")] {
        let subscribe = Subscribe::new(1).with(&SubscriptionId(id));
        client.subscribe_with(&subscribe.filter(stage.topic(filter), 1));
    }
    client.leave();
    stage
        .client(V5, "pub")
        .publish(&Publish::new(stage.topic("t"), "x").qos(1));
    for _ in 0..2 {
        let (mut client, _) = stage.lasting(V5, "a");
        assert_eq!(client.expect_message("x").subscription_ids(), [1, 3]);
        client.vanish();
    }
}

#[test]
fn mqtt_3_8_3_3_no_local_binds_only_its_own_subscription() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("#"), 2 | NO_LOCAL);
    client.subscribe(&stage.topic("t"), 0);
    client.send_publish(&Publish::new(stage.topic("t"), "own").qos(2).id(1));
    let frames = client.drain();
    let own = frames
        .iter()
        .find(|frame| frame.kind() == Kind::Publish)
        .expect("a copy");
    assert_eq!(
        Published::read(own, V5).qos,
        0,
        "the other subscription does not count"
    );
    assert_eq!(frames.len(), 2, "PUBREC and one copy: {frames:?}");
}

#[test]
fn mqtt_3_3_1_13_retain_as_published_in_one_of_them_is_enough() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("#"), 0);
    client.subscribe(&stage.topic("t"), RETAIN_AS_PUBLISHED);
    stage
        .client(V5, "pub")
        .publish(&Publish::new(stage.topic("t"), "x").retain());
    assert!(client.expect_message("x").retain);
    client.expect_nothing();
}

#[test]
fn mqtt311_3_3_5_1_one_copy_at_the_highest_qos() {
    let stage = Stage::new();
    let mut client = stage.client(V311, "a");
    client.subscribe(&stage.topic("#"), 0);
    client.subscribe(&stage.topic("t"), 1);
    stage
        .client(V311, "pub")
        .publish(&Publish::new(stage.topic("t"), "x").qos(2));
    assert_eq!(client.take().qos, 1);
    client.expect_nothing();
}
