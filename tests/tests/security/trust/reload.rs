//! Hot reload: each part whole or not at all, and established sessions stay unless the new state
//! forbids them.

use super::{cage, client, expect_cut};
use countersign_tests::prelude::*;
use countersign_tests::world::World;
use rustls::version::TLS12;
use serde_json::{Value, json};
use std::fs;

/// What a reload made of a part.
fn reload(world: &World, part: &str) -> Value {
    let answer = world.ask(&json!("reload"));
    let parts = answer["reloaded"]["parts"].as_array().unwrap();
    let found = parts.iter().find(|it| it["part"] == part);
    found.unwrap_or_else(|| panic!("{answer}")).clone()
}

#[test]
fn a_policy_that_is_narrowed_ends_subscriptions_and_loses_nobody_a_message() {
    let cage = cage();
    let world = &cage.world;
    let mut narrowed = client(world, V5, "narrowed");
    let mut other = client(world, V5, "other");
    for client in [&mut narrowed, &mut other] {
        client.subscribe("a/t", 1);
        client.subscribe("b/t", 1);
    }
    let mut publisher = client(world, V5, "publisher");
    let rule = "[[rule]]\ndevices = ['narrowed']\ndeny_subscribe = ['a/#']\n";
    let policy = fs::read_to_string(world.file("policy.toml")).unwrap() + rule;
    for number in 0..200 {
        if number == 100 {
            fs::write(world.file("policy.toml"), &policy).unwrap();
            world.log().expect_line(&["reloaded", "policy"]);
        }
        let payload = number.to_string();
        publisher.publish(&Publish::new("a/t", payload.clone()).qos(1));
        publisher.publish(&Publish::new("b/t", payload).qos(1));
    }
    for number in 0..200 {
        for topic in ["a/t", "b/t"] {
            assert_eq!(other.expect_message(number.to_string()).topic, topic);
        }
        if number < 100 {
            assert_eq!(narrowed.expect_message(number.to_string()).topic, "a/t");
        }
        assert_eq!(narrowed.expect_message(number.to_string()).topic, "b/t");
    }
    narrowed.expect_alive();
    cage.open();
}

#[test]
fn cve_2018_20145_a_file_that_is_no_longer_good_changes_nothing_and_is_named() {
    let cage = cage();
    let world = &cage.world;
    let mut here = client(world, V5, "here");
    let cases = [
        ("policy.toml", "policy", "garbage"),
        ("policy.toml", "policy", ""),
        ("device-ca.pem", "anchors", "garbage"),
        ("device-ca.pem", "anchors", ""),
        ("broker/cert.pem", "certificate", "garbage"),
        ("broker/key.pem", "certificate", ""),
        ("lists/list.crl", "revocation", "garbage"),
        ("broker.toml", "limits", "[limits]\nreceive_maximum = 0"),
    ];
    for (file, part, text) in cases {
        let path = world.file(file);
        let before = fs::read(&path).ok();
        fs::write(&path, text).unwrap();
        let kept = reload(world, part);
        assert_eq!(kept["outcome"], "kept", "{file}: {kept}");
        let problem = kept["problems"][0].as_str().unwrap();
        assert!(problem.contains(file), "{problem}");
        match before {
            Some(octets) => fs::write(&path, octets).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        assert_eq!(reload(world, part)["outcome"], "same", "{file}");
        here.expect_alive();
        client(world, V5, "newcomer").expect_alive();
    }
    cage.open();
}

#[test]
fn a_renewed_certificate_of_ours_is_shown_to_newcomers_and_disturbs_nobody() {
    let cage = cage();
    let world = &cage.world;
    let mut here = client(world, V5, "here");
    let before = fs::read(world.file("broker/cert.pem")).unwrap();
    world.authority().write_broker_files(&world.file(""));
    assert_ne!(fs::read(world.file("broker/cert.pem")).unwrap(), before);
    world.log().expect_line(&["reloaded", "certificate"]);
    here.expect_alive();
    client(world, V5, "newcomer").expect_alive();
    cage.open();
}

#[test]
fn devices_of_an_anchor_that_is_removed_are_closed_and_shut_out() {
    let cage = cage();
    let world = &cage.world;
    let mut here = client(world, V5, "here");
    let other = countersign_tests::authority::Authority::new();
    let directory = world.file("other");
    other.write_broker_files(&directory);
    fs::copy(directory.join("device-ca.pem"), world.file("device-ca.pem")).unwrap();
    expect_cut(&mut here, 0x87);
    let identity = world.authority().device("here");
    let shut_out = Raw::connect_with(world.address(), identity.client_config());
    assert!(shut_out.is_err() || shut_out.is_ok_and(|mut raw| raw.expect_closed() != ""));
    world
        .log()
        .expect_line(&["refused", &identity.fingerprint(), "unknown authority"]);
}

#[test]
fn limits_hold_for_what_comes_from_then_on() {
    let cage = cage();
    let world = &cage.world;
    let mut here = client(world, V5, "here");
    here.subscribe("a", 0);
    let config = fs::read_to_string(world.file("broker.toml")).unwrap();
    let narrow = config.replace("[limits]", "[limits]\nsubscriptions_max = 1");
    fs::write(world.file("broker.toml"), narrow).unwrap();
    world.log().expect_line(&["reloaded", "limits"]);
    let suback = here.subscribe_with(&Subscribe::new(0).filter("b", 0));
    assert_eq!(suback.codes, [0x97]);
    cage.open();
}

#[test]
fn a_listener_speaks_tls_as_its_file_says_from_the_reload_on() {
    let cage = cage();
    let world = &cage.world;
    let mut here = client(world, V5, "here");
    let device = world.authority().device("old-tls");
    let connect = || {
        let config = device.client_config_in(&[&TLS12]);
        Raw::connect_with(world.address(), config).is_ok()
    };
    assert!(connect());
    let config = fs::read_to_string(world.file("broker.toml")).unwrap();
    let narrow = config.replace("tls_min = '1.2'", "tls_min = '1.3'");
    fs::write(world.file("broker.toml"), narrow).unwrap();
    world.log().expect_line(&["reloaded", "anchors"]);
    assert!(!connect());
    here.expect_alive();
    cage.open();
}

#[test]
fn what_needs_a_restart_is_named_and_nothing_of_the_file_counts() {
    let cage = cage();
    let world = &cage.world;
    let config = fs::read_to_string(world.file("broker.toml")).unwrap();
    for (section, what) in [
        ("[log]\nlevel = 'debug'", "log"),
        ("[audit]\nfile = 'audit.jsonl'", "audit"),
    ] {
        let changed = config.replace("[limits]", "[limits]\nsubscriptions_max = 1");
        fs::write(world.file("broker.toml"), changed + section).unwrap();
        let kept = reload(world, "limits");
        assert_eq!(kept["outcome"], "kept", "{kept}");
        let problem = kept["problems"][0].as_str().unwrap();
        assert!(problem.starts_with(what), "{problem}");
    }
    let mut client = client(world, V5, "here");
    client.subscribe("a", 0);
    client.subscribe("b", 0);
    cage.open();
}
