//! Subscription options and identifiers.
//!
//! A subscription made again is the new one, wholly.

use Property::SubscriptionId;
use countersign_tests::mqtt::request::{NO_LOCAL, RETAIN_AS_PUBLISHED};
use countersign_tests::prelude::*;

fn with_id(id: u32, filter: &str, options: u8) -> Subscribe {
    Subscribe::new(1)
        .with(&SubscriptionId(id))
        .filter(filter, options)
}

#[test]
fn mqtt_3_8_3_3_no_local_keeps_ones_own_messages_away() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("t"), 2 | NO_LOCAL);
    for qos in 0..3 {
        client.publish(&Publish::new(stage.topic("t"), "own").qos(qos));
    }
    client.expect_nothing();
    stage
        .client(V5, "b")
        .publish(&Publish::new(stage.topic("t"), "of another"));
    client.expect_message("of another");
}

#[test]
fn mqtt_3_8_3_3_no_local_is_about_the_client_id() {
    let stage = Stage::new();
    let open = |id: &str| stage.open("a", &Connect::new(V5, stage.id(id))).0;
    let (mut one, mut two) = (open("a"), open("a:2"));
    one.subscribe(&stage.topic("t"), NO_LOCAL);
    two.publish(&Publish::new(stage.topic("t"), "same device, other client"));
    one.expect_message("same device, other client");
}

#[test]
fn mqtt_3_8_3_3_no_local_holds_after_reconnecting() {
    let stage = Stage::new();
    let (mut client, _) = stage.lasting(V5, "a");
    client.subscribe(&stage.topic("t"), 1 | NO_LOCAL);
    client.leave();
    let (mut client, _) = stage.lasting(V5, "a");
    client.publish(&Publish::new(stage.topic("t"), "own").qos(1));
    client.expect_nothing();
}

#[test]
fn mqtt_3_8_3_3_without_no_local_ones_own_messages_come() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("t"), 0);
    client.send_publish(&Publish::new(stage.topic("t"), "own"));
    client.expect_message("own");
}

#[test]
fn mqtt_3_8_3_4_no_local_on_a_shared_subscription_is_a_protocol_error() {
    let shared = Subscribe::new(1).filter("$share/g/t", NO_LOCAL);
    crate::closes(&shared.bytes(V5), &[crate::PROTOCOL_ERROR]);
}

#[test]
fn mqtt_3_8_4_3_subscribing_again_replaces_the_subscription() {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let mut client = stage.client(V5, "a");
    client.subscribe_with(&with_id(1, &topic, 2 | RETAIN_AS_PUBLISHED));
    client.subscribe_with(&with_id(2, &topic, 0));
    let mut publisher = stage.client(V5, "pub");
    publisher.publish(&Publish::new(&topic, "x").qos(2).retain());
    let published = client.expect_message("x");
    assert_eq!((published.qos, published.retain), (0, false));
    assert_eq!(published.subscription_ids(), [2]);
    client.expect_nothing();
    client.subscribe(&topic, 1);
    let retained = client.take();
    assert_eq!((retained.qos, retained.subscription_ids()), (1, vec![]));
    client.unsubscribe(&[&topic]);
    publisher.publish(&Publish::new(&topic, "y"));
    client.expect_nothing();
}

#[test]
fn mqtt_3_8_4_4_replacing_a_subscription_loses_nothing() {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let mut client = stage.client(V5, "a");
    client.subscribe(&topic, 1);
    let mut publisher = stage.client(V5, "pub");
    // Publishing and replacing go on side by side.
    for number in 0..50_u16 {
        publisher.send_publish(
            &Publish::new(&topic, number.to_string())
                .qos(1)
                .id(number + 1),
        );
        client.send(&Subscribe::new(number + 1).filter(&topic, 1).bytes(V5));
    }
    (1..=50).for_each(|id| publisher.expect_success(Kind::Puback, id));
    let frames = client.drain();
    let published = frames.iter().filter(|frame| frame.kind() == Kind::Publish);
    let payloads: Vec<_> = published
        .map(|frame| Published::read(frame, V5).payload)
        .collect();
    let all: Vec<_> = (0..50)
        .map(|number| number.to_string().into_bytes())
        .collect();
    assert_eq!(payloads, all);
}

#[test]
fn mqtt_3_3_4_3_a_message_bears_the_identifier_of_its_subscription() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe_with(&with_id(7, &stage.topic("seven"), 0));
    client.subscribe(&stage.topic("none"), 0);
    client.send_publish(&Publish::new(stage.topic("seven"), "x"));
    assert_eq!(client.expect_message("x").subscription_ids(), [7]);
    client.send_publish(&Publish::new(stage.topic("none"), "x"));
    assert_eq!(client.expect_message("x").properties, []);
}

#[test]
fn mqtt_3_3_4_3_one_identifier_may_serve_many_filters() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    let both = with_id(5, &stage.topic("a"), 0).filter(stage.topic("b"), 0);
    client.subscribe_with(&both);
    client.subscribe_with(&with_id(5, &stage.topic("c"), 0));
    for name in ["a", "b", "c"] {
        client.send_publish(&Publish::new(stage.topic(name), name));
        assert_eq!(client.expect_message(name).subscription_ids(), [5]);
    }
}

/// The properties of the message come through beside the identifier.
#[test]
fn mqtt_3_3_4_3_an_identifier_stands_beside_the_publishers_properties() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe_with(&with_id(5, &stage.topic("t"), 0));
    let publish = Publish::new(stage.topic("t"), "x").with(&Property::user("a", "b"));
    client.send_publish(&publish);
    let published = client.expect_message("x");
    assert_eq!(published.subscription_ids(), [5]);
    assert!(published.properties.contains(&Property::user("a", "b")));
    assert_eq!(published.properties.len(), 2);
}
