//! Silence in every stage between TCP and CONNECT.
//!
//! Each stage has a deadline of its own that no trickle of bytes can move.

use super::{client_hello, time_to_end};
use crate::Cage;
use countersign_tests::prelude::*;
use countersign_tests::world::{Settings, World};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const SHORT: &str = "hello_timeout = '1 s'\nhandshake_timeout = '1 s'\nconnect_timeout = '1 s'";

fn tcp(stage: &Stage, first: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(stage.world().address()).unwrap();
    socket.write_all(first).unwrap();
    socket
}

fn tls(stage: &Stage, first: &[u8]) -> TcpStream {
    let mut raw = stage.raw("a");
    raw.send(first);
    raw.socket()
}

/// A peer silent in each stage.
fn silent_peers(stage: &Stage) -> Vec<(&'static str, TcpStream)> {
    let hello = client_hello(stage);
    let connect = stage.connect(V5, "a").bytes();
    vec![
        ("no bytes", tcp(stage, &[])),
        ("half a ClientHello", tcp(stage, &hello[..hello.len() / 2])),
        ("a ClientHello and no more", tcp(stage, &hello)),
        ("TLS and no CONNECT", tls(stage, &[])),
        ("half a CONNECT", tls(stage, &connect[..connect.len() / 2])),
    ]
}

#[test]
fn a_silent_peer_delays_nobody() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let _silent: Vec<_> = (0..20).flat_map(|_| silent_peers(&stage)).collect();
    let start = Instant::now();
    stage.client(V5, "served").expect_alive();
    let waited = start.elapsed();
    assert!(
        waited < Duration::from_secs(1),
        "a client waited {waited:?}"
    );
    cage.open();
}

/// `SlowITe`, `SlowTT`: the defaults are what is attacked.
#[test]
fn a_silent_peer_is_closed_after_five_seconds_in_every_stage() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let start = Instant::now();
    let silent = silent_peers(&stage);
    thread::scope(|scope| {
        for (what, mut socket) in silent {
            scope.spawn(move || {
                time_to_end(&mut socket, Duration::from_secs(9));
                let lived = start.elapsed();
                assert!(
                    lived > Duration::from_millis(4500),
                    "{what}: closed after {lived:?}"
                );
            });
        }
    });
    cage.open();
}

#[test]
fn a_silent_peer_leaves_one_line_that_says_what_did_not_come() {
    let cage = Cage::with_limits(SHORT);
    let stage = Stage::on(cage.world.clone());
    let words = [
        "ClientHello",
        "ClientHello",
        "handshake",
        "CONNECT",
        "CONNECT",
    ];
    for ((_, mut socket), words) in silent_peers(&stage).into_iter().zip(words) {
        let address = format!("peer={} ", socket.local_addr().unwrap());
        time_to_end(&mut socket, Duration::from_secs(5));
        cage.world.log().expect_line(&[&address, words]);
        assert_eq!(cage.world.log().count(&[&address]), 1);
    }
    cage.open();
}

#[test]
fn a_trickle_of_bytes_does_not_move_a_deadline() {
    let cage = Cage::with_limits(SHORT);
    let stage = Stage::on(cage.world.clone());
    let hello = client_hello(&stage);
    let mut trickling = tcp(&stage, &[]);
    let start = Instant::now();
    for byte in &hello {
        if trickling.write_all(&[*byte]).is_err() || start.elapsed() > Duration::from_secs(4) {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "open for {:?}",
        start.elapsed()
    );

    let mut raw = stage.raw("a");
    let start = Instant::now();
    let connect = stage.connect(V5, "a").user_name("x".repeat(200)).bytes();
    for byte in &connect {
        raw.send(&[*byte]);
        if let Next::Closed(_) = raw.next(Duration::from_millis(50)) {
            break;
        }
    }
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "open for {:?}",
        start.elapsed()
    );
    cage.open();
}

/// sol, CVE-2025-63235: a refused connection must not stay open, even if the peer leaves it so.
#[test]
fn a_refused_connection_ends_within_a_second() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let refused = stage
        .connect(V5, "a")
        .with(&Property::AuthMethod("x".into()))
        .bytes();
    let old = Connect::new(V311, "").resume().bytes();
    for first in [&refused[..], &old, b"\x00\x00", b"\x10\x00"] {
        let waited = time_to_end(&mut tls(&stage, first), Duration::from_secs(3));
        assert!(waited < Duration::from_secs(1), "FIN after {waited:?}");
    }
    for (version, error) in [
        (V5, &b"\x00\x00"[..]),
        (V311, b"\x00\x00"),
        (V5, b"\xe0\x00"),
    ] {
        let mut client = stage.client(version, "a");
        client.send(error);
        let waited = time_to_end(&mut client.raw.socket(), Duration::from_secs(3));
        assert!(waited < Duration::from_secs(1), "FIN after {waited:?}");
    }
    cage.open();
}

#[test]
fn the_keep_alive_of_a_client_is_capped_and_kept() {
    let limits = String::from("keep_alive_max = '1 s'");
    let world = Arc::new(World::start_with(&Settings {
        limits,
        ..Settings::default()
    }));
    let stage = Stage::on(world);
    let mut clients = [0, 2, 65_535].map(|seconds| {
        let name = seconds.to_string();
        let connect = stage.connect(V5, &name).keep_alive(seconds);
        let (client, connack) = stage.open(&name, &connect);
        assert!(
            connack.properties.contains(&Property::ServerKeepAlive(1)),
            "{connack:?}"
        );
        client
    });
    let start = Instant::now();
    for client in &mut clients {
        client.expect_disconnect(0x8d);
    }
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    // 3.1.1 cannot be told; TCP keep-alive finds its dead.
    let (mut old, _) = stage.open("old", &stage.connect(V311, "old").keep_alive(0));
    old.raw.expect_silence(Duration::from_millis(2500));
    old.expect_alive();
}
