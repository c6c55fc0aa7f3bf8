//! Quotas: how much one device may have of what all share.
//!
//! One more is refused with 0x97, and what there was stays.

use crate::Cage;
use countersign_tests::prelude::*;

const QUOTA_EXCEEDED: u8 = 0x97;

#[test]
fn twenty_thousand_filters_from_one_device_are_refused_beyond_the_quota() {
    let (quota, count) = (1000, 20_000);
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let mut client = stage.client(V5, "a");
    let numbers: Vec<usize> = (0..count).collect();
    let mut codes = Vec::new();
    for some in numbers.chunks(500) {
        let packet = some.iter().fold(Subscribe::new(1), |packet, number| {
            packet.filter(stage.topic(&number.to_string()), 1)
        });
        codes.extend(client.subscribe_with(&packet).codes);
    }
    let (granted, refused) = codes.split_at(quota);
    assert!(granted.iter().all(|code| *code == 1));
    assert!(refused.iter().all(|code| *code == QUOTA_EXCEEDED));
    // To subscribe again to what one has is no further subscription.
    client.subscribe(&stage.topic("0"), 0);
    client.unsubscribe(&[&stage.topic("1")]);
    client.subscribe(&stage.topic("in its place"), 0);
    let mut old = stage.client(V311, "old");
    let many = (0..1001).fold(Subscribe::new(1), |packet, number| {
        packet.filter(stage.topic(&number.to_string()), 0)
    });
    assert_eq!(old.subscribe_with(&many).codes.last(), Some(&0x80));
    cage.open();
}

#[test]
fn retained_topics_beyond_the_quota_of_a_device_are_refused() {
    retain_many("retained_per_device_max = 100", 100, 150);
}

#[test]
#[ignore = "long; scripts/test --long runs it"]
fn long_twenty_thousand_retained_topics_of_one_device_are_refused_beyond_the_quota() {
    retain_many("", 10_000, 20_000);
}

fn retain_many(limits: &str, quota: usize, count: usize) {
    let cage = Cage::with_limits(limits);
    let stage = Stage::on(cage.world.clone());
    let mut client = stage.client(V5, "a");
    let retained = |number: usize| {
        Publish::new(stage.topic(&number.to_string()), "x")
            .retain()
            .qos(1)
            .id(1)
    };
    let mut retain = |number| {
        client.send_publish(&retained(number));
        client.expect_ack(Kind::Puback).code
    };
    for number in 0..quota {
        assert!(retain(number) < 0x80, "number {number}");
    }
    for number in quota..count {
        assert_eq!(retain(number), QUOTA_EXCEEDED, "number {number}");
    }
    assert!(retain(0) < 0x80, "to replace one takes no further place");
    // Another device has a quota of its own.
    stage.client(V5, "b").publish(&retained(count));
    cage.open();
}

#[test]
fn retained_topics_and_bytes_beyond_the_quota_of_all_are_refused() {
    let cage = Cage::with_limits("retained_len_max = 10\nretained_bytes_max = '1 KiB'");
    let stage = Stage::on(cage.world.clone());
    let mut client = stage.client(V5, "a");
    let mut retain = |name: usize, len: usize| {
        let publish = Publish::new(stage.topic(&name.to_string()), "x".repeat(len));
        client.send_publish(&publish.retain().qos(1).id(1));
        client.expect_ack(Kind::Puback).code
    };
    for number in 0..10 {
        assert!(retain(number, 100) < 0x80);
    }
    assert_eq!(retain(10, 1), QUOTA_EXCEEDED, "an eleventh topic");
    assert_eq!(
        retain(0, 200),
        QUOTA_EXCEEDED,
        "more than 1,024 bytes in all"
    );
    assert!(retain(0, 0) < 0x80, "to clear one is always possible");
    assert!(retain(10, 100) < 0x80, "now there is room");
    cage.open();
}

#[test]
fn sessions_beyond_the_quota_of_a_device_are_refused() {
    open_many("sessions_per_device_max = 50", 50, 60);
}

#[test]
#[ignore = "long; scripts/test --long runs it"]
fn long_twenty_thousand_sessions_of_one_device_are_refused_beyond_the_quota() {
    open_many("", 1000, 20_000);
}

fn open_many(limits: &str, quota: usize, count: usize) {
    let cage = Cage::with_limits(limits);
    let stage = Stage::on(cage.world.clone());
    let session = |number: usize| Connect::new(V5, stage.id(&format!("a:{number}"))).expiry(600);
    for number in 0..quota {
        stage.open("a", &session(number)).0.leave();
    }
    for number in quota..count {
        let (mut client, connack) = stage.ask("a", &session(number));
        assert_eq!(connack.code, QUOTA_EXCEEDED, "session {number}");
        client.raw.expect_closed();
    }
    let (_, connack) = stage.open("a", &session(0).resume());
    assert!(connack.session_present, "what there was stays");
    let mut raw = stage.raw("a");
    raw.send(&Connect::new(V311, stage.id("a:one more")).resume().bytes());
    raw.expect_refused(&[0x02, 0x03, 0x05]);
    stage.client(V5, "b").expect_alive();
    cage.open();
}
