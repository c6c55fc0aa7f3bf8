//! Single packets that have stopped brokers.
//!
//! Each is refused by a rule, in bounded time and memory.

use crate::Cage;
use countersign_tests::prelude::*;
use std::time::Duration;

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const NOT_AUTHORIZED: u8 = 0x87;
const ALIAS_INVALID: u8 = 0x94;
const TOO_LARGE: u8 = 0x95;

#[test]
fn cve_2021_28166_packets_of_a_server_and_of_every_type_first_and_later() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Connect) {
        for body in [&[][..], &[0], &[0, 0], &[0, 1, 0], &[0, 1, 0, 0, 0]] {
            let mut raw = stage.raw("a");
            raw.send(&request::packet(kind.head(), body));
            raw.expect_closed();
        }
    }
    for kind in [Kind::Connack, Kind::Suback, Kind::Unsuback, Kind::Pingresp] {
        for body in [&[][..], &[0, 0], &[0, 1, 0], &[0, 1, 0, 0]] {
            let mut client = stage.client(V5, "a");
            client.send(&request::packet(kind.head(), body));
            client.expect_closed_with(&[PROTOCOL_ERROR, MALFORMED]);
        }
    }
    cage.open();
}

#[test]
fn cve_2021_34432_an_empty_topic_and_wrong_aliases() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let alias = |topic: &str, alias| Publish::new(topic, "x").with(&Property::TopicAlias(alias));
    for (publish, codes) in [
        (Publish::new("", "x"), &[PROTOCOL_ERROR, 0x90][..]),
        (alias("t", 0), &[ALIAS_INVALID]),
        (alias("t", 65_535), &[ALIAS_INVALID]),
        (alias("", 3), &[PROTOCOL_ERROR, ALIAS_INVALID]),
    ] {
        let mut client = stage.client(V5, "a");
        client.send_publish(&publish);
        client.expect_closed_with(codes);
    }
    cage.open();
}

#[test]
fn cve_2021_34432_an_alias_of_a_refused_publish_leads_nowhere() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let mut observer = stage.client(V5, "observer");
    observer.subscribe(&stage.topic("#"), 0);
    let mut client = stage.client(V5, "a");
    let alias = Property::TopicAlias(1);
    client.send_publish(
        &Publish::new(stage.topic("denied/t"), "x")
            .with(&alias)
            .qos(1)
            .id(1),
    );
    assert_eq!(client.expect_ack(Kind::Puback).code, NOT_AUTHORIZED);
    client.send_publish(&Publish::new("", "x").with(&alias).qos(1).id(2));
    let frame = client.raw.expect_packet();
    match frame.kind() {
        Kind::Puback => assert_eq!(Ack::read(&frame, V5, Kind::Puback).code, NOT_AUTHORIZED),
        _ => assert!([PROTOCOL_ERROR, ALIAS_INVALID].contains(&Disconnected::read(&frame).code)),
    }
    observer.expect_nothing();
    cage.open();
}

#[test]
fn cve_2018_12543_topics_and_wills_below_a_dollar() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    for (number, topic) in [
        "$x",
        "$",
        "$/",
        "$SYS/broker/x",
        "$share/a/b",
        "$share",
        "$share/",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = stage.client(V5, "a");
        client.send_publish(&Publish::new(topic, "x").retain().qos(1).id(1));
        match client.raw.expect_packet() {
            frame if frame.kind() == Kind::Puback => {
                assert_eq!(Ack::read(&frame, V5, Kind::Puback).code, NOT_AUTHORIZED);
            }
            frame => assert!(Disconnected::read(&frame).code >= 0x80, "{frame:?}"),
        }
        // Each is another one: who is closed again and again has to stay away for a while.
        let mut old = stage.client(V311, &format!("old-{number}"));
        old.send_publish(&Publish::new(topic, "x"));
        old.raw.expect_closed();
        let mut raw = stage.raw("a");
        raw.send(
            &stage
                .connect(V5, "a")
                .will(&Will::new(topic, "x").retain())
                .bytes(),
        );
        raw.expect_refused(&[MALFORMED, NOT_AUTHORIZED, 0x90]);
    }
    cage.open();
}

