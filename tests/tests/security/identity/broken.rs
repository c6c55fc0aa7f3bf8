//! Broken set-ups: what a client does, what it finds, and what the broker says of it.

use countersign_tests::authority::{Authority, Flaw};
use countersign_tests::mqtt::unhex;
use countersign_tests::prelude::*;
use rustls::ClientConfig;
use rustls::version::TLS12;
use std::sync::Arc;

/// What is wrong, what the client finds, and what the broker says: code and words.
pub(super) type Case = (
    &'static str,
    Attempt,
    &'static str,
    &'static str,
    &'static str,
);

/// What the client does.
#[derive(Clone)]
pub(super) enum Attempt {
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

pub(super) fn good() -> Arc<ClientConfig> {
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

/// Whom they are from, and when.
pub(super) fn provenance() -> Vec<Case> {
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
            "a wrong signature",
            flawed(Flaw::BadSignature),
            "DecryptError",
            "bad-signature",
            "a signature in the certificate chain is wrong",
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
    ]
}

/// What they are for.
pub(super) fn purposes() -> Vec<Case> {
    vec![
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
pub(super) fn names() -> Vec<Case> {
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
pub(super) fn handshakes() -> Vec<Case> {
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

pub(super) fn bytes() -> Vec<Case> {
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

pub(super) fn mqtt() -> Vec<Case> {
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
