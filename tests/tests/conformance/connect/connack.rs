//! CONNACK: the answer to CONNECT.
//!
//! It comes first and once, and says nothing the client cannot hold.

use countersign_tests::mqtt::request::RETAINED_IF_NEW;
use countersign_tests::prelude::*;
use std::collections::HashSet;

#[test]
fn mqtt_3_1_4_5_a_good_connect_is_acknowledged() {
    let stage = Stage::new();
    let (_, connack) = stage.ask("a", &stage.connect(V5, "a"));
    assert_eq!((connack.code, connack.session_present), (0, false));
}

/// [MQTT-3.2.0-2]
#[test]
fn mqtt_3_2_0_1_connack_comes_before_everything_else() {
    let stage = Stage::new();
    let (mut first, _) = stage.lasting(V5, "a");
    first.subscribe(&stage.topic("t"), 1);
    first.vanish();
    stage
        .client(V5, "pub")
        .publish(&Publish::new(stage.topic("t"), "queued").qos(1));

    // All at once: the answers still begin with CONNACK, and there is one of it.
    let mut raw = stage.raw("a");
    let subscribe = Subscribe::new(7).filter(stage.topic("u"), RETAINED_IF_NEW);
    let connect = stage.connect(V5, "a").resume().expiry(60);
    raw.send(&[connect.bytes(), subscribe.bytes(V5), request::pingreq()].concat());
    let kinds: Vec<Kind> = (0..4).map(|_| raw.expect_packet().kind()).collect();
    assert_eq!(kinds[0], Kind::Connack, "{kinds:?}");
    for kind in [Kind::Publish, Kind::Suback, Kind::Pingresp] {
        assert!(kinds[1..].contains(&kind), "{kinds:?}");
    }
}

/// The reader of every test checks the other seven bits.
///
/// [MQTT-3.2.2-3]
#[test]
fn mqtt_3_2_2_1_acknowledge_flags_say_session_present_only() {
    let stage = Stage::new();
    let mut raw = stage.raw("a");
    raw.send(&stage.connect(V5, "a").expiry(60).bytes());
    assert_eq!(raw.expect_packet().body[0], 0);
    raw.close();
    let mut raw = stage.raw("a");
    raw.send(&stage.connect(V5, "a").resume().bytes());
    assert_eq!(raw.expect_packet().body[0], 1);
}

/// [MQTT-3.1.2-4] [MQTT-3.1.4-4]
#[test]
fn mqtt_3_2_2_2_after_a_clean_start_no_session_is_present() {
    let stage = Stage::new();
    stage.lasting(V5, "a").0.leave();
    let (_, connack) = stage.open("a", &stage.connect(V5, "a").expiry(60));
    assert!(!connack.session_present);
}

/// [MQTT-3.1.2-5] [MQTT-3.1.2-6]
#[test]
fn mqtt_3_2_2_3_session_present_tells_whether_there_was_one() {
    let stage = Stage::new();
    let (client, present) = stage.lasting(V5, "a");
    assert!(!present);
    client.leave();
    let (_, present) = stage.lasting(V5, "a");
    assert!(present);
}

/// [MQTT-3.2.2-8] [MQTT-3.2.2-7]
#[test]
fn mqtt_3_2_2_6_a_refusal_has_no_session_present() {
    let stage = Stage::new();
    stage.lasting(V5, "a").0.leave();
    let connect = stage
        .connect(V5, "a")
        .resume()
        .with(&Property::AuthMethod("x".into()));
    let (mut client, connack) = stage.ask("a", &connect);
    assert_eq!((connack.code, connack.session_present), (0x8c, false));
    client.raw.expect_closed();
}

#[test]
fn mqtt_3_2_2_properties_are_those_of_connack_and_come_once() {
    let stage = Stage::new();
    let (_, connack) = stage.open("a", &stage.connect(V5, "a").expiry(60).keep_alive(0));
    let of_connack = [
        0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28,
        0x29, 0x2a,
    ];
    let mut seen = HashSet::new();
    for property in &connack.properties {
        let identifier = property.identifier();
        assert!(of_connack.contains(&identifier), "{property:?}");
        assert!(
            seen.insert(identifier) || identifier == 0x26,
            "{property:?} twice"
        );
        match property {
            Property::ReceiveMaximum(max) => assert_ne!(*max, 0),
            Property::MaximumPacketSize(max) => assert_ne!(*max, 0),
            Property::MaximumQos(max) => assert!(*max < 2),
            _ => {}
        }
    }
}

#[test]
fn mqtt_3_1_2_28_response_information_is_not_sent_unasked() {
    let stage = Stage::new();
    for connect in [
        stage.connect(V5, "a"),
        stage.connect(V5, "a").with(&Property::RequestResponse(0)),
    ] {
        let (_, connack) = stage.open("a", &connect);
        let told = |property: &Property| matches!(property, Property::ResponseInformation(_));
        assert!(!connack.properties.iter().any(told), "{connack:?}");
    }
}

#[test]
fn mqtt_3_2_2_19_a_reason_does_not_carry_connack_over_the_maximum() {
    let stage = Stage::new();
    for max in [8, 12, 20, 30] {
        let connect = stage
            .connect(V5, "a")
            .with(&Property::AuthMethod("x".into()))
            .with(&Property::MaximumPacketSize(max));
        let mut raw = stage.raw("a");
        raw.send(&connect.bytes());
        let connack = raw.expect_packet();
        assert!(connack.bytes().len() <= max as usize, "{connack:?}");
        assert_eq!(connack.body[1], 0x8c);
    }
}

#[test]
fn mqtt_4_12_0_6_without_a_method_none_is_named() {
    let stage = Stage::new();
    let (_, connack) = stage.open("a", &stage.connect(V5, "a"));
    let names = |property: &Property| matches!(property.identifier(), 0x15 | 0x16);
    assert!(!connack.properties.iter().any(names), "{connack:?}");
}

#[test]
fn mqtt_3_2_2_22_a_keep_alive_not_replaced_is_the_clients() {
    let stage = Stage::new();
    let (_, connack) = stage.open("a", &stage.connect(V5, "a").keep_alive(30));
    let replaces = |property: &Property| matches!(property, Property::ServerKeepAlive(_));
    assert!(!connack.properties.iter().any(replaces), "{connack:?}");
}
