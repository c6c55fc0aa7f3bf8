//! Many unfinished connections.
//!
//! Their number is bounded, in all and from one address, and nobody who comes in properly is
//! kept out by them.

use super::{client_hello, tcp_from, time_to_end};
use crate::Cage;
use countersign_tests::prelude::*;
use countersign_tests::raw::PATIENCE;
use rustls::client::Resumption;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// CVE-2023-5632: a broker that polls its half-open connections burns a core.
#[test]
fn cve_2023_5632_five_hundred_half_open_connections_cost_no_cpu_time() {
    let cage = Cage::with_limits("hello_timeout = '60 s'");
    let stage = Stage::on(cage.world.clone());
    let hello = client_hello(&stage);
    let half_open: Vec<TcpStream> = (0..500)
        .map(|number| {
            let mut socket = tcp_from(2, cage.world.address());
            socket.write_all(&hello[..number % hello.len()]).unwrap();
            socket
        })
        .collect();
    let world = cage.world.clone();
    cage.open();
    let spent = world.cpu_time_of(|| sleep(Duration::from_secs(3)));
    assert!(
        spent < Duration::from_millis(90),
        "{spent:?} in 3 s: more than 3 %"
    );
    drop(half_open);
}

#[test]
fn where_all_places_are_taken_the_oldest_without_a_hello_makes_room() {
    let cage = Cage::with_limits("waiting_max = 10");
    let stage = Stage::on(cage.world.clone());
    let mut waiting: Vec<TcpStream> = (0..30).map(|_| tcp_from(2, cage.world.address())).collect();
    let (evicted, stay) = waiting.split_at_mut(20);
    for socket in evicted {
        let waited = time_to_end(socket, Duration::from_secs(4));
        assert!(
            waited < Duration::from_secs(4),
            "an old one is open after {waited:?}"
        );
    }
    stage.client(V5, "served").expect_alive();
    let open = |socket: &mut TcpStream| {
        socket.set_nonblocking(true).unwrap();
        socket
            .peek(&mut [0])
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let still_open = stay.iter_mut().map(open).filter(|open| *open).count();
    assert!(
        still_open >= 8,
        "only {still_open} of the youngest ten are open"
    );
    cage.open();
}

#[test]
fn the_cap_of_an_address_binds_its_unfinished_connections_only() {
    let cage = Cage::with_limits("unfinished_per_address_max = 8");
    let stage = Stage::on(cage.world.clone());
    // Finished ones do not count.
    let mut clients: Vec<Client> = (0..12)
        .map(|number| stage.client(V5, &number.to_string()))
        .collect();
    // These have sent their ClientHello and cannot be evicted.
    let hello = client_hello(&stage);
    let _handshaking: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut socket = tcp_from(3, cage.world.address());
            socket.write_all(&hello).unwrap();
            wait_for_answer(&socket);
            socket
        })
        .collect();
    let waited = time_to_end(&mut tcp_from(3, cage.world.address()), PATIENCE);
    assert!(
        waited < Duration::from_secs(2),
        "one too many is open after {waited:?}"
    );
    // Other addresses are served.
    stage.client(V5, "served").expect_alive();
    clients.iter_mut().for_each(Client::expect_alive);
    cage.open();
}

/// The broker has answered the ClientHello.
fn wait_for_answer(socket: &TcpStream) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(socket.peek(&mut [0]).unwrap() > 0);
}

#[test]
fn handshakes_beyond_the_maximum_wait_and_are_served_in_the_end() {
    let cage = Cage::with_limits("handshaking_max = 4\nhandshake_timeout = '1 s'");
    let stage = Stage::on(cage.world.clone());
    let hello = client_hello(&stage);
    let _stuck: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut socket = tcp_from(2, cage.world.address());
            socket.write_all(&hello).unwrap();
            wait_for_answer(&socket);
            socket
        })
        .collect();
    // It waits with its ClientHello until the stuck ones have had their second.
    stage.client(V5, "patient").expect_alive();
    cage.open();
}

#[test]
fn handshakes_at_full_speed_delay_nobody() {
    let cage = Cage::new();
    let end = Instant::now() + Duration::from_secs(3);
    let stranger = cage.world.authority().nobody();
    let device = cage.world.authority().device("eager");
    thread::scope(|scope| {
        for number in 0..4 {
            // No session is remembered: every handshake is a full one.
            let known = device.client_config_in(rustls::ALL_VERSIONS);
            let config = if number % 2 == 0 {
                stranger.clone()
            } else {
                known
            };
            let broker = cage.world.address();
            scope.spawn(move || {
                while Instant::now() < end {
                    let mut config = (*config).clone();
                    config.resumption = Resumption::disabled();
                    let _ = Raw::connect_with(broker, Arc::new(config));
                }
            });
        }
    });
    cage.open();
}

#[test]
fn a_thousand_peers_that_come_and_go_leave_nothing_behind() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let hello = client_hello(&stage);
    countersign_tests::rounds::expect_flat_memory(&cage.world, || {
        for number in 0..1000 {
            let mut socket = tcp_from(2, cage.world.address());
            let _ = socket.write_all(&hello[..number % hello.len()]);
        }
        stage.client(V5, "served").expect_alive();
    });
    cage.open();
}
