//! How fast one device may be: in publishing, in connecting, in taking over.
//!
//! Who is too fast is slowed down first, and told so where that does not help.

use crate::Cage;
use countersign_tests::prelude::*;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_device_that_publishes_too_fast_is_heard_later_and_loses_nothing() {
    let cage = Cage::with_limits("publish_rate_max = 100");
    let stage = Stage::on(cage.world.clone());
    for version in BOTH {
        let name = format!("{version:?}");
        let mut subscriber = stage.client(V5, &format!("sub{name}"));
        subscriber.subscribe(&stage.topic(&name), 0);
        let mut publisher = stage.client(version, &name);
        let start = Instant::now();
        for number in 0..500 {
            let publish = Publish::new(stage.topic(&name), number.to_string()).qos(1);
            publisher.send_publish(&publish.id(number + 1));
        }
        for number in 0..500 {
            subscriber.expect_message(number.to_string());
        }
        let took = start.elapsed();
        assert!(took > Duration::from_millis(2500), "{took:?}");
        assert!(took < Duration::from_secs(12), "{took:?}");
        for number in 0..500 {
            publisher.expect_success(Kind::Puback, number + 1);
        }
        publisher.expect_alive();
    }
    let world = cage.world.clone();
    cage.open();
    let slowed = world.counted("publishes_slowed");
    assert!(slowed >= 2, "{slowed}");
}

#[test]
fn bytes_have_a_rate_too_and_it_is_the_devices_not_the_connections() {
    let cage = Cage::with_limits("publish_bytes_rate_max = '64 KiB'");
    let stage = Stage::on(cage.world.clone());
    let start = Instant::now();
    let mut clients: Vec<_> = (0..4)
        .map(|number: usize| {
            let connect = Connect::new(V5, stage.id(&format!("a:{number}")));
            stage.open("a", &connect).0
        })
        .collect();
    for round in 0..2 {
        for client in &mut clients {
            let publish = Publish::new(stage.topic("t"), "x".repeat(30_000)).qos(1);
            client.send_publish(&publish.id(round + 1));
        }
    }
    for round in 0..2 {
        for client in &mut clients {
            client.expect_success(Kind::Puback, round + 1);
        }
    }
    // 240,000 bytes; 64 KiB are free at once, and the last message is not waited for.
    let took = start.elapsed();
    assert!(took > Duration::from_millis(500), "{took:?}");
    cage.open();
}

/// Two machines with one certificate.
#[test]
fn a_cloned_key_that_fights_for_its_session_is_slowed_down() {
    let cage = Cage::with_limits("takeovers_per_minute_max = 10");
    let stage = Stage::on(cage.world.clone());
    let mut clients = Vec::new();
    let mut refused = 0;
    for _ in 0..30 {
        let (client, connack) = stage.ask("cloned", &stage.connect(V5, "cloned"));
        match connack.code {
            0 => clients.push(client),
            0x9f => refused += 1,
            other => panic!("{other:x}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!((11..=13).contains(&clients.len()), "{}", clients.len());
    assert!(refused >= 17, "{refused}");
    clients.pop().unwrap().expect_alive();
    // One more may have been forgiven meanwhile.
    let old: Vec<_> = (0..3)
        .map(|_| stage.ask("cloned", &stage.connect(V311, "cloned")))
        .collect();
    let codes: Vec<_> = old.iter().map(|(_, connack)| connack.code).collect();
    assert!(codes.ends_with(&[3, 3]), "{codes:?}");
    let line = cage
        .world
        .log()
        .expect_line(&["refused", "two machines one certificate"]);
    assert!(line.contains("WARN"), "{line}");
    let world = cage.world.clone();
    cage.open();
    assert!(world.counted("connects_refused_takeovers") >= 18);
}

#[test]
fn connections_of_a_device_and_sessions_of_all_have_a_maximum() {
    let cage = Cage::with_limits("connections_per_device_max = 3\nsessions_max = 9");
    let stage = Stage::on(cage.world.clone());
    let named = |version, name: String| Connect::new(version, stage.id(&name));
    let _three: Vec<_> = (0..3)
        .map(|number: usize| stage.open("a", &named(V5, format!("a:{number}"))))
        .collect();
    let (_, connack) = stage.ask("a", &named(V5, "a:3".into()));
    assert_eq!(connack.code, 0x97, "{connack:?}");
    let mut old = stage.raw("a");
    old.send(&named(V311, "a:3".into()).bytes());
    old.expect_hex("20 02 00 03");
    // The canary's two, these three, and four more.
    let _more: Vec<_> = (0..4)
        .map(|number: usize| stage.client(V5, &number.to_string()))
        .collect();
    let (_, connack) = stage.ask("late", &stage.connect(V5, "late"));
    assert_eq!(connack.code, 0x97, "{connack:?}");
    let world = cage.world.clone();
    cage.open();
    assert_eq!(world.counted("connects_refused_connections"), 2);
    assert_eq!(world.counted("connects_refused_sessions"), 1);
}