/// Also CVE-2021-33176.
#[test]
fn cve_2019_11779_sixty_five_thousand_separators() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let deep = "/".repeat(65_000);
    let mut client = stage.client(V5, "a");
    let ask = || {
        for _ in 0..10 {
            let shared = format!("$share/g/{}", &deep[..64_000]);
            let subscribe = Subscribe::new(1).filter(&deep, 0).filter(shared, 1);
            assert_eq!(client.subscribe_with(&subscribe).codes, [0x8f, 0x8f]);
            client.unsubscribe(&[&deep]);
            client.send_publish(&Publish::new(&deep, "x").qos(1).id(1));
            assert_eq!(client.expect_ack(Kind::Puback).code, 0x90);
        }
        let wild = "+/".repeat(30_000) + "#";
        assert_eq!(
            client
                .subscribe_with(&Subscribe::new(1).filter(wild, 0))
                .codes,
            [0x8f]
        );
    };
    let spent = cage.world.cpu_time_of(ask);
    assert!(spent < Duration::from_secs(2), "{spent:?} of CPU time");
    cage.open();
}

/// Also CVE-2023-0809 and CVE-2021-33175.
#[test]
fn cve_2017_7651_nothing_is_reserved_for_bytes_that_were_only_announced() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let longest = b"\xff\xff\xff\x7f";
    let before = cage.world.memory("VmRSS:");
    let mut open = Vec::new();
    for _ in 0..50 {
        let mut raw = stage.raw("a");
        raw.send(&[b"\x10", &longest[..], b"\x00\x04MQTT"].concat());
        open.push(raw);
    }
    for head in [0x30, 0x32, 0x82, 0xa2, 0xe0, 0xf0, 0x40] {
        let mut client = stage.client(V5, "b");
        client.send(&[&[head], &longest[..]].concat());
        client.expect_closed_with(&[TOO_LARGE, MALFORMED, PROTOCOL_ERROR]);
    }
    let mut client = stage.client(V5, "b");
    client.send(&[b"\x30", &longest[..]].concat());
    client.expect_disconnect(TOO_LARGE);
    let after = cage.world.memory("VmRSS:");
    assert!(
        after < before + 30 * 1024,
        "from {before} KiB to {after} KiB"
    );
    for raw in &mut open {
        raw.expect_refused(&[TOO_LARGE, MALFORMED]);
    }
    cage.open();
}

#[test]
fn cve_2026_21888_variable_byte_integers_of_five_bytes() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let five = b"\x80\x80\x80\x80\x01";
    let length = |head: u8| [&[head], &five[..], &[0; 20]].concat();
    let property_length =
        |head, start: &[u8]| request::packet(head, &[start, &five[..], b"x"].concat());
    let mut wrong: Vec<Vec<u8>> = [0x30, 0x40, 0x62, 0x82, 0xa2, 0xc0, 0xe0]
        .map(length)
        .into();
    wrong.push(property_length(0x30, b"\x00\x01t"));
    wrong.push(property_length(0x40, b"\x00\x01\x00"));
    wrong.push(property_length(0x82, b"\x00\x01"));
    wrong.push(property_length(0xa2, b"\x00\x01"));
    wrong.push(property_length(0xe0, b"\x00"));
    let id = [&b"\x0b"[..], five].concat();
    wrong.push(Subscribe::new(1).with_bytes(&id).filter("t", 0).bytes(V5));
    for bytes in wrong {
        let mut client = stage.client(V5, "a");
        client.send(&bytes);
        client.expect_closed_with(&[MALFORMED, PROTOCOL_ERROR]);
    }
    for bytes in [
        length(0x10),
        property_length(0x10, b"\x00\x04MQTT\x05\x02\x00\x3c"),
    ] {
        let mut raw = stage.raw("a");
        raw.send(&bytes);
        raw.expect_refused(&[MALFORMED, PROTOCOL_ERROR]);
    }
    cage.open();
}

