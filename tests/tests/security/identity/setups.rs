//! Set-ups that do not work, and what each side is told.
//!
//! Whoever looks at either end alone finds out what is wrong: the client by an alert or an answer
//! of MQTT, the operator by the log, by the refusals remembered, and by the audit log.

use super::broken::{Attempt, Case, bytes, good, handshakes, mqtt, names, provenance, purposes};
use countersign_tests::authority::Authority;
use countersign_tests::prelude::*;
use countersign_tests::raw::PATIENCE;
use countersign_tests::world::{Settings, World};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

#[test]
fn every_broken_set_up_says_on_both_sides_what_is_wrong() {
    let world = World::start_with(&Settings {
        audit: true,
        ..super::built_in()
    });
    let all = [
        provenance(),
        purposes(),
        names(),
        handshakes(),
        bytes(),
        mqtt(),
    ];
    let cases = all.concat();
    assert!(cases.len() >= 25);
    check(&world, &cases);
}

/// Ids from common names, where a certificate may have any of those.
#[test]
fn every_name_that_is_no_common_name_of_a_device_says_so_on_both_sides() {
    let world = World::start_with(&Settings {
        audit: true,
        anchor: String::from("id_from = 'cn'\nid_prefix = 'cn-'"),
        ..super::built_in()
    });
    let foreign =
        |names: &[&str]| Attempt::Tls(Authority::shared().foreign(names, &[]).client_config());
    let case =
        |what, names: &[&str], words| (what, foreign(names), "AccessDenied", "no-identity", words);
    check(
        &world,
        &[
            case(
                "several CNs",
                &["cn-a", "cn-b"],
                "common name is there more than once",
            ),
            case("no CN", &[], "common name is missing"),
            case("no id in the CN", &["cn-a b"], "\"cn-a b\" is no device id"),
            case("an id of others", &["dn-a"], "does not begin with \"cn-\""),
        ],
    );
}

#[test]
fn a_broker_whose_own_certificate_has_expired_is_told_so_by_its_clients() {
    let settings = Settings {
        audit: true,
        ..super::built_in()
    };
    let expire = |dir: &std::path::Path| Authority::shared().write_expired_broker_files(dir);
    let world = World::prepared(&settings, expire);
    let case = (
        "our certificate has expired",
        Attempt::Tls(good()),
        "certificate expired",
        "distrusts-us",
        "the client finds our certificate expired",
    );
    check(&world, &[case]);
}

/// Lets all of them fail, and looks at what both sides have to say.
fn check(world: &World, cases: &[Case]) {
    let mut peers = Vec::new();
    let mut wrong = Vec::new();
    for (what, attempt, found, code, words) in cases {
        let (peer, how) = make(world.address(), attempt);
        if !how.contains(found) {
            wrong.push(format!("{what}: the client finds {how:?}, not {found:?}"));
        }
        let line = world.log().expect_line(&[&format!("peer={peer} ")]);
        if !line.contains(words) {
            wrong.push(format!("{what}: no {words:?} in {line}"));
        }
        peers.push((what, peer, code, words));
    }
    world.expect_health();
    world.ask_to_stop();
    world.expect_end();
    let audit = std::fs::read_to_string(world.audit_log()).unwrap();
    for (what, peer, code, words) in peers {
        let parts = [
            format!("\"peer\":\"{peer}\""),
            format!("\"code\":\"{code}\""),
        ];
        let holds = |line: &str| parts.iter().all(|part| line.contains(part));
        let escaped = words.replace('"', "\\\"");
        match audit
            .lines()
            .find(|line| line.contains(&parts[0]) && line.contains("\"code\""))
        {
            Some(line) if holds(line) && line.contains(&escaped) => {}
            line => wrong.push(format!(
                "{what}: {parts:?} {words:?} not in the audit log: {line:?}"
            )),
        }
    }
    // Of one address and without a certificate, the same reason is one entry.
    for code in cases.iter().map(|case| case.3) {
        if world
            .log()
            .count(&["refusal {", &format!("\"code\":\"{code}\"")])
            == 0
        {
            wrong.push(format!("{code} is not among the refusals"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    broker::audit::verify(&world.audit_log()).unwrap();
}

/// Yields our address and what we found.
fn make(broker: SocketAddr, attempt: &Attempt) -> (SocketAddr, String) {
    let mut socket = TcpStream::connect(broker).unwrap();
    let peer = socket.local_addr().unwrap();
    let how = match attempt {
        Attempt::Tls(config) => shake_hands(socket, config),
        Attempt::TlsTo(name, config) => shake_hands_with(socket, config, name),
        Attempt::Tcp(bytes) => {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.write_all(bytes).unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            let _ = socket.read_to_end(&mut answer);
            countersign_tests::mqtt::hex(&answer)
        }
        Attempt::Mqtt(bytes) => {
            let mut raw = Raw::over(socket, good()).unwrap();
            raw.send(bytes);
            answer(&mut raw)
        }
    };
    (peer, how)
}

fn shake_hands(socket: TcpStream, config: &Arc<ClientConfig>) -> String {
    match Raw::over(socket, config.clone()) {
        Ok(mut raw) => {
            raw.send(&Connect::new(V5, "dev-good").bytes());
            answer(&mut raw)
        }
        Err(error) => error.to_string(),
    }
}

fn shake_hands_with(mut socket: TcpStream, config: &Arc<ClientConfig>, name: &str) -> String {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut tls = rustls::ClientConnection::new(config.clone(), name).unwrap();
    while tls.is_handshaking() {
        if let Err(error) = tls.complete_io(&mut socket) {
            return error.to_string();
        }
    }
    String::from("it succeeds")
}

/// The answer of MQTT, or the end.
fn answer(raw: &mut Raw) -> String {
    match raw.next(PATIENCE) {
        Next::Packet(frame) => {
            let connack = Connack::read(&frame, V5);
            let words = connack
                .properties
                .iter()
                .find_map(|property| match property {
                    Property::Reason(words) => Some(words.clone()),
                    _ => None,
                });
            format!("{:x} {}", connack.code, words.unwrap_or_default())
        }
        Next::Closed(how) => format!("closed: {how}"),
        Next::Silence => String::from("silence"),
    }
}
