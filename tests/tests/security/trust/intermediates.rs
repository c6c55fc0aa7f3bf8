//! Authorities between an anchor and its devices: their lists are believed where operators name
//! them, and whoever stands below a revoked one is out.

use super::{expect_cut, publish_list_as, told};
use crate::Cage;
use countersign_tests::authority::{Authority, Issuing, Shown, TRUST_DOMAIN};
use countersign_tests::identity::Identity;
use countersign_tests::prelude::*;
use countersign_tests::world::{Settings, World};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};
use serde_json::json;
use std::fs;
use std::sync::Arc;

/// Besides the device CA, everybody below the root comes in.
fn below_root(named: &str) -> Settings {
    let anchor =
        format!("\n[[trust.anchor]]\nfile = 'root.pem'\ntrust_domain = '{TRUST_DOMAIN}'\n");
    let told = told();
    Settings {
        more: told.more + &anchor + named,
        ..told
    }
}

/// A broker that is told of these intermediates.
fn cage(named: &[&Issuing]) -> Cage {
    Cage::prepared(&below_root("intermediates = ['issuing.pem']\n"), |dir| {
        fs::create_dir(dir.join("lists")).unwrap();
        // The lowest first, and the root among them.
        let pem: String = named.iter().rev().map(|it| it.pem()).collect();
        let root = fs::read_to_string(dir.join("root.pem")).unwrap();
        fs::write(dir.join("issuing.pem"), pem + &root).unwrap();
    })
}

fn open(world: &World, identity: &Identity, version: &'static SupportedProtocolVersion) -> Client {
    let raw = Raw::connect_with(world.address(), identity.client_config_in(&[version])).unwrap();
    let (client, connack) = Client::open(raw, &Connect::new(V5, "a"));
    assert_eq!(connack.code, 0, "{connack:?}");
    client
}

/// As elsewhere, of somebody who was revoked.
fn expect_shut_out(world: &World, identity: &Identity, why: &str) {
    super::expect_shut_out(world, identity, "Revoked", why);
}

#[test]
fn a_device_below_an_intermediate_is_cut_off_by_its_list() {
    let root = Authority::shared();
    let issuing = root.issuing("Issuing CA 1");
    let lower = issuing.issuing("Issuing CA 2");
    let cage = cage(&[&issuing, &lower]);
    let world = &cage.world;
    for (number, (issuer, shown)) in (1..).zip([
        (&issuing, Shown::Chain),
        (&issuing, Shown::Leaf),
        (&lower, Shown::Leaf),
    ]) {
        let gone = issuer.device(&format!("gone-{number}"), shown);
        let stays = issuer.device(&format!("stays-{number}"), shown);
        let here = [&TLS12, &TLS13].map(|version| open(world, &stays, version));
        let mut cut = open(world, &gone, &TLS13);
        let name = format!("list-{}", number > 2);
        publish_list_as(world, &name, &issuer.revocation_list(number, &[&gone]));
        expect_cut(&mut cut, 0x98);
        expect_shut_out(world, &gone, "certificate was revoked");
        let [_, mut last] = here;
        last.expect_alive();
    }
    cage.open();
}

#[test]
fn an_intermediate_on_the_list_of_its_root_takes_all_below_it_along() {
    let root = Authority::shared();
    let [lost, sound] = ["Lost CA 1", "Sound CA 1"].map(|name| root.issuing(name));
    let lower = lost.issuing("Lost CA 2");
    let cage = cage(&[&lost, &sound, &lower]);
    let world = &cage.world;
    let below = [
        lost.device("chain", Shown::Chain),
        lost.device("leaf", Shown::Leaf),
        lower.device("lower", Shown::Leaf),
    ];
    let mut here = below.each_ref().map(|it| open(world, it, &TLS13));
    let mut other = open(world, &sound.device("other", Shown::Leaf), &TLS12);
    publish_list_as(world, "root", &root.root_list(1, &[&lost]));
    for (client, identity) in here.iter_mut().zip(&below) {
        expect_cut(client, 0x98);
        expect_shut_out(
            world,
            identity,
            "an authority in the certificate chain was revoked",
        );
    }
    other.expect_alive();
    cage.open();
}

#[test]
fn a_session_of_tls_is_not_resumed_once_an_intermediate_is_revoked() {
    let root = Authority::shared();
    let issuing = root.issuing("Issuing CA 3");
    let cage = cage(&[&issuing]);
    let world = &cage.world;
    let devices = [&TLS12, &TLS13].map(|version| {
        let device = issuing.device("resumes", Shown::Leaf);
        let config = device.client_config_in(&[version]);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let raw = Raw::connect_with(world.address(), Arc::clone(&config)).unwrap();
            let (client, _) = Client::open(raw, &Connect::new(V5, "a"));
            assert_eq!(client.raw.tls().handshake_kind(), Some(kind), "{version:?}");
        }
        (device, config)
    });
    publish_list_as(world, "root", &root.root_list(1, &[&issuing]));
    world.log().expect_line(&["reloaded", "revocation"]);
    for (device, config) in devices {
        if let Ok(mut raw) = Raw::connect_with(world.address(), config) {
            raw.send(&Connect::new(V5, "a").bytes());
            raw.expect_closed();
        }
        let why = "an authority in the certificate chain was revoked";
        world
            .log()
            .expect_line(&["refused", &device.fingerprint(), why]);
    }
    cage.open();
}

#[test]
fn a_list_of_an_authority_that_nobody_named_is_named_and_counts_once_that_is_done() {
    let issuing = Authority::shared().issuing("Issuing CA 4");
    let cage = Cage::prepared(&below_root(""), |dir| {
        fs::create_dir(dir.join("lists")).unwrap();
        fs::write(dir.join("issuing.pem"), issuing.pem()).unwrap();
    });
    let world = &cage.world;
    let device = issuing.device("listed", Shown::Chain);
    let mut here = open(world, &device, &TLS13);
    publish_list_as(world, "issuing", &issuing.revocation_list(1, &[&device]));
    world.log().expect_line(&["not reloaded", "issuing.crl"]);
    here.expect_alive();
    let config = fs::read_to_string(world.file("broker.toml")).unwrap();
    fs::write(
        world.file("broker.toml"),
        config + "intermediates = 'issuing.pem'\n",
    )
    .unwrap();
    expect_cut(&mut here, 0x98);
    assert_eq!(
        world.ask(&json!("status"))["status"]["revocation_lists"][0]["entries"],
        1
    );
    cage.open();
}

#[test]
fn what_is_no_intermediate_of_its_anchor_is_named_and_no_broker_starts() {
    let other = Authority::new().issuing("Issuing CA 1");
    let device = Authority::shared().device("device");
    let cases = [
        (other.pem(), "UnknownAuthority"),
        (device.pem(), "IssuerIsNoAuthority"),
        ("garbage", "NoCertificate"),
    ];
    for (pem, why) in cases {
        let settings = below_root("intermediates = ['issuing.pem']\n");
        let said = World::expect_no_start(&settings, |dir| {
            fs::create_dir(dir.join("lists")).unwrap();
            fs::write(dir.join("issuing.pem"), pem).unwrap();
        });
        assert!(said.contains("issuing.pem") && said.contains(why), "{said}");
    }
}