/// Odd but legal properties, to a subscriber for whom they are encoded anew: with aliases, with
/// identifiers, with an expiry that has changed, and within a maximum packet size.
#[test]
fn nanomq_1810_odd_properties_reach_a_subscriber_with_aliases_valid_or_not_at_all() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let connect = stage
        .connect(V5, "sub")
        .with(&Property::TopicAliasMaximum(3))
        .with(&Property::MaximumPacketSize(2000));
    let (mut subscriber, _) = stage.open("sub", &connect);
    for (id, filter) in [(1, "#"), (268_435_455, "+")] {
        let subscribe = Subscribe::new(1).with(&Property::SubscriptionId(id));
        subscriber.subscribe_with(&subscribe.filter(stage.topic(filter), 1));
    }
    let mut publisher = stage.client(V5, "pub");
    let odd: Vec<Vec<Property>> = vec![
        vec![Property::user("", ""); 100],
        vec![
            Property::CorrelationData(Vec::new()),
            Property::ContentType(String::new()),
        ],
        vec![
            Property::MessageExpiry(u32::MAX),
            Property::PayloadFormat(0),
        ],
        vec![
            Property::user("a", "b"),
            Property::MessageExpiry(1),
            Property::user("a", "b"),
        ],
        vec![Property::CorrelationData(vec![0xff; 1995])],
        vec![Property::CorrelationData(vec![0xff; 60_000])],
        vec![Property::ResponseTopic("x".repeat(65_535))],
        vec![
            Property::user("\u{feff}", "\u{10ffff}"),
            Property::ResponseTopic("$x".into()),
        ],
    ];
    for (number, properties) in odd.iter().enumerate() {
        let topic = stage.topic(&(number % 4).to_string());
        let publish = Publish::new(topic, number.to_string()).qos(1);
        publisher.publish(&properties.iter().fold(publish, Publish::with));
    }
    // The reader fails on anything that is not well-formed.
    let came: Vec<_> = subscriber
        .drain()
        .iter()
        .map(|frame| Published::read(frame, V5))
        .map(|published| (published.subscription_ids(), published.text().to_owned()))
        .collect();
    let both = vec![1, 268_435_455];
    let expected = ["0", "1", "2", "3", "7"].map(|payload| (both.clone(), payload.to_owned()));
    assert_eq!(came, expected, "4 to 6 are above the maximum packet size");
    cage.open();
}

#[test]
fn mosquitto_2_0_12_twenty_thousand_user_properties() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let many = Property::user("a", "b").bytes().repeat(20_000);
    // An optimised build is held to the figure, a debug build to ten times it.
    let time_max = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 });
    let mut subscriber = stage.client(V5, "sub");
    subscriber.subscribe(&stage.topic("t"), 0);
    let mut client = stage.client(V5, "a");
    let publish = Publish::new(stage.topic("t"), "x").with_bytes(&many).qos(1);
    let spent = cage.world.cpu_time_of(|| client.publish(&publish));
    assert!(spent < time_max, "{spent:?} for PUBLISH");
    assert_eq!(subscriber.expect_message("x").properties.len(), 20_000);

    let subscribe = Subscribe::new(1)
        .with_bytes(&many)
        .filter(stage.topic("u"), 0);
    let spent = cage.world.cpu_time_of(|| {
        client.subscribe_with(&subscribe);
    });
    assert!(spent < time_max, "{spent:?} for SUBSCRIBE");
    let connect = stage.connect(V5, "b").with_bytes(&many);
    let spent = cage.world.cpu_time_of(|| {
        stage.open("b", &connect);
    });
    assert!(spent < time_max, "{spent:?} for CONNECT");
    cage.open();
}

#[test]
fn cve_2017_7653_strings_that_are_none_close_and_are_never_passed_on() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let mut observer = stage.client(V5, "observer");
    observer.subscribe(&stage.topic("#"), 0);
    let prefix = stage.topic("");
    for wrong in [
        &b"\xff"[..],
        b"\0",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc3",
    ] {
        let text = request::data([prefix.as_bytes(), wrong].concat());
        let with = |identifier: u8| {
            Publish::new(stage.topic("t"), "x").with_bytes(&[&[identifier], &text[..]].concat())
        };
        let user = [b"\x26\x00\x01a", &text[..]].concat();
        let reason = request::block(&[b"\x1f", &text[..]].concat());
        let packets = [
            Publish::new([prefix.as_bytes(), wrong].concat(), "x").bytes(V5),
            Publish::new(stage.topic("t"), "x")
                .with_bytes(&user)
                .bytes(V5),
            with(0x03).bytes(V5),
            with(0x08).bytes(V5),
            Subscribe::new(1).filter(wrong, 0).bytes(V5),
            request::unsubscribe(V5, 1, &[wrong]),
            request::packet(0xe0, &[&[0], &reason[..]].concat()),
        ];
        for packet in packets {
            let mut client = stage.client(V5, "a");
            client.send(&packet);
            client.expect_closed_with(&[MALFORMED, PROTOCOL_ERROR, 0x90, 0x8f]);
        }
        let mut raw = stage.raw("a");
        raw.send(&Connect::new(V5, wrong).bytes());
        raw.expect_refused(&[MALFORMED, PROTOCOL_ERROR, 0x85]);
    }
    observer.expect_nothing();
    cage.open();
}
