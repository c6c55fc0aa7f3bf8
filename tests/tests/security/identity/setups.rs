//! Set-ups that do not work, and what each side is told.
//!
//! Whoever looks at either end alone finds out what is wrong: the client by an alert or an answer
//! of MQTT, the operator by the log, by the refusals remembered, and by the audit log.

use countersign_tests::authority::{Authority, Flaw};
use countersign_tests::mqtt::unhex;
use countersign_tests::prelude::*;
use countersign_tests::raw::PATIENCE;
use countersign_tests::world::{Settings, World};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::version::TLS12;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

/// What is wrong, what the client finds, and what the broker says: code and words.
type Case = (
    &'static str,
    Attempt,
    &'static str,
    &'static str,
    &'static str,
);

/// What the client does.
enum Attempt {
    /// A handshake with this certificate, and a CONNECT if that succeeds.
    Tls(Arc<ClientConfig>),
    /// The same, asking for another server's name.
    TlsTo(&'static str, Arc<ClientConfig>),
    /// Bytes over plain TCP.
    Tcp(Vec<u8>),
    /// These bytes as a good device.
    Mqtt(Vec<u8>),
}

fn flawed(flaw: Flaw) -> Attempt {
    Attempt::Tls(
        Authority::shared()
            .flawed("dev-flawed", flaw)
            .client_config(),
    )
}

fn named(common_name: &str, uri: &str) -> Attempt {
    Attempt::Tls(Authority::shared().named(common_name, uri).client_config())
}

fn good() -> Arc<ClientConfig> {
    Authority::shared().device("dev-good").client_config()
}

fn with_alpn(protocol: &[u8]) -> Attempt {
    let mut config = (*good()).clone();
    config.alpn_protocols = vec![protocol.to_vec()];
    Attempt::Tls(Arc::new(config))
}

/// A client that knows another authority, whose device certificate is nevertheless ours.
fn distrusting() -> Attempt {
    Attempt::Tls(Authority::new().nobody())
}

/// Whom they are from, when, and what for.
fn provenance() -> Vec<Case> {
    let nobody = Authority::shared().nobody();
    vec![
        (
            "no certificate",
            Attempt::Tls(nobody),
            "CertificateRequired",
            "no-certificate",
            "no certificate",
        ),
        (
            "another authority",
            flawed(Flaw::OtherAuthority),
            "UnknownCA",
            "unknown-authority",
            "Test Device CA 1",
        ),
        (
            "the authority of servers",
            flawed(Flaw::ServerAuthority),
            "UnknownCA",
            "unknown-authority",
            "unknown authority",
        ),
        (
            "expired",
            flawed(Flaw::Expired),
            "CertificateExpired",
            "expired",
            "expired 60 min ago",
        ),
        (
            "not yet valid",
            flawed(Flaw::NotYetValid),
            "CertificateExpired",
            "not-yet-valid",
            "clock",
        ),
        (
            "for servers",
            flawed(Flaw::ServerUsage),
            "UnsupportedCertificate",
            "wrong-certificate",
            "serverAuth",
        ),
        (
            "no extended key usage",
            flawed(Flaw::NoUsage),
            "UnsupportedCertificate",
            "wrong-certificate",
            "extended key usage is missing",
        ),
        (
            "no digitalSignature",
            flawed(Flaw::NoSignature),
            "UnsupportedCertificate",
            "wrong-certificate",
            "digitalSignature",
        ),
        (
            "an authority's",
            flawed(Flaw::IsCa),
            "UnsupportedCertificate",
            "wrong-certificate",
            "an authority's",
        ),
    ]
}

/// Whom they name.
fn names() -> Vec<Case> {
    let domain = "spiffe://test.countersign.local/device/";
    vec![
        (
            "no URI",
            flawed(Flaw::NoUri),
            "AccessDenied",
            "no-identity",
            "no URI",
        ),
        (
            "two URIs",
            flawed(Flaw::TwoUris),
            "AccessDenied",
            "no-identity",
            "2 URI",
        ),
        (
            "CN and URI differ",
            flawed(Flaw::NameDiffers),
            "AccessDenied",
            "no-identity",
            "somebody-else",
        ),
        (
            "another trust domain",
            flawed(Flaw::OtherTrustDomain),
            "AccessDenied",
            "foreign-trust-domain",
            "elsewhere",
        ),
        (
            "a slash in the id",
            named("a/b", &format!("{domain}a/b")),
            "AccessDenied",
            "no-identity",
            "names no device",
        ),
        (
            "a plus as the id",
            named("+", &format!("{domain}+")),
            "AccessDenied",
            "no-identity",
            "names no device",
        ),
        (
            "no id at all",
            named("x", domain),
            "AccessDenied",
            "no-identity",
            "names no device",
        ),
        (
            "another kind",
            named("x", "spiffe://test.countersign.local/robot/x"),
            "AccessDenied",
            "no-identity",
            "/device/",
        ),
        (
            "a URL",
            named("x", "https://test.countersign.local/device/x"),
            "AccessDenied",
            "no-identity",
            "spiffe://",
        ),
    ]
}

/// What is said before and beside them.
fn handshakes() -> Vec<Case> {
    let old = Authority::shared()
        .device("dev-good")
        .client_config_in(&[&TLS12]);
    vec![
        (
            "TLS 1.2",
            Attempt::Tls(old),
            "ProtocolVersion",
            "tls-version",
            "TLS version",
        ),
        (
            "another protocol in TLS",
            with_alpn(b"http/1.1"),
            "NoApplicationProtocol",
            "tls",
            "ALPN",
        ),
        (
            "a client that does not trust us",
            distrusting(),
            "BadSignature",
            "distrusts-us",
            "does not take our certificate",
        ),
        (
            "another server's name",
            Attempt::TlsTo("elsewhere.example", good()),
            "not valid for name",
            "distrusts-us",
            "does not take our certificate",
        ),
    ]
}

fn bytes() -> Vec<Case> {
    let old_hello = |minor: u8| {
        let body = [
            vec![3, minor],
            vec![7; 32],
            unhex("00 0004 c0 13 00 2f 01 00 0005 000f 0001 01"),
        ];
        let body = body.concat();
        let len = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let handshake = [&[1, 0][..], &len(&body), &body].concat();
        Attempt::Tcp([&[22, 3, 1][..], &len(&handshake), &handshake].concat())
    };
    let http = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    vec![
        (
            "TLS 1.0",
            old_hello(1),
            "15 03",
            "tls-version",
            "TLS version",
        ),
        (
            "TLS 1.1",
            old_hello(2),
            "15 03",
            "tls-version",
            "TLS version",
        ),
        (
            "MQTT without TLS",
            Attempt::Tcp(Connect::new(V5, "a").bytes()),
            "15 03",
            "not-tls",
            "not a TLS",
        ),
        ("HTTP", Attempt::Tcp(http), "15 03", "not-tls", "not a TLS"),
        (
            "garbage",
            Attempt::Tcp(vec![0x5a; 300]),
            "15 03",
            "not-tls",
            "not a TLS",
        ),
        (
            "nothing",
            Attempt::Tcp(Vec::new()),
            "",
            "tls",
            "connection lost",
        ),
    ]
}

fn mqtt() -> Vec<Case> {
    let connect = |id: &str| Connect::new(V5, id);
    let will = |topic: &str| connect("dev-good").will(&Will::new(topic, "x")).bytes();
    let method = connect("dev-good").with(&Property::AuthMethod("x".into()));
    vec![
        (
            "another device's client id",
            Attempt::Mqtt(connect("dev-other").bytes()),
            "85 client id \"dev-other\"",
            "client-id",
            "dev-other",
        ),
        (
            "a will elsewhere",
            Attempt::Mqtt(will("devices/dev-other/x")),
            "87 the client may not publish its will",
            "policy",
            "devices/dev-other/x",
        ),
        (
            "a will too deep",
            Attempt::Mqtt(will(&"/".repeat(200))),
            "90 the will's topic has too many levels",
            "quota",
            "levels",
        ),
        (
            "an authentication method",
            Attempt::Mqtt(method.bytes()),
            "8c authentication methods",
            "client-id",
            "the certificate is the identity",
        ),
        (
            "no CONNECT first",
            Attempt::Mqtt(request::pingreq()),
            "closed",
            "protocol",
            "the first packet",
        ),
        (
            "no MQTT in TLS",
            Attempt::Mqtt(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            "closed",
            "protocol",
            "protocol",
        ),
    ]
}

#[test]
fn every_broken_set_up_says_on_both_sides_what_is_wrong() {
    let world = World::start_with(&Settings {
        audit: true,
        ..super::built_in()
    });
    let cases: Vec<Case> = [provenance(), names(), handshakes(), bytes(), mqtt()]
        .into_iter()
        .flatten()
        .collect();
    assert!(cases.len() >= 25);
    let mut peers = Vec::new();
    let mut wrong = Vec::new();
    for (what, attempt, found, code, words) in &cases {
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
