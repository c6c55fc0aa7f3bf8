//! Who does not read and is to go, goes: the broker's last word need not be heard.
//!
//! A connection that was taken over, revoked or told of the end is gone within a second, whatever
//! keep-alive it has and however much waits for it.

use crate::Cage;
use countersign_tests::prelude::*;
use socket2::{Domain, Socket, Type};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SMALL: &str = "outbox_bytes_max = '256 KiB'\nin_flight_bytes_max = '256 KiB'";

/// A subscriber without keep-alive that reads nothing any more, and to which so much was said that
/// its socket takes nothing more.
fn blocked(stage: &Stage, version: Version) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&stage.world().address().into()).unwrap();
    let identity = stage.world().authority().device(&stage.id("deaf"));
    let raw = Raw::over(socket.into(), identity.client_config()).unwrap();
    let (mut deaf, _) = Client::open(raw, &stage.connect(version, "deaf").keep_alive(0));
    deaf.subscribe(&stage.topic("t"), 0);
    let mut publisher = stage.client(V5, "pub");
    let publish = Publish::new(stage.topic("t"), "x".repeat(60_000));
    for _ in 0..300 {
        publisher.send_publish(&publish);
    }
    publisher.expect_alive();
    let socket = deaf.raw.socket();
    // Its other end stays open.
    std::mem::forget(deaf);
    socket
}

/// How long until the socket was reset. Nothing is read for it.
fn time_to_reset(socket: &TcpStream) -> Duration {
    let start = Instant::now();
    while socket.take_error().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(5), "it stays");
        sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

#[test]
fn a_blocked_connection_that_is_taken_over_is_gone_within_a_second() {
    for version in BOTH {
        let cage = Cage::with_limits(SMALL);
        let stage = Stage::on(cage.world.clone());
        let socket = blocked(&stage, version);
        assert!(socket.take_error().unwrap().is_none());
        let mut newer = stage.client(version, "deaf");
        let waited = time_to_reset(&socket);
        assert!(waited < Duration::from_secs(1), "{version:?}: {waited:?}");
        newer.expect_alive();
        let world = cage.world.clone();
        cage.open();
        assert_eq!(world.counted("cut_off"), 1);
    }
}

#[test]
fn blocked_connections_do_not_hold_up_the_end_of_the_broker() {
    let cage = Cage::with_limits(SMALL);
    let stage = Stage::on(cage.world.clone());
    let socket = blocked(&stage, V5);
    let world = cage.world.clone();
    cage.open();
    let start = Instant::now();
    world.ask_to_stop();
    time_to_reset(&socket);
    world.expect_end();
    let took = start.elapsed();
    // Others are given nine tenths of a second to close their side.
    assert!(took < Duration::from_secs(2), "{took:?}");
}
