//! TLS as it should not be: old versions, plaintext, garbage.
//!
//! None of it reaches MQTT, and each leaves one line that says what it was.

use super::{expect_one_line, expect_shut_out};
use crate::Cage;
use countersign_tests::mqtt::unhex;
use countersign_tests::prelude::*;
use countersign_tests::raw::PATIENCE;
use countersign_tests::world::Settings;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

/// Sends bytes over plain TCP and reads to the end. Yields our address and what came.
fn tell(broker: SocketAddr, bytes: &[u8]) -> (SocketAddr, Vec<u8>) {
    let mut socket = TcpStream::connect(broker).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    socket.write_all(bytes).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    if let Err(error) = socket.read_to_end(&mut answer) {
        assert_eq!(
            error.kind(),
            ErrorKind::ConnectionReset,
            "not closed: {error}"
        );
    }
    (address, answer)
}

#[test]
fn plaintext_on_the_tls_port_never_reaches_mqtt() {
    let cage = Cage::new();
    let http = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
    let mqtt = Connect::new(V5, "a").bytes();
    for plain in [
        mqtt,
        Connect::new(V311, "a").bytes(),
        http,
        b"SSH-2.0-x\r\n".to_vec(),
    ] {
        let (peer, answer) = tell(cage.world.address(), &plain);
        assert_ne!(answer.first(), Some(&0x20), "a CONNACK: {answer:x?}");
        expect_one_line(&cage.world, peer, &["refused", "TLS"]);
    }
    cage.open();
}

/// A ClientHello as TLS 1.0, 1.1 and SSL 3 wrote it: no `supported_versions`.
fn old_hello(minor: u8) -> Vec<u8> {
    let body = [
        vec![3, minor],
        vec![7; 32],
        unhex("00"),                // no session
        unhex("0004 c0 13 00 2f"),  // ECDHE-RSA-AES128-SHA, RSA-AES128-SHA
        unhex("02 01 00"),          // DEFLATE and none
        unhex("0005 000f 0001 01"), // heartbeat, peer may send
    ]
    .concat();
    let len = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let handshake = [&[1, 0][..], &len(&body), &body].concat();
    [&[22, 3, 1][..], &len(&handshake), &handshake].concat()
}

#[test]
fn tls_1_1_and_older_never_reach_mqtt() {
    for tls_min in ["1.3", "1.2"] {
        let cage = Cage::with(&Settings {
            tls_min,
            ..Settings::default()
        });
        for minor in 0..3 {
            let (peer, answer) = tell(cage.world.address(), &old_hello(minor));
            // An alert and nothing else.
            assert_eq!(answer.first(), Some(&21), "{answer:x?}");
            expect_one_line(&cage.world, peer, &["refused", "TLS"]);
        }
        cage.open();
    }
}

/// A ClientHello of today in which these compression methods are offered.
fn hello_with_compression(config: Arc<ClientConfig>, offered: &[u8]) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut hello = Vec::new();
    let mut client = ClientConnection::new(config, name).unwrap();
    client.write_tls(&mut hello).unwrap();
    // Record and handshake header, version, random.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    assert_eq!(hello[at..at + 2], [1, 0], "no compression");
    let len = u8::try_from(offered.len()).unwrap();
    hello.splice(at..at + 2, [&[len], offered].concat());
    let record_len = u16::try_from(hello.len() - 5).unwrap();
    hello[3..5].copy_from_slice(&record_len.to_be_bytes());
    hello[7..9].copy_from_slice(&(record_len - 4).to_be_bytes());
    hello
}

