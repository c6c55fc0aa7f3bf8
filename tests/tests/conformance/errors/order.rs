//! Packets at the wrong time, and packets that only a server sends.
//!
//! They end the connection they come on, and nothing else.

use crate::{EITHER, PROTOCOL_ERROR, closes};
use countersign_tests::prelude::*;

/// [MQTT-4.13.2-1]
#[test]
fn mqtt_4_13_1_1_packets_of_a_server_are_a_protocol_error() {
    closes(b"\x20\x03\x00\x00\x00", &EITHER);
    closes(b"\x90\x04\x00\x01\x00\x00", &EITHER);
    closes(b"\xb0\x04\x00\x01\x00\x00", &EITHER);
    closes(b"\xd0\x00", &EITHER);
}

#[test]
fn mqtt_4_13_1_1_an_error_has_no_consequence_for_another_session() {
    let stage = Stage::new();
    let mut bystander = stage.client(V5, "bystander");
    bystander.subscribe(&stage.topic("t"), 1);
    for wrong in [
        &b"\x00\x00"[..],
        b"\x30\x00",
        b"\x82\x00",
        b"\xd0\x00",
        b"\x36\x00",
    ] {
        let mut client = stage.client(V5, "a");
        client.send(wrong);
        client.expect_closed_with(&EITHER);
        stage
            .client(V5, "pub")
            .publish(&Publish::new(stage.topic("t"), "x").qos(1));
        bystander.take();
    }
}

#[test]
fn mqtt_4_13_1_1_an_error_does_not_end_a_lasting_session() {
    let stage = Stage::new();
    let (mut client, _) = stage.lasting(V5, "a");
    client.subscribe(&stage.topic("t"), 1);
    client.send(b"\x00\x00");
    client.expect_closed_with(&EITHER);
    stage
        .client(V5, "pub")
        .publish(&Publish::new(stage.topic("t"), "x").qos(1));
    let (mut client, present) = stage.lasting(V5, "a");
    assert!(present);
    client.expect_message("x");
}

#[test]
fn mqtt_4_13_1_1_what_came_before_an_error_is_processed() {
    let stage = Stage::new();
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&stage.topic("t"), 0);
    let mut client = stage.client(V5, "a");
    let good = Publish::new(stage.topic("t"), "before")
        .qos(1)
        .id(1)
        .bytes(V5);
    let behind = Publish::new(stage.topic("t"), "behind").bytes(V5);
    client.send(&[good, b"\x00\x00".to_vec(), behind].concat());
    client.expect_success(Kind::Puback, 1);
    client.expect_closed_with(&EITHER);
    subscriber.expect_message("before");
    subscriber.expect_nothing();
}

/// [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-2]
#[test]
fn mqtt_4_13_2_1_the_server_says_disconnect_and_closes() {
    let stage = Stage::new();
    let (mut client, _) = stage.lasting(V5, "a");
    client.send(b"\xd0\x00");
    let properties = client.expect_disconnect(PROTOCOL_ERROR);
    let expiry = |property: &Property| matches!(property, Property::SessionExpiry(_));
    assert!(!properties.iter().any(expiry), "{properties:?}");
}
