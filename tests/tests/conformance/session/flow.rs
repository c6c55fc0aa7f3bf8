//! Receive maximum: how many messages may be on their way at once.
//!
//! Neither side exceeds the other's, and nothing but PUBLISH waits for it.

use countersign_tests::prelude::*;

/// A subscriber who takes `max` at a time, and a publisher.
fn scene(max: u16, qos: u8) -> (Stage, Client, Client, String) {
    let stage = Stage::new();
    let topic = stage.topic("t");
    let connect = stage
        .connect(V5, "sub")
        .with(&Property::ReceiveMaximum(max));
    let (mut subscriber, _) = stage.open("sub", &connect);
    subscriber.subscribe(&topic, qos);
    let publisher = stage.client(V5, "pub");
    (stage, subscriber, publisher, topic)
}

fn publish_five(publisher: &mut Client, topic: &str, qos: u8) {
    for payload in ["1", "2", "3", "4", "5"] {
        publisher.publish(&Publish::new(topic, payload).qos(qos));
    }
}

/// [MQTT-4.9.0-2]
#[test]
fn mqtt_3_3_4_9_no_more_than_receive_maximum_at_qos_1() {
    let (_stage, mut subscriber, mut publisher, topic) = scene(2, 1);
    publish_five(&mut publisher, &topic, 1);
    let mut waiting = vec![
        subscriber.expect_message("1"),
        subscriber.expect_message("2"),
    ];
    for payload in ["3", "4", "5"] {
        subscriber.expect_nothing();
        subscriber.send(&request::ack(Kind::Puback, waiting.remove(0).id.unwrap()));
        waiting.push(subscriber.expect_message(payload));
    }
}

/// [MQTT-4.9.0-2]
#[test]
fn mqtt_3_3_4_9_at_qos_2_pubcomp_makes_room_and_pubrec_does_not() {
    let (_stage, mut subscriber, mut publisher, topic) = scene(1, 2);
    publish_five(&mut publisher, &topic, 2);
    for payload in ["1", "2", "3"] {
        let id = subscriber.expect_message(payload).id.unwrap();
        subscriber.expect_nothing();
        subscriber.send(&request::ack(Kind::Pubrec, id));
        subscriber.expect_success(Kind::Pubrel, id);
        subscriber.expect_nothing();
        subscriber.send(&request::ack(Kind::Pubcomp, id));
    }
    subscriber.expect_message("4");
}

#[test]
fn mqtt_3_3_4_9_a_pubrec_of_an_error_makes_room() {
    let (_stage, mut subscriber, mut publisher, topic) = scene(1, 2);
    publish_five(&mut publisher, &topic, 2);
    let id = subscriber.expect_message("1").id.unwrap();
    subscriber.send(&request::ack_with(Kind::Pubrec, id, 0x80));
    subscriber.expect_message("2");
}

#[test]
fn mqtt_4_9_0_1_a_receive_maximum_of_1_is_enough() {
    let (_stage, mut subscriber, mut publisher, topic) = scene(1, 1);
    publish_five(&mut publisher, &topic, 1);
    for payload in ["1", "2", "3", "4", "5"] {
        assert_eq!(subscriber.take().text(), payload);
    }
}

/// [MQTT-4.9.0-3]
#[test]
fn mqtt_3_3_4_10_only_publish_waits_for_the_quota() {
    let (stage, mut subscriber, mut publisher, topic) = scene(1, 1);
    publish_five(&mut publisher, &topic, 1);
    subscriber.expect_message("1");
    subscriber.expect_alive();
    subscriber.subscribe(&stage.topic("u"), 1);
    subscriber.unsubscribe(&[&stage.topic("u")]);
    subscriber.publish(&Publish::new(stage.topic("v"), "x").qos(1));
    subscriber.publish(&Publish::new(stage.topic("v"), "x").qos(2));
}

/// "Not preserved across network connections": §4.9.
#[test]
fn mqtt_4_9_0_1_the_quota_is_that_of_the_connection() {
    let stage = Stage::new();
    let (mut subscriber, _) = stage.lasting(V5, "sub");
    subscriber.subscribe(&stage.topic("t"), 1);
    let mut publisher = stage.client(V5, "pub");
    publish_five(&mut publisher, &stage.topic("t"), 1);
    for payload in ["1", "2", "3"] {
        subscriber.expect_message(payload);
    }
    subscriber.vanish();
    let connect = stage
        .connect(V5, "sub")
        .resume()
        .with(&Property::ReceiveMaximum(1));
    let (mut subscriber, _) = stage.open("sub", &connect);
    for payload in ["1", "2", "3", "4", "5"] {
        let published = subscriber.expect_message(payload);
        subscriber.expect_nothing();
        subscriber.send(&request::ack(Kind::Puback, published.id.unwrap()));
    }
}

#[test]
fn mqtt_3_3_4_7_a_client_beyond_the_receive_maximum_is_closed() {
    let stage = Stage::new();
    let (mut client, connack) = stage.open("a", &stage.connect(V5, "a"));
    let told = |property: &Property| match property {
        Property::ReceiveMaximum(max) => Some(*max),
        _ => None,
    };
    let max = connack
        .properties
        .iter()
        .find_map(told)
        .expect("a receive maximum");
    let publish = |id: u16| Publish::new(stage.topic("t"), "x").qos(2).id(id).bytes(V5);
    for id in 1..=max {
        client.send(&publish(id));
        if id % 100 == 0 {
            (id - 99..=id).for_each(|id| client.expect_success(Kind::Pubrec, id));
        }
    }
    (max / 100 * 100 + 1..=max).for_each(|id| client.expect_success(Kind::Pubrec, id));
    client.expect_alive();
    client.send(&publish(max + 1));
    client.expect_disconnect(0x93);
}

#[test]
fn mqtt_3_3_4_7_messages_at_qos_0_do_not_count() {
    let (_stage, mut subscriber, mut publisher, topic) = scene(1, 0);
    publish_five(&mut publisher, &topic, 0);
    for payload in ["1", "2", "3", "4", "5"] {
        subscriber.expect_message(payload);
    }
}
