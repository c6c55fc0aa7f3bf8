//! Random mutations of every packet.
//!
//! A failure names its seed; the same seed makes the same packets.

use super::every_packet;
use crate::Cage;
use countersign_tests::prelude::*;
use countersign_tests::seeded::{Seeded, mutate};
use std::time::Duration;

/// How many mutants a connection is sent at most, as long as it is not closed.
const BATCH: usize = 8;
const THREADS: usize = 4;

#[test]
fn thousands_of_mutants_of_every_packet_harm_nobody() {
    breed(4_000);
}

#[test]
#[ignore = "long; scripts/test --long runs it"]
fn long_ten_thousand_mutants_of_every_packet_harm_nobody() {
    breed(10_000);
}

/// So many mutants of each kind of packet.
fn breed(count: usize) {
    let cage = Cage::with_limits("connect_timeout = '500 ms'");
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let stage = Stage::on(cage.world.clone());
            scope.spawn(move || {
                let mut random = Seeded::new(seed as u64);
                for (version, packet, share) in shares(&stage, count) {
                    send_mutants((&stage, version), &packet, (share, &mut random));
                }
            });
        }
    });
    cage.open();
}

/// Every good packet, and how many mutants of it are one thread's.
fn shares(stage: &Stage, count: usize) -> Vec<(Version, Vec<u8>, usize)> {
    let of = |version| {
        every_packet(stage, version)
            .into_iter()
            .map(move |it| (version, it))
    };
    let packets: Vec<_> = BOTH.into_iter().flat_map(of).collect();
    let alike = |packet: &[u8]| {
        packets
            .iter()
            .filter(|(_, it)| it[0] >> 4 == packet[0] >> 4)
            .count()
    };
    let share = |packet: &[u8]| count.div_ceil(THREADS * alike(packet));
    packets
        .iter()
        .map(|(version, packet)| (*version, packet.clone(), share(packet)))
        .collect()
}

fn send_mutants(
    (stage, version): (&Stage, Version),
    packet: &[u8],
    (count, random): (usize, &mut Seeded),
) {
    let is_connect = packet[0] == Kind::Connect.head();
    let mut sent = 0;
    while sent < count {
        let mut raw = stage.raw("a");
        if !is_connect {
            raw.send(&stage.connect(version, "a").bytes());
        }
        for _ in 0..BATCH {
            sent += 1;
            if raw.try_send(&mutate(packet, random)).is_err() || is_closed(&mut raw) {
                break;
            }
        }
    }
}

/// What the broker has said so far is taken; it must be well-formed as far as framing goes.
fn is_closed(raw: &mut Raw) -> bool {
    loop {
        match raw.next(Duration::from_millis(1)) {
            Next::Packet(_) => {}
            Next::Closed(_) => return true,
            Next::Silence => return false,
        }
    }
}