#[test]
fn nothing_is_compressed_below_mqtt() {
    let cage = Cage::with(&Settings {
        tls_min: "1.2",
        ..Settings::default()
    });
    let device = cage.world.authority().device("dev-1");
    for version in [&TLS12, &TLS13] {
        let told = |offered: &[u8]| {
            let hello = hello_with_compression(device.client_config_in(&[version]), offered);
            tell(cage.world.address(), &hello)
        };
        // DEFLATE, where there must be none.
        let (peer, answer) = told(&[1]);
        assert_eq!(answer.first(), Some(&21), "an alert: {answer:x?}");
        expect_one_line(&cage.world, peer, &["refused", "TLS"]);
        let (_, answer) = told(&[1, 0]);
        if version.version == TLS13.version {
            // There is no choice any more (RFC 8446 §4.1.2).
            assert_eq!(answer.first(), Some(&21), "an alert: {answer:x?}");
            continue;
        }
        // None is chosen: the octet behind version, random, session and cipher suite.
        assert_eq!(answer.first(), Some(&22), "a ServerHello: {answer:x?}");
        let session = 5 + 4 + 2 + 32;
        let compression = session + 1 + usize::from(answer[session]) + 2;
        assert_eq!(answer[compression], 0);
    }
    cage.open();
}

#[test]
fn tls_1_2_is_refused_where_only_1_3_is_spoken() {
    let cage = Cage::new();
    let device = cage.world.authority().device("dev-1");
    let (peer, how) = expect_shut_out(&cage.world, device.client_config_in(&[&TLS12]));
    assert!(how.contains("rotocol"), "the client is told: {how}");
    expect_one_line(&cage.world, peer, &["refused", "TLS version"]);
    cage.open();
}

#[test]
fn tls_1_2_is_spoken_where_it_was_chosen_with_the_same_certificates_required() {
    let cage = Cage::with(&Settings {
        tls_min: "1.2",
        ..Settings::default()
    });
    let stage = Stage::on(cage.world.clone());
    let device = cage.world.authority().device(&stage.id("a"));
    for version in [&TLS12, &TLS13] {
        let config = device.client_config_in(&[version]);
        // The second connection resumes the first one's TLS session, and is judged again.
        for _ in 0..2 {
            let raw = Raw::connect_with(cage.world.address(), config.clone()).unwrap();
            let (mut client, connack) = Client::open(raw, &stage.connect(V5, "a"));
            assert_eq!(connack.code, 0);
            assert_eq!(client.raw.tls().protocol_version(), Some(version.version));
            client.expect_alive();
        }
    }
    let flaw = countersign_tests::authority::Flaw::Expired;
    let expired = cage.world.authority().flawed("dev-x", flaw);
    let (peer, how) = expect_shut_out(&cage.world, expired.client_config_in(&[&TLS12]));
    assert!(how.contains("xpired"), "the client is told: {how}");
    expect_one_line(&cage.world, peer, &["refused", "expired"]);
    cage.open();
}

#[test]
fn the_hybrid_key_exchange_is_preferred_and_sessions_are_resumed() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let mut first = stage.raw("a");
    // Tickets come behind the handshake.
    first.send(&stage.connect(V5, "a").bytes());
    first.expect_packet();
    let group = first
        .tls()
        .negotiated_key_exchange_group()
        .map(rustls::crypto::SupportedKxGroup::name);
    assert_eq!(group, Some(rustls::NamedGroup::X25519MLKEM768));
    let mut second = stage.raw("a");
    second.send(&stage.connect(V5, "a").bytes());
    second.expect_packet();
    assert_eq!(
        second.tls().handshake_kind(),
        Some(rustls::HandshakeKind::Resumed)
    );
    cage.open();
}

#[test]
fn records_that_are_none_in_an_open_connection_end_it_alone() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    // Plain MQTT, a heartbeat, a renegotiation's ClientHello, an endless record.
    for garbage in [
        request::pingreq(),
        unhex("18 03 03 00 03 01 40 00"),
        old_hello(3),
        unhex("17 03 03 ff ff"),
        vec![0; 20_000],
    ] {
        let mut client = stage.client(V5, "a");
        client.expect_alive();
        let mut socket = client.raw.socket();
        socket.write_all(&garbage).unwrap();
        // Unless the broker was faster.
        let _ = socket.shutdown(Shutdown::Write);
        client.raw.expect_closed();
    }
    cage.open();
}
