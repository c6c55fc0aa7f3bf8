//! A policy that is narrowed: what was permitted before leads nowhere any more, whether it waits,
//! is in flight or was only promised.

use super::{cage, client};
use countersign_tests::prelude::*;
use countersign_tests::world::World;
use serde_json::json;
use std::fs;

/// Adds a rule for this device, which is in force when this returns.
fn rule(world: &World, device: &str, rule: &str) {
    let path = world.file("policy.toml");
    let policy = fs::read_to_string(&path).unwrap();
    let more = format!("{policy}\n[[rule]]\ndevices = ['{device}']\n{rule}\n");
    fs::write(&path, more).unwrap();
    // Whoever looks at the files may have been faster.
    let answer = world.ask(&json!("reload"));
    assert_eq!(
        answer["reloaded"]["parts"][1]["problems"],
        json!(null),
        "{answer}"
    );
}

/// mochi #503: the permit goes between CONNECT and death.
#[test]
fn mochi_503_a_will_whose_permit_has_gone_is_not_published() {
    let cage = cage();
    let world = &cage.world;
    let mut reader = client(world, V5, "reader");
    reader.subscribe("a/#", 1);
    for (version, device) in [(V5, "dies-5"), (V311, "dies-3")] {
        for (topic, is_denied) in [("a/one", true), ("a/two", false)] {
            let raw = Raw::connect(world.address(), &world.authority().device(device));
            let will = Will::new(topic, "x");
            let (dying, connack) = Client::open(raw, &Connect::new(version, device).will(&will));
            assert_eq!(connack.code, 0, "{connack:?}");
            if is_denied {
                rule(world, device, "deny_publish = ['a/one']");
            }
            drop(dying);
        }
        // Of the first one there is no trace before the second.
        assert_eq!(reader.expect_message("x").topic, "a/two");
    }
    reader.expect_nothing();
    cage.open();
}

/// EMQX #10192: the permit goes between PUBLISH and PUBREL. What was taken is delivered, once.
#[test]
fn emqx_10192_a_message_that_was_taken_is_delivered_once_though_its_permit_goes() {
    let cage = cage();
    let world = &cage.world;
    let mut reader = client(world, V5, "reader");
    reader.subscribe("a/#", 2);
    let mut publisher = client(world, V5, "publisher");
    let publish = Publish::new("a/t", "taken").qos(2);
    publisher.send_publish(&publish.clone().id(1));
    assert_eq!(publisher.expect_ack(Kind::Pubrec).code, 0);
    rule(world, "publisher", "deny_publish = ['a/#']");
    publisher.send_publish(&publish.clone().id(1).dup());
    publisher.expect_ack(Kind::Pubrec);
    publisher.send(&request::ack(Kind::Pubrel, 1));
    publisher.expect_ack(Kind::Pubcomp);
    publisher.send_publish(&publish.id(2));
    assert_eq!(publisher.expect_ack(Kind::Pubrec).code, 0x87);
    reader.expect_message("taken");
    reader.expect_nothing();
    cage.open();
}

/// CVE-2021-34434: a subscription that was permitted once, of somebody away and of somebody who has
/// not acknowledged.
#[test]
fn cve_2021_34434_what_waits_and_what_is_in_flight_is_withheld_once_its_permit_has_gone() {
    let cage = cage();
    let world = &cage.world;
    let mut publisher = client(world, V5, "publisher");
    for (version, device) in [(V5, "away-5"), (V311, "away-3")] {
        let connect = Connect::new(version, device).resume().expiry(600);
        let open = || {
            let raw = Raw::connect(world.address(), &world.authority().device(device));
            Client::open(raw, &connect)
        };
        let (mut here, _) = open();
        here.subscribe("a/t", 1);
        here.subscribe("b/t", 1);
        publisher.publish(&Publish::new("a/t", "in flight").qos(1));
        assert_eq!(here.expect_publish().payload, b"in flight");
        drop(here);
        for topic in ["a/t", "b/t"] {
            publisher.publish(&Publish::new(topic, "waits").qos(1));
        }
        rule(world, device, "deny_subscribe = ['a/#']");
        let (mut back, connack) = open();
        assert!(connack.session_present);
        assert_eq!(back.expect_message("waits").topic, "b/t");
        publisher.publish(&Publish::new("a/t", "later").qos(1));
        back.expect_nothing();
    }
    cage.open();
}
