//! Topic aliases, in both directions.
//!
//! An alias belongs to one direction of one connection; the message behind it is whole.

use Property::{TopicAlias, TopicAliasMaximum};
use countersign_tests::prelude::*;
use std::collections::HashMap;

const ALIAS_INVALID: u8 = 0x94;

fn aliased(topic: &str, payload: &str, alias: u16) -> Publish {
    Publish::new(topic, payload).with(&TopicAlias(alias))
}

/// Somebody who sees all of the stage, and a publisher with the maximum it was told.
fn scene() -> (Stage, Client, Client, u16) {
    let stage = Stage::new();
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&stage.topic("#"), 0);
    let (publisher, connack) = stage.open("pub", &stage.connect(V5, "pub"));
    let told = |property: &Property| match property {
        TopicAliasMaximum(max) => Some(*max),
        _ => None,
    };
    let max = connack
        .properties
        .iter()
        .find_map(told)
        .expect("a topic alias maximum");
    (stage, subscriber, publisher, max)
}

#[test]
fn mqtt_3_3_2_12_every_alias_up_to_the_maximum_is_accepted() {
    let (stage, mut subscriber, mut publisher, max) = scene();
    for alias in 1..=max {
        let topic = stage.topic(&alias.to_string());
        publisher.send_publish(&aliased(&topic, "named", alias));
        assert_eq!(subscriber.expect_message("named").topic, topic);
    }
    for alias in (1..=max).rev() {
        publisher.send_publish(&aliased("", "aliased", alias));
        let published = subscriber.expect_message("aliased");
        assert_eq!(published.topic, stage.topic(&alias.to_string()));
        assert_eq!(published.properties, [], "an alias is not passed on");
    }
}

#[test]
fn mqtt_3_3_2_12_an_alias_serves_every_qos() {
    let (stage, mut subscriber, mut publisher, _) = scene();
    publisher.publish(&aliased(&stage.topic("t"), "0", 1).qos(1));
    subscriber.expect_message("0");
    for qos in 0..3 {
        publisher.publish(&aliased("", &qos.to_string(), 1).qos(qos));
        assert_eq!(
            subscriber.expect_message(qos.to_string()).topic,
            stage.topic("t")
        );
    }
}

#[test]
fn mqtt_3_3_2_12_an_alias_may_be_bound_anew() {
    let (stage, mut subscriber, mut publisher, _) = scene();
    for name in ["one", "two"] {
        publisher.send_publish(&aliased(&stage.topic(name), name, 1));
        publisher.send_publish(&aliased("", name, 1));
        for _ in 0..2 {
            assert_eq!(subscriber.expect_message(name).topic, stage.topic(name));
        }
    }
}

#[test]
fn mqtt_3_3_2_8_alias_0_is_refused() {
    let (stage, mut subscriber, mut publisher, _) = scene();
    publisher.send_publish(&aliased(&stage.topic("t"), "x", 0));
    publisher.expect_disconnect(ALIAS_INVALID);
    subscriber.expect_nothing();
}

/// [MQTT-3.2.2-17]
#[test]
fn mqtt_3_3_2_9_an_alias_above_the_maximum_is_refused() {
    let (stage, mut subscriber, mut publisher, max) = scene();
    publisher.send_publish(&aliased(&stage.topic("t"), "x", max + 1));
    publisher.expect_disconnect(ALIAS_INVALID);
    subscriber.expect_nothing();
    crate::closes(&aliased("t", "x", u16::MAX).bytes(V5), &[ALIAS_INVALID]);
}

#[test]
fn mqtt_3_3_2_an_alias_never_bound_is_a_protocol_error() {
    let (_stage, mut subscriber, mut publisher, _) = scene();
    publisher.send_publish(&aliased("", "x", 1));
    publisher.expect_closed_with(&[crate::PROTOCOL_ERROR, ALIAS_INVALID]);
    subscriber.expect_nothing();
}

