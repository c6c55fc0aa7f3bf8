//! The payload of CONNECT: client id, will, user name, password.
//!
//! The client id names the session, within the device.

use crate::{EITHER, refuses};
use countersign_tests::prelude::*;

const NOT_UTF_8: &[&[u8]] = &[
    b"\xff",
    b"a\xc0\x80",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf5\x80",
];

#[test]
fn mqtt_3_1_3_1_all_fields_in_their_order() {
    let stage = Stage::new();
    let mut observer = stage.client(V5, "observer");
    observer.subscribe(&stage.topic("will"), 0);
    let will = Will::new(stage.topic("will"), "payload").with(&Property::user("a", "b"));
    let connect = stage
        .connect(V5, "a")
        .will(&will)
        .user_name("user")
        .password("password");
    stage.open("a", &connect).0.vanish();
    let published = observer.expect_message("payload");
    assert_eq!(published.properties, [Property::user("a", "b")]);
}

#[test]
fn mqtt_3_1_3_2_the_client_id_names_the_session() {
    let stage = Stage::new();
    let as_ = |id: &str| Connect::new(V5, stage.id(id)).resume().expiry(60);
    stage.open("a", &as_("a")).0.leave();
    let (_, connack) = stage.open("a", &as_("a-other"));
    assert!(
        !connack.session_present,
        "another client id, another session"
    );
    let (_, connack) = stage.open("a", &as_("a"));
    assert!(connack.session_present);
}

/// [MQTT-3.1.4-1]
#[test]
fn mqtt_3_1_3_3_the_client_id_must_be_there() {
    let without = Connect::new(V5, "").body();
    refuses(
        &request::packet(Kind::Connect.head(), &without[..without.len() - 2]),
        &EITHER,
    );
}

#[test]
fn mqtt_3_1_3_4_the_client_id_must_be_utf_8() {
    for wrong in NOT_UTF_8 {
        refuses(&Connect::new(V5, wrong).bytes(), &[0x81, 0x82, 0x85]);
    }
}

/// [MQTT-3.1.4-5]
#[test]
fn mqtt_3_1_3_5_letters_and_digits_make_a_client_id() {
    let stage = Stage::new();
    for id in [
        "0",
        "zZ",
        "0123456789abcdefghijklm",
        "nopqrstuvwxyzABCDEFGHIJ",
        "KLMNOPQRSTUVWXYZ",
    ] {
        stage.open("a", &Connect::new(V5, id)).0.leave();
    }
}

/// [MQTT-3.2.2-16]
#[test]
fn mqtt_3_1_3_6_an_empty_client_id_is_replaced_by_a_new_one() {
    let stage = Stage::new();
    let connect = Connect::new(V5, "");
    let (mut one, first) = stage.open("a", &connect);
    let (mut two, second) = stage.open("a", &connect);
    let first = first.assigned_client_id().expect("an assigned client id");
    let second = second.assigned_client_id().expect("an assigned client id");
    assert_ne!(first, second);
    assert!(
        first.starts_with(&stage.id("a")),
        "{first} begins with the device id"
    );
    one.expect_alive();
    two.expect_alive();
}

#[test]
fn mqtt_3_1_3_6_an_empty_client_id_may_ask_for_a_lasting_session() {
    let stage = Stage::new();
    let (_, connack) = stage.open("a", &Connect::new(V5, "").resume());
    assert!(!connack.session_present);
    assert!(connack.assigned_client_id().is_some());
}

#[test]
fn mqtt_3_1_3_7_the_assigned_client_id_names_the_session() {
    let stage = Stage::new();
    let (client, connack) = stage.open("a", &Connect::new(V5, "").expiry(60));
    client.leave();
    let assigned = connack.assigned_client_id().unwrap();
    let (_, connack) = stage.open("a", &Connect::new(V5, assigned).resume());
    assert!(connack.session_present);
    assert_eq!(
        connack.assigned_client_id(),
        None,
        "nothing to assign this time"
    );
}

/// [MQTT-3.1.4-2] [MQTT-3.2.2-6] [MQTT-3.2.2-7]
#[test]
fn mqtt_3_1_3_8_a_client_id_not_permitted_is_refused() {
    let stage = Stage::new();
    // The tests' policy binds applications, unlike devices, to ids of their own.
    let app = stage.world().authority().app(&stage.id("app"));
    let raw = Raw::connect(stage.world().address(), &app);
    let (mut client, connack) = Client::open(raw, &Connect::new(V5, stage.id("other")));
    assert_eq!((connack.code, connack.session_present), (0x85, false));
    client.raw.expect_closed();
}

#[test]
fn mqtt_3_1_3_11_the_will_topic_must_be_utf_8() {
    for wrong in NOT_UTF_8 {
        refuses(
            &Connect::new(V5, "a").will(&Will::new(wrong, "x")).bytes(),
            &[0x81, 0x90],
        );
    }
}

/// [MQTT-4.7.0-1] [MQTT-4.7.3-1]
#[test]
fn mqtt_3_1_3_11_the_will_topic_must_be_a_topic_name() {
    for wrong in ["", "a/#", "+", "a\0b"] {
        refuses(
            &Connect::new(V5, "a").will(&Will::new(wrong, "x")).bytes(),
            &[0x81, 0x82, 0x90],
        );
    }
}

#[test]
fn mqtt_3_1_3_12_the_user_name_must_be_utf_8() {
    for wrong in NOT_UTF_8 {
        refuses(&Connect::new(V5, "a").user_name(wrong).bytes(), &EITHER);
    }
}

#[test]
fn mqtt_1_5_4_2_no_u_0000_in_client_id_and_user_name() {
    refuses(&Connect::new(V5, "a\0b").bytes(), &[0x81, 0x82, 0x85]);
    refuses(&Connect::new(V5, "a").user_name("\0").bytes(), &EITHER);
}
