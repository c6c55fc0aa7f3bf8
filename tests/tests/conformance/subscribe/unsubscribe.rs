//! UNSUBSCRIBE and UNSUBACK.
//!
//! What was begun is finished; nothing new begins.

use crate::{EITHER, PROTOCOL_ERROR, closes};
use countersign_tests::prelude::*;

/// [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.11.3-2]
#[test]
fn mqtt_3_10_4_4_unsubscribe_ends_the_subscription_and_is_answered() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("t"), 1);
    client.subscribe(&stage.topic("u"), 1);
    assert_eq!(client.unsubscribe(&[&stage.topic("t")]), [0x00]);
    let mut publisher = stage.client(V5, "pub");
    publisher.publish(&Publish::new(stage.topic("t"), "gone").qos(1));
    publisher.publish(&Publish::new(stage.topic("u"), "still there").qos(1));
    client.expect_message("still there");
    client.expect_nothing();
}

/// [MQTT-2.2.1-6]
#[test]
fn mqtt_3_10_4_5_it_is_answered_under_its_id_even_if_nothing_was_deleted() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    for id in [1, 256, 65535] {
        client.send(&request::unsubscribe(V5, id, &[stage.topic("never")]));
        let unsuback = Suback::read(&client.raw.expect_packet(), V5, Kind::Unsuback);
        assert_eq!((unsuback.id, unsuback.codes), (id, vec![0x11]));
    }
}

/// [MQTT-3.11.3-1] [MQTT-3.11.3-2]
#[test]
fn mqtt_3_10_4_6_many_filters_have_one_unsuback_in_their_order() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("b"), 0);
    client.subscribe(&stage.topic("d/#"), 0);
    let names = ["a", "b", "c", "d/#", "b"].map(|name| stage.topic(name));
    let filters = names.each_ref().map(String::as_str);
    assert_eq!(client.unsubscribe(&filters), [0x11, 0x00, 0x11, 0x00, 0x11]);
}

#[test]
fn mqtt_3_10_4_1_filters_are_compared_character_by_character() {
    let stage = Stage::new();
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("a/+"), 0);
    for other in ["a/b", "a/#", "+/+", "A/+", "a/+/"] {
        assert_eq!(
            client.unsubscribe(&[&stage.topic(other)]),
            [0x11],
            "{other}"
        );
    }
    client.send_publish(&Publish::new(stage.topic("a/b"), "x"));
    client.expect_message("x");
}

#[test]
fn mqtt_3_10_4_3_what_was_begun_is_completed() {
    let stage = Stage::new();
    let (mut client, _) = stage.lasting(V5, "a");
    client.subscribe(&stage.topic("t"), 2);
    let mut publisher = stage.client(V5, "pub");
    publisher.publish(&Publish::new(stage.topic("t"), "1").qos(1));
    publisher.publish(&Publish::new(stage.topic("t"), "2").qos(2));
    client.expect_message("1");
    let id = client.expect_message("2").id.unwrap();
    client.unsubscribe(&[&stage.topic("t")]);
    client.send(&request::ack(Kind::Pubrec, id));
    client.expect_success(Kind::Pubrel, id);
    client.vanish();
    let (mut client, _) = stage.lasting(V5, "a");
    let again = client.drain();
    let kinds: Vec<Kind> = again.iter().map(Frame::kind).collect();
    assert!(
        kinds.contains(&Kind::Publish) && kinds.contains(&Kind::Pubrel),
        "{again:?}"
    );
    assert_eq!(again.len(), 2, "{again:?}");
}

#[test]
fn mqtt_3_10_4_2_an_unsubscribed_session_collects_nothing() {
    let stage = Stage::new();
    let (mut client, _) = stage.lasting(V5, "a");
    client.subscribe(&stage.topic("t"), 1);
    client.unsubscribe(&[&stage.topic("t")]);
    client.leave();
    stage
        .client(V5, "pub")
        .publish(&Publish::new(stage.topic("t"), "x").qos(1));
    stage.lasting(V5, "a").0.expect_nothing();
}

/// [MQTT-2.1.3-1]
#[test]
fn mqtt_3_10_1_1_unsubscribe_has_the_flags_0010() {
    let good = request::unsubscribe(V5, 1, &["t"]);
    for flags in (0..16).filter(|flags| *flags != 2) {
        closes(&[&[0xa0 | flags], &good[1..]].concat(), &EITHER);
    }
}

#[test]
fn mqtt_3_10_3_1_a_filter_must_be_utf_8() {
    closes(
        &request::unsubscribe(V5, 1, &[b"\xff"]),
        &[0x81, 0x82, 0x8f],
    );
    closes(
        &request::unsubscribe(V5, 1, &[b"\xed\xa0\x80"]),
        &[0x81, 0x82, 0x8f],
    );
}

#[test]
fn mqtt_3_10_3_2_without_a_filter_it_is_an_error() {
    closes(
        &request::unsubscribe::<&str>(V5, 1, &[]),
        &[PROTOCOL_ERROR, 0x81],
    );
}

#[test]
fn mqtt_3_10_3_a_packet_cut_within_a_filter_is_malformed() {
    let whole = request::unsubscribe(V5, 1, &["filter"]);
    for len in 2..whole.len() {
        closes(&request::packet(0xa2, &whole[2..len]), &EITHER);
    }
}
