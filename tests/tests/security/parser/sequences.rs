//! Good packets in bad orders, and connections that fight over one session.
//!
//! There is one session whatever they do, and it costs what one session costs.

use super::every_packet;
use crate::Cage;
use countersign_tests::prelude::*;
use countersign_tests::rounds::expect_flat_memory;
use countersign_tests::seeded::Seeded;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn cve_2024_8376_good_packets_in_random_order_on_two_connections_of_one_session() {
    random_order(300);
}

#[test]
#[ignore = "long; scripts/test --long runs it"]
fn long_cve_2024_8376_good_packets_in_random_order_on_two_connections_of_one_session() {
    random_order(20_000);
}

fn random_order(count: usize) {
    let cage = Cage::with_limits("takeovers_per_minute_max = 1000000");
    let stage = Stage::on(cage.world.clone());
    let mut random = Seeded::new(8376);
    let packets = every_packet(&stage, V5);
    let connect = stage.connect(V5, "a").resume().expiry(60).bytes();
    let mut connections = [stage.raw("a"), stage.raw("a")];
    for _ in 0..count {
        let raw = random.choose_mut(&mut connections);
        let packet = random.choose(&packets);
        let lost = raw.try_send(packet).is_err() || is_closed(raw);
        if lost {
            *raw = stage.raw("a");
            raw.send(&connect);
        }
    }
    // The session is there and whole: what is subscribed arrives.
    let (mut client, _) = stage.lasting(V5, "a");
    client.drain();
    client.subscribe(&stage.topic("after"), 0);
    stage
        .client(V5, "pub")
        .publish(&Publish::new(stage.topic("after"), "x"));
    let arrived = client.drain();
    assert!(
        arrived.iter().any(|frame| frame.kind() == Kind::Publish),
        "{arrived:?}"
    );
    cage.open();
}

fn is_closed(raw: &mut Raw) -> bool {
    loop {
        match raw.next(Duration::from_millis(1)) {
            Next::Packet(_) => {}
            Next::Closed(_) => return true,
            Next::Silence => return false,
        }
    }
}

#[test]
fn cve_2025_59946_takeover_every_20_ms_while_messages_flow() {
    take_over(Duration::from_secs(1));
}

#[test]
#[ignore = "long; scripts/test --long runs it"]
fn long_cve_2025_59946_takeover_every_20_ms_for_a_minute() {
    take_over(Duration::from_secs(20));
}

fn take_over(time: Duration) {
    // Nobody acknowledges: what waits for the session is soon as much as may.
    let cage = Cage::with_limits(
        "queue_len_max = 100\nin_flight_len_max = 10\n\
                                  takeovers_per_minute_max = 1000000",
    );
    let stage = Stage::on(cage.world.clone());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = stage.client(V5, "pub");
            while !stop.load(Ordering::Relaxed) {
                publisher.publish(&Publish::new(stage.topic("t"), "x".repeat(100)).qos(1));
            }
        });
        expect_flat_memory(&cage.world, || fight(&stage, time));
        stop.store(true, Ordering::Relaxed);
    });
    let (mut last, present) = stage.lasting(V5, "a");
    assert!(present, "one session remains");
    last.drain();
    cage.open();
}

/// Connection after connection takes the session over, subscribes and vanishes behind the next.
fn fight(stage: &Stage, time: Duration) {
    let end = Instant::now() + time;
    let mut older: Option<Client> = None;
    while Instant::now() < end {
        let (mut newer, _) = stage.lasting(V5, "a");
        newer.send(&Subscribe::new(1).filter(stage.topic("t"), 1).bytes(V5));
        drop(older.replace(newer));
        thread::sleep(Duration::from_millis(20));
    }
}
