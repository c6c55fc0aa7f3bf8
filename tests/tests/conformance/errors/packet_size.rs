//! Maximum packet size, of the client and of the server.
//!
//! Nobody is sent more than it said it can take; what does not fit is dropped, and no session
//! stalls on it.

use Property::MaximumPacketSize;
use countersign_tests::prelude::*;

/// A client that takes packets of at most `max` bytes.
fn narrow(stage: &Stage, name: &str, max: u32) -> Client {
    stage
        .open(name, &stage.connect(V5, name).with(&MaximumPacketSize(max)))
        .0
}

#[test]
fn mqtt_3_1_2_24_a_packet_of_just_the_maximum_is_sent_and_one_above_is_not() {
    let stage = Stage::new();
    let topic = stage.topic("t");
    for qos in 0..3 {
        let id = if qos == 0 { 0 } else { 2 };
        let mut client = narrow(&stage, "a", 100);
        client.subscribe(&topic, qos);
        let room = 100 - 2 - (2 + topic.len() + id + 1);
        let mut publisher = stage.client(V5, "pub");
        for len in [room, room + 1, room - 1] {
            publisher.publish(&Publish::new(&topic, "x".repeat(len)).qos(qos));
        }
        let came = client.take_many(2);
        assert_eq!(
            came.iter().map(|it| it.payload.len()).collect::<Vec<_>>(),
            [room, room - 1]
        );
        assert!(
            client
                .drain()
                .iter()
                .all(|frame| frame.kind() == Kind::Pubrel)
        );
    }
}

#[test]
fn mqtt_3_1_2_25_what_is_dropped_counts_as_sent() {
    let stage = Stage::new();
    let connect = stage.connect(V5, "a").with(&MaximumPacketSize(100));
    let (mut client, _) = stage.open("a", &connect.with(&Property::ReceiveMaximum(1)));
    client.subscribe(&stage.topic("t"), 2);
    let mut publisher = stage.client(V5, "pub");
    for qos in 1..3 {
        publisher.publish(&Publish::new(stage.topic("t"), "x".repeat(200)).qos(qos));
        publisher.publish(&Publish::new(stage.topic("t"), "small").qos(qos));
        assert_eq!(client.take().text(), "small");
    }
    client.expect_nothing();
}

#[test]
fn mqtt_3_1_2_25_what_is_dropped_is_not_sent_to_a_later_connection() {
    let stage = Stage::new();
    let narrow = stage
        .connect(V5, "a")
        .resume()
        .expiry(60)
        .with(&MaximumPacketSize(100));
    let (mut client, _) = stage.open("a", &narrow);
    client.subscribe(&stage.topic("t"), 1);
    let mut publisher = stage.client(V5, "pub");
    publisher.publish(&Publish::new(stage.topic("t"), "x".repeat(200)).qos(1));
    client.expect_nothing();
    client.leave();
    let (mut client, _) = stage.lasting(V5, "a");
    client.expect_nothing();
}

#[test]
fn mqtt_3_1_2_24_a_waiting_message_too_large_for_the_new_connection_is_dropped() {
    let stage = Stage::new();
    let (mut client, _) = stage.lasting(V5, "a");
    client.subscribe(&stage.topic("t"), 1);
    client.leave();
    let mut publisher = stage.client(V5, "pub");
    publisher.publish(&Publish::new(stage.topic("t"), "x".repeat(200)).qos(1));
    publisher.publish(&Publish::new(stage.topic("t"), "small").qos(1));
    let narrow = stage
        .connect(V5, "a")
        .resume()
        .expiry(60)
        .with(&MaximumPacketSize(100));
    let (mut client, _) = stage.open("a", &narrow);
    client.expect_message("small");
    client.expect_nothing();
}

#[test]
fn mqtt_3_1_2_24_properties_and_identifiers_count() {
    let stage = Stage::new();
    let mut client = narrow(&stage, "a", 100);
    let subscribe = Subscribe::new(1).with(&Property::SubscriptionId(268_435_455));
    client.subscribe_with(&subscribe.filter(stage.topic("t"), 0));
    let mut publisher = stage.client(V5, "pub");
    let room = 100 - 2 - (2 + stage.topic("t").len() + 1 + 5);
    publisher.publish(&Publish::new(stage.topic("t"), "x".repeat(room + 1)));
    let user = Property::user("name", &"v".repeat(100));
    publisher.publish(&Publish::new(stage.topic("t"), "x").with(&user));
    publisher.publish(&Publish::new(stage.topic("t"), "y".repeat(room)));
    assert_eq!(client.expect_publish().payload.len(), room);
}

/// [MQTT-3.5.2-2] [MQTT-3.6.2-2] [MQTT-3.7.2-2] [MQTT-3.9.2-1] [MQTT-3.11.2-1] [MQTT-3.14.2-3]
#[test]
fn mqtt_3_4_2_2_reasons_do_not_carry_answers_over_the_maximum() {
    let stage = Stage::new();
    // The least that holds a CONNACK, and a little more than that.
    for max in [40, 50, 60] {
        let mut client = narrow(&stage, "a", max);
        let denied = stage.topic("denied/t");
        client.send_publish(&Publish::new(&denied, "x").qos(1).id(1));
        client.send_publish(&Publish::new(&denied, "x").qos(2).id(2));
        client.send(&request::ack(Kind::Pubrec, 3));
        client.send(&request::ack(Kind::Pubrel, 4));
        client.send(
            &Subscribe::new(5)
                .filter(stage.topic("hidden/t"), 0)
                .bytes(V5),
        );
        client.send(&request::unsubscribe(V5, 6, &[stage.topic("never")]));
        client.send(b"\xd0\x00");
        let expected = [
            (Kind::Puback, 0x87),
            (Kind::Pubrec, 0x87),
            (Kind::Pubrel, 0x92),
            (Kind::Pubcomp, 0x92),
            (Kind::Suback, 0x87),
            (Kind::Unsuback, 0x11),
            (Kind::Disconnect, 0x82),
        ];
        for (kind, code) in expected {
            let frame = client.raw.expect_packet();
            assert_eq!(frame.kind(), kind, "{frame:?}");
            assert!(
                frame.bytes().len() <= max as usize,
                "{frame:?} of at most {max}"
            );
            assert!(frame.body.contains(&code), "{frame:?}");
        }
    }
}

#[test]
fn mqtt_3_1_2_24_a_maximum_that_no_connack_fits_ends_the_connection() {
    let stage = Stage::new();
    for max in 1..4 {
        let mut raw = stage.raw("a");
        raw.send(&stage.connect(V5, "a").with(&MaximumPacketSize(max)).bytes());
        raw.expect_closed();
    }
}

#[test]
fn mqtt_3_2_2_a_packet_above_the_servers_maximum_is_refused() {
    let stage = Stage::new();
    let (mut client, connack) = stage.open("a", &stage.connect(V5, "a"));
    let told = |property: &Property| match property {
        MaximumPacketSize(max) => Some(*max as usize),
        _ => None,
    };
    let max = connack
        .properties
        .iter()
        .find_map(told)
        .expect("a maximum packet size");
    client.subscribe(&stage.topic("t"), 0);
    let overhead = 1 + request::varint(max).len() + 2 + stage.topic("t").len() + 1;
    client.send_publish(&Publish::new(stage.topic("t"), "x".repeat(max - overhead)));
    assert_eq!(client.expect_publish().payload.len(), max - overhead);
    // The fixed header alone tells that it is too long.
    client.send(&[&[0x30], request::varint(max).as_slice()].concat());
    client.expect_disconnect(0x95);
}
