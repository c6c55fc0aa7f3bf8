//! Strangers and those who are known: what a flood from anywhere cannot take.
//!
//! An address is known once a device has come in from it.

use super::{client_hello, tcp_from, time_to_end};
use crate::Cage;
use countersign_tests::prelude::*;
use countersign_tests::raw::PATIENCE;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn is_open(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let peeked = socket.peek(&mut [0]);
    peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn half_open_strangers_displace_nobody_who_is_known() {
    let cage = Cage::with_limits("waiting_max = 8\nknown_reserve_percent = 50");
    let stage = Stage::on(cage.world.clone());
    // The canary has made this address known.
    let slow: Vec<_> = (0..3).map(|_| tcp_from(1, cage.world.address())).collect();
    let flood: Vec<_> = (0..60)
        .map(|number| tcp_from(2 + number % 20, cage.world.address()))
        .collect();
    stage.client(V5, "served").expect_alive();
    assert!(slow.iter().all(is_open), "one that is known was displaced");
    let left = flood.iter().filter(|socket| is_open(socket)).count();
    assert!(left <= 4, "{left} strangers are in");
    cage.open();
}

#[test]
fn strangers_in_the_middle_of_handshakes_leave_places_for_those_who_are_known() {
    let cage = Cage::with_limits("handshaking_max = 4\nhandshake_timeout = '8 s'");
    let stage = Stage::on(cage.world.clone());
    let hello = client_hello(&stage);
    let stuck: Vec<_> = (0..12)
        .map(|number| {
            let mut socket = tcp_from(2 + number, cage.world.address());
            socket.write_all(&hello).unwrap();
            socket
        })
        .collect();
    // Three of them have their answer, and hold their places.
    let deadline = Instant::now() + PATIENCE;
    let answered = || stuck.iter().filter(|it| !is_open(it)).count();
    while answered() < 3 {
        assert!(Instant::now() < deadline);
    }
    let start = Instant::now();
    stage.client(V5, "served").expect_alive();
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    assert_eq!(answered(), 3, "the fourth place is not theirs");
    cage.open();
}

#[test]
fn strangers_come_at_their_rate_and_those_who_are_known_as_they_like() {
    let limits = "stranger_rate_max = 1\nunfinished_per_address_max = 20";
    let cage = Cage::with_limits(limits);
    let stage = Stage::on(cage.world.clone());
    let come = |from: u8| {
        let came = (0..60).map(|_| {
            let socket = tcp_from(from, cage.world.address());
            drop(socket);
        });
        came.count();
    };
    come(7);
    let waited = time_to_end(&mut tcp_from(7, cage.world.address()), PATIENCE);
    assert!(
        waited < Duration::from_secs(1),
        "it is closed at once: {waited:?}"
    );
    come(1);
    for name in ["a", "b", "c"] {
        stage.client(V5, name).expect_alive();
    }
    let world = cage.world.clone();
    cage.open();
    let turned_away = world.counted("turned_away_rate");
    assert!((30..=41).contains(&turned_away), "{turned_away}");
}

#[test]
fn an_address_has_no_more_connections_than_it_may() {
    let cage = Cage::with_limits("connections_per_address_max = 4");
    let stage = Stage::on(cage.world.clone());
    let connect = |number: usize| {
        let name = number.to_string();
        let identity = cage.world.authority().device(&stage.id(&name));
        let raw = Raw::over(tcp_from(9, cage.world.address()), identity.client_config());
        raw.map(|raw| Client::open(raw, &stage.connect(V5, &name)).0)
    };
    let mut clients: Vec<_> = (0..4).map(|number| connect(number).unwrap()).collect();
    let waited = time_to_end(&mut tcp_from(9, cage.world.address()), PATIENCE);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    assert!(connect(4).is_err(), "finished ones count");
    stage.client(V5, "elsewhere").expect_alive();
    clients.pop().unwrap().leave();
    let deadline = Instant::now() + PATIENCE;
    while connect(5).is_err() {
        assert!(Instant::now() < deadline, "its place is not free");
    }
    clients.iter_mut().for_each(Client::expect_alive);
    let world = cage.world.clone();
    cage.open();
    assert!(world.counted("turned_away_address") >= 2);
}
