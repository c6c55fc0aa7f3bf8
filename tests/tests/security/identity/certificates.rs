//! Certificates with one thing wrong.
//!
//! Each is refused in the handshake, and one line says who came, with what, and what was wrong.

use super::{expect_one_line, expect_shut_out};
use crate::Cage;
use countersign_tests::authority::Flaw;
use countersign_tests::prelude::*;
use countersign_tests::world::{Settings, World};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Every flaw, with words that the reason must hold.
const FLAWS: &[(Flaw, &str)] = &[
    (Flaw::OtherAuthority, "authority"),
    (Flaw::ServerAuthority, "authority"),
    (Flaw::BadSignature, "signature"),
    (Flaw::Expired, "expired"),
    (Flaw::NotYetValid, "not valid for another"),
    (Flaw::ServerUsage, "serverAuth"),
    (Flaw::NoUsage, "extended key usage"),
    (Flaw::NoSignature, "digitalSignature"),
    (Flaw::NameDiffers, "CN"),
    (Flaw::NoUri, "URI"),
    (Flaw::TwoUris, "URI"),
    (Flaw::OtherTrustDomain, "trust domain"),
    (Flaw::IsCa, "authority"),
];

#[test]
fn a_certificate_with_one_thing_wrong_never_reaches_mqtt() {
    let cage = Cage::new();
    for (flaw, words) in FLAWS {
        let identity = cage.world.authority().flawed("dev-flawed", *flaw);
        let (peer, _) = expect_shut_out(&cage.world, identity.client_config());
        let subject = match flaw {
            Flaw::NameDiffers => "somebody-else",
            _ => "dev-flawed",
        };
        let fingerprint = identity.fingerprint();
        expect_one_line(
            &cage.world,
            peer,
            &["refused", subject, &fingerprint, words],
        );
    }
    cage.open();
}

#[test]
fn no_certificate_never_reaches_mqtt() {
    let cage = Cage::new();
    let (peer, how) = expect_shut_out(&cage.world, cage.world.authority().nobody());
    assert!(
        how.contains("ertificate"),
        "the client is told that one is required: {how}"
    );
    let line = expect_one_line(&cage.world, peer, &["refused", "no certificate"]);
    assert!(!line.contains("sha256"), "there is none to name: {line}");
    cage.open();
}

/// The same client with a good certificate comes in: it is the flaw that keeps it out.
#[test]
fn a_certificate_with_nothing_wrong_reaches_mqtt() {
    let stage = Stage::new();
    let identity = stage.world().authority().device("dev-flawed");
    let mut raw = Raw::connect(stage.world().address(), &identity);
    raw.send(&Connect::new(V5, "a").bytes());
    assert_eq!(Connack::read(&raw.expect_packet(), V5).code, 0);
}

#[test]
fn a_refused_certificate_is_refused_every_time() {
    let cage = Cage::new();
    let identity = cage.world.authority().flawed("dev-flawed", Flaw::Expired);
    for _ in 0..5 {
        // One client configuration: had it got a ticket, it would resume.
        let (peer, _) = expect_shut_out(&cage.world, identity.client_config());
        expect_one_line(&cage.world, peer, &["refused", "expired"]);
    }
    cage.open();
}

/// RFC 8446 §4.6.1, golang #77217: a resumed session is not verified again by TLS.
#[test]
fn a_certificate_that_has_expired_is_refused_where_its_session_is_resumed() {
    let cage = Cage::with(&Settings {
        tls_min: "1.2",
        ..Settings::default()
    });
    let time = Duration::from_secs(4);
    let identity = cage.world.authority().short_lived("dev-short", time);
    let start = Instant::now();
    let tickets = [&TLS12, &TLS13].map(|version| {
        let config = identity.client_config_in(&[version]);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut raw = Raw::connect_with(cage.world.address(), Arc::clone(&config)).unwrap();
            raw.send(&Connect::new(V5, "a").bytes());
            assert_eq!(Connack::read(&raw.expect_packet(), V5).code, 0);
            assert_eq!(raw.tls().handshake_kind(), Some(kind), "{version:?}");
        }
        config
    });
    // The seconds of a certificate are whole ones.
    sleep((time + Duration::from_secs(1)).saturating_sub(start.elapsed()));
    for config in tickets {
        let (peer, _) = expect_shut_out(&cage.world, config);
        expect_one_line(&cage.world, peer, &["refused", "dev-short", "expired"]);
    }
    cage.open();
}

#[test]
fn a_device_certificate_of_another_trust_domain_is_refused_here() {
    let settings = Settings {
        trust_domain: "elsewhere",
        ..Settings::default()
    };
    let elsewhere = World::start_with(&settings);
    let identity = elsewhere.authority().device("dev-1");
    let (peer, _) = expect_shut_out(&elsewhere, identity.client_config());
    expect_one_line(&elsewhere, peer, &["refused", "dev-1", "trust domain"]);
    // And what was refused there is at home here.
    let at_home = elsewhere
        .authority()
        .flawed("dev-2", Flaw::OtherTrustDomain);
    let mut raw = Raw::connect(elsewhere.address(), &at_home);
    raw.send(&Connect::new(V5, "a").bytes());
    assert_eq!(Connack::read(&raw.expect_packet(), V5).code, 0);
}
