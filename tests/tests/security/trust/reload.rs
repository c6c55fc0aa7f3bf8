//! Hot reload: each part whole or not at all, and established sessions stay unless the new state
//! forbids them.

use super::{cage, client, expect_cut, told};
use countersign_tests::prelude::*;
use countersign_tests::world::World;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// In place of a file there is none, or a directory.
const MISSING: &str = "(missing)";
const UNREADABLE: &str = "(unreadable)";

#[test]
fn cve_2018_20145_a_file_that_is_no_longer_good_changes_nothing_and_is_named() {
    let cage = cage();
    let world = &cage.world;
    let mut here = client(world, V5, "here");
    let cases = [
        ("policy.toml", "policy", "garbage"),
        ("policy.toml", "policy", ""),
        ("policy.toml", "policy", "[[rule]]\nname = 'cut sho"),
        ("policy.toml", "policy", MISSING),
        ("policy.toml", "policy", UNREADABLE),
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
        match text {
            MISSING => fs::remove_file(&path).unwrap(),
            UNREADABLE => {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
            }
            text => fs::write(&path, text).unwrap(),
        }
        let kept = reload(world, part);
        assert_eq!(kept["outcome"], "kept", "{file}: {kept}");
        let problem = kept["problems"][0].as_str().unwrap();
        assert!(problem.contains(file), "{problem}");
        if text == UNREADABLE {
            fs::remove_dir(&path).unwrap();
        }
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
    let tickets = [&TLS12, &TLS13].map(|version| {
        let device = world.authority().device("resumes");
        let config = device.client_config_in(&[version]);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let raw = Raw::connect_with(world.address(), Arc::clone(&config)).unwrap();
            let (client, _) = Client::open(raw, &Connect::new(V5, "resumes"));
            assert_eq!(client.raw.tls().handshake_kind(), Some(kind), "{version:?}");
        }
        config
    });
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
    for config in tickets {
        let again = Raw::connect_with(world.address(), config);
        assert!(again.is_err() || again.is_ok_and(|mut raw| raw.expect_closed() != ""));
    }
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

/// Replaces the limits in the configuration, and waits until they hold.
fn limit(world: &World, limits: &str) {
    let config = fs::read_to_string(world.file("broker.toml")).unwrap();
    let (before, rest) = config.split_once("[limits]\n").unwrap();
    let (_, behind) = rest.split_once("\n\n").unwrap();
    let changed = format!("{before}[limits]\n{limits}\n\n{behind}");
    fs::write(world.file("broker.toml"), changed).unwrap();
    // Whoever looks at the files may have been faster.
    let answer = world.ask(&json!("reload"));
    assert_eq!(
        answer["reloaded"]["parts"][0]["problems"],
        Value::Null,
        "{answer}"
    );
}

#[test]
fn limits_of_the_door_hold_for_whoever_comes_from_then_on() {
    // No canary could sing while memory is short.
    let world = &World::prepared(&told(), |dir| fs::create_dir(dir.join("lists")).unwrap());
    let mut here = client(world, V5, "here");
    let connect = || {
        let identity = world.authority().device("newcomer");
        Raw::connect_with(world.address(), identity.client_config())
    };
    let is_turned_away = || match connect() {
        Ok(mut raw) => !raw.expect_closed().is_empty(),
        Err(_) => true,
    };
    for (limits, why) in [
        ("connections_max = 1", "too many connections"),
        (
            "connections_per_address_max = 1",
            "too many connections from this address",
        ),
        (
            "memory_bytes_max = '1 MiB'",
            "the broker is short of memory",
        ),
    ] {
        limit(world, limits);
        if limits.starts_with("memory") {
            world.log().expect_line(&["memory is short"]);
        }
        assert!(is_turned_away(), "{limits}");
        let answer = world.ask(&json!({ "why": { "address": "127.0.0.1" } }));
        assert_eq!(answer["why"][0]["words"], why, "{answer}");
        limit(world, "");
        if limits.starts_with("memory") {
            world.log().expect_line(&["there is memory again"]);
        }
        client(world, V5, "newcomer").expect_alive();
        here.expect_alive();
    }
    limit(world, "hello_timeout = '100ms'\nconnect_timeout = '100ms'");
    let begun = Instant::now();
    let mut silent = TcpStream::connect(world.address()).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    connect().unwrap().expect_closed();
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    world
        .log()
        .expect_line(&["no TLS ClientHello within 100ms"]);
    world.log().expect_line(&["no CONNECT within 100ms"]);
    here.expect_alive();
    world.expect_health();
}

/// Whoever is here is slowed down as those who come.
#[test]
fn a_rate_of_publishing_that_is_set_slows_whoever_is_here_and_comes() {
    let cage = cage();
    let world = &cage.world;
    let mut here = client(world, V5, "here");
    let flood = |client: &mut Client| {
        let begun = Instant::now();
        for _ in 0..4 {
            for _ in 0..15 {
                client.publish(&Publish::new("a", "x").qos(0));
            }
            client.expect_alive();
        }
        begun.elapsed()
    };
    assert!(flood(&mut here) < Duration::from_secs(1));
    limit(world, "publish_rate_max = 30");
    // Sixty, of which thirty are free at once.
    assert!(flood(&mut here) > Duration::from_millis(700));
    assert!(flood(&mut client(world, V311, "newcomer")) > Duration::from_millis(700));
    limit(world, "packet_size_max = 64");
    let begun = Instant::now();
    assert!(flood(&mut here) < Duration::from_secs(1));
    let mut small = client(world, V5, "small");
    small.send(&Publish::new("a", vec![b'x'; 100]).bytes(V5));
    small.expect_disconnect(0x95);
    assert!(begun.elapsed() < Duration::from_secs(5));
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
        ("", "listener.address"),
        ("", "limits.disk_bytes_max"),
    ] {
        let config = match what {
            "listener.address" => config.replace("127.0.0.1:0", "127.0.0.1:1"),
            "limits.disk_bytes_max" => {
                config.replace("[limits]", "[limits]\ndisk_bytes_max = '1 GiB'")
            }
            _ => config.clone(),
        };
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
