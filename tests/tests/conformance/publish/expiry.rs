//! Message expiry.
//!
//! The clock runs while the message waits in the server, and stops when it is sent.

use Property::MessageExpiry;
use countersign_tests::prelude::*;
use std::thread::sleep;
use std::time::Duration;

fn expiring(topic: &str, payload: &str, seconds: u32) -> Publish {
    Publish::new(topic, payload)
        .qos(1)
        .with(&MessageExpiry(seconds))
}

/// A session that is away, a publisher, a topic.
fn scene() -> (Stage, Client, String) {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let (mut subscriber, _) = stage.lasting(V5, "sub");
    subscriber.subscribe(&topic, 1);
    subscriber.leave();
    let publisher = stage.client(V5, "pub");
    (stage, publisher, topic)
}

#[test]
fn mqtt_3_3_2_5_an_expired_message_is_not_delivered() {
    let (stage, mut publisher, topic) = scene();
    publisher.publish(&expiring(&topic, "expired", 1));
    publisher.publish(&expiring(&topic, "lasting", 600));
    publisher.publish(&Publish::new(&topic, "for ever").qos(1));
    sleep(Duration::from_millis(2100));
    let (mut subscriber, _) = stage.lasting(V5, "sub");
    subscriber.expect_message("lasting");
    subscriber.expect_message("for ever");
    subscriber.expect_nothing();
}

#[test]
fn mqtt_3_3_2_6_the_expiry_passed_on_is_what_is_left() {
    let (stage, mut publisher, topic) = scene();
    publisher.publish(&expiring(&topic, "x", 100));
    sleep(Duration::from_millis(2100));
    let (mut subscriber, _) = stage.lasting(V5, "sub");
    let published = subscriber.expect_message("x");
    let [MessageExpiry(left)] = published.properties[..] else {
        panic!("{published:?}")
    };
    assert!((95..=98).contains(&left), "{left} of 100 s are left");
}

#[test]
fn mqtt_3_3_2_6_a_message_that_did_not_wait_keeps_its_expiry() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("t"), 0);
    client.send_publish(&Publish::new(stage.topic("t"), "x").with(&MessageExpiry(100)));
    let published = client.expect_message("x");
    let [MessageExpiry(left)] = published.properties[..] else {
        panic!("{published:?}")
    };
    assert!((99..=100).contains(&left), "{left} of 100 s are left");
}

#[test]
fn mqtt_3_3_2_5_an_expired_message_waiting_for_the_quota_is_not_delivered() {
    let stage = Stage::new();
    let connect = stage.connect(V5, "sub").with(&Property::ReceiveMaximum(1));
    let (mut subscriber, _) = stage.open("sub", &connect);
    subscriber.subscribe(&stage.topic("t"), 1);
    let mut publisher = stage.client(V5, "pub");
    publisher.publish(&expiring(&stage.topic("t"), "sent", 1));
    publisher.publish(&expiring(&stage.topic("t"), "waits", 1));
    let id = subscriber.expect_message("sent").id.unwrap();
    sleep(Duration::from_millis(2100));
    subscriber.send(&request::ack(Kind::Puback, id));
    subscriber.expect_nothing();
}

#[test]
fn mqtt_3_3_2_5_a_retained_message_expires_too() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.publish(&expiring(&stage.topic("short"), "short", 1).retain());
    client.publish(&expiring(&stage.topic("long"), "long", 100).retain());
    sleep(Duration::from_millis(2100));
    client.subscribe(&stage.topic("#"), 0);
    let published = client.expect_message("long");
    let [MessageExpiry(left)] = published.properties[..] else {
        panic!("{published:?}")
    };
    assert!((95..=98).contains(&left), "{left} of 100 s are left");
    client.expect_nothing();
}