#[test]
fn mqtt_3_3_2_7_an_alias_ends_with_its_connection() {
    let (stage, mut subscriber, mut publisher, _) = scene();
    publisher.send_publish(&aliased(&stage.topic("t"), "bound", 1));
    subscriber.expect_message("bound");
    publisher.leave();
    let (mut again, _) = stage.lasting(V5, "pub");
    again.send_publish(&aliased(&stage.topic("t"), "bound", 1));
    subscriber.expect_message("bound");
    again.vanish();
    let (mut again, _) = stage.lasting(V5, "pub");
    again.send_publish(&aliased("", "x", 1));
    again.expect_closed_with(&[crate::PROTOCOL_ERROR, ALIAS_INVALID]);
    subscriber.expect_nothing();
}

/// [MQTT-3.1.2-27]
#[test]
fn mqtt_3_1_2_27_without_a_maximum_the_server_uses_no_alias() {
    let stage = Stage::new();
    let zero = stage.connect(V5, "sub").with(&TopicAliasMaximum(0));
    for connect in [stage.connect(V5, "sub"), zero] {
        let (mut subscriber, _) = stage.open("sub", &connect);
        subscriber.subscribe(&stage.topic("#"), 0);
        let mut publisher = stage.client(V5, "pub");
        for _ in 0..5 {
            publisher.publish(&aliased(&stage.topic("t"), "x", 1));
            let published = subscriber.expect_message("x");
            assert_eq!(published.topic, stage.topic("t"));
            assert_eq!(published.properties, []);
        }
    }
}

/// [MQTT-3.3.2-11] [MQTT-3.3.2-8]
#[test]
fn mqtt_3_1_2_26_the_server_keeps_to_the_clients_maximum() {
    let stage = Stage::new();
    for max in [1, 3] {
        let connect = stage.connect(V5, "sub").with(&TopicAliasMaximum(max));
        let (mut subscriber, _) = stage.open("sub", &connect);
        subscriber.subscribe(&stage.topic("#"), 1);
        let mut publisher = stage.client(V5, "pub");
        let mut bound = HashMap::new();
        for number in 0..30 {
            let name = stage.topic(&(number * 7 % 5).to_string());
            publisher.publish(&Publish::new(&name, number.to_string()).qos(number % 2));
            let published = subscriber.take();
            assert_eq!(published.text(), number.to_string());
            assert_eq!(resolve(&mut bound, &published, max), name);
        }
    }
}

#[test]
fn mqtt_3_3_2_7_what_is_sent_again_is_named_again() {
    let stage = Stage::new();
    let connect = stage
        .connect(V5, "sub")
        .resume()
        .expiry(60)
        .with(&TopicAliasMaximum(5));
    let (mut subscriber, _) = stage.open("sub", &connect);
    subscriber.subscribe(&stage.topic("t"), 1);
    let mut publisher = stage.client(V5, "pub");
    for payload in ["1", "2", "3"] {
        publisher.publish(&Publish::new(stage.topic("t"), payload).qos(1));
        subscriber.expect_message(payload);
    }
    subscriber.vanish();
    let (mut subscriber, _) = stage.open("sub", &connect);
    let mut bound = HashMap::new();
    for payload in ["1", "2", "3"] {
        let published = subscriber.expect_message(payload);
        assert_eq!(resolve(&mut bound, &published, 5), stage.topic("t"));
    }
}

/// The topic a message is for, its alias being within the maximum and bound on this connection.
fn resolve(bound: &mut HashMap<u16, String>, published: &Published, max: u16) -> String {
    let alias = published
        .properties
        .iter()
        .find_map(|property| match property {
            TopicAlias(alias) => Some(*alias),
            _ => None,
        });
    let Some(alias) = alias else {
        return published.topic.clone();
    };
    assert!((1..=max).contains(&alias), "alias {alias} of at most {max}");
    if !published.topic.is_empty() {
        bound.insert(alias, published.topic.clone());
    }
    bound
        .get(&alias)
        .expect("an alias bound on this connection")
        .clone()
}
