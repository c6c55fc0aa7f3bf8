//! DISCONNECT, from either side.
//!
//! It is the last packet on its connection.

use crate::{EITHER, MALFORMED, PROTOCOL_ERROR, closes};
use countersign_tests::prelude::*;
use countersign_tests::world::World;
use std::sync::Arc;

#[test]
fn mqtt_3_14_4_2_the_server_closes_after_disconnect() {
    Stage::new().client(V5, "a").leave();
    for bytes in [
        request::disconnect(),
        b"\xe0\x01\x00".to_vec(),
        request::disconnect_with(0x00, &[]),
        request::disconnect_with(0x04, &[Property::Reason("done".into())]),
        request::disconnect_with(0x98, &[Property::user("a", "b"), Property::user("a", "b")]),
    ] {
        let mut client = Stage::new().client(V5, "a");
        client.send(&bytes);
        client.raw.expect_closed();
    }
}

#[test]
fn mqtt_3_14_4_1_nothing_behind_disconnect_is_processed() {
    let stage = Stage::new();
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&stage.topic("t"), 0);
    let mut client = stage.client(V5, "a");
    let publish = Publish::new(stage.topic("t"), "behind").retain().bytes(V5);
    client.send(&[request::disconnect(), publish].concat());
    client.raw.expect_closed();
    subscriber.expect_nothing();
    subscriber.subscribe(&stage.topic("t"), 0);
    subscriber.expect_nothing();
}

#[test]
fn mqtt_3_14_4_1_what_came_before_disconnect_is_processed() {
    let stage = Stage::new();
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&stage.topic("t"), 0);
    let mut client = stage.client(V5, "a");
    let publish = Publish::new(stage.topic("t"), "before").bytes(V5);
    client.send(&[publish, request::disconnect()].concat());
    client.raw.expect_closed();
    subscriber.expect_message("before");
}

#[test]
fn mqtt_3_14_4_2_a_server_that_stops_says_so_and_closes() {
    let world = Arc::new(World::start());
    let stage = Stage::on(world.clone());
    let mut client = stage.client(V5, "a");
    let mut old = stage.client(V311, "b");
    world.ask_to_stop();
    client.expect_disconnect(0x8b);
    old.raw.expect_closed();
    drop((client, old));
    world.expect_end();
}

#[test]
fn mqtt_3_14_1_1_reserved_flags_are_malformed() {
    for flags in 1..16 {
        closes(&[0xe0 | flags, 0], &[MALFORMED]);
    }
}

#[test]
fn mqtt_3_14_2_1_a_code_that_is_none_of_a_client_is_refused() {
    for code in [0x01, 0x02, 0x10, 0x18, 0x7f, 0x85, 0xff] {
        closes(&request::disconnect_with(code, &[]), &EITHER);
    }
}

#[test]
fn mqtt_3_14_2_properties_must_be_those_of_disconnect_and_come_once() {
    let expiry = Property::SessionExpiry(0);
    closes(
        &request::disconnect_with(0, &[expiry.clone(), expiry]),
        &[PROTOCOL_ERROR],
    );
    for property in [Property::TopicAlias(1), Property::ReceiveMaximum(1)] {
        closes(&request::disconnect_with(0, &[property]), &EITHER);
    }
    closes(b"\xe0\x03\x00\x05\x1f", &EITHER);
    closes(b"\xe0\x04\x00\x00\x00\x00", &EITHER);
}

/// [MQTT-3.1.2-10]
#[test]
fn mqtt_3_14_4_3_a_malformed_disconnect_leaves_the_will() {
    let stage = Stage::new();
    let mut observer = stage.client(V5, "observer");
    observer.subscribe(&stage.topic("will"), 0);
    let will = Will::new(stage.topic("will"), "x");
    let (mut client, _) = stage.open("a", &stage.connect(V5, "a").will(&will));
    client.send(b"\xe1\x00");
    client.expect_closed_with(&[MALFORMED]);
    observer.expect_message("x");
}
