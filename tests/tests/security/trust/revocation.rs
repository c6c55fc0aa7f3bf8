//! Revocation: EMQX #10992 and #9732, mosquitto; golang #77217 and RFC 8446 §4.6.1 for resumption.

use super::{cage, client, expect_cut, publish_list, revoke, told};
use countersign_tests::prelude::*;
use countersign_tests::world::World;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[test]
fn a_revoked_device_is_cut_off_and_told_so_and_comes_in_no_more() {
    let cage = cage();
    for version in BOTH {
        let device = format!("gone-{version:?}");
        let mut gone = client(&cage.world, version, &device);
        let mut other = client(&cage.world, version, "other");
        let receipt = revoke(&cage.world, &device);
        assert_eq!(receipt["sessions_closed"], 1, "{receipt}");
        assert_eq!(receipt["durable"], true, "{receipt}");
        assert!(
            receipt["milliseconds"].as_u64().unwrap() < 1000,
            "{receipt}"
        );
        expect_cut(&mut gone, 0x98);
        other.expect_alive();
        expect_shut_out(&cage.world, &device);
    }
    cage.open();
}

/// Does not come in, and the broker says why.
fn expect_shut_out(world: &World, device: &str) {
    let identity = world.authority().device(device);
    super::expect_shut_out(world, &identity, "Revoked", "(key-compromise)");
}

#[test]
fn a_list_that_appears_cuts_off_those_on_it() {
    let cage = cage();
    let world = &cage.world;
    let (one, two) = (
        world.authority().device("listed-1"),
        world.authority().device("listed-2"),
    );
    let mut first = client(world, V5, "listed-1");
    let mut second = client(world, V311, "listed-2");
    let mut other = client(world, V5, "other");
    publish_list(world, &world.authority().revocation_list(1, &[&one]));
    expect_cut(&mut first, 0x98);
    second.expect_alive();
    let list = world.authority().revocation_list(2, &[&one, &two]);
    publish_list(world, &list);
    expect_cut(&mut second, 0x98);
    other.expect_alive();
    expect_shut_out(world, "listed-1");
    cage.open();
}

#[test]
fn an_old_list_replayed_does_not_bring_a_device_back() {
    let cage = cage();
    let world = &cage.world;
    let device = world.authority().device("listed");
    let old = world.authority().revocation_list(1, &[]);
    publish_list(world, &world.authority().revocation_list(2, &[&device]));
    world.log().expect_line(&["reloaded", "revocation"]);
    expect_shut_out(world, "listed");
    publish_list(world, &old);
    world
        .log()
        .expect_line(&["not reloaded", "list.crl", "numbers only rise"]);
    expect_shut_out(world, "listed");
    // Nor do two lists with one number.
    publish_list(world, &world.authority().revocation_list(2, &[]));
    expect_shut_out(world, "listed");
    fs::remove_file(world.file("lists/list.crl")).unwrap();
    world.ask(&json!("reload"));
    expect_shut_out(world, "listed");
    cage.open();
}

#[test]
fn what_was_revoked_stays_so_when_the_broker_was_killed() {
    let world = World::prepared(&told(), |dir| fs::create_dir(dir.join("lists")).unwrap());
    let listed = world.authority().device("listed");
    let old = world.authority().revocation_list(1, &[]);
    publish_list(&world, &world.authority().revocation_list(2, &[&listed]));
    world.log().expect_line(&["reloaded", "revocation"]);
    assert_eq!(revoke(&world, "told")["already"], false);
    // As a backup may have it.
    publish_list(&world, &old);
    let world = world.restart();
    expect_shut_out(&world, "listed");
    expect_shut_out(&world, "told");
    client(&world, V5, "other").expect_alive();
}

#[test]
fn a_session_of_tls_is_not_resumed_once_its_device_is_revoked() {
    let cage = cage();
    let world = &cage.world;
    let versions: [&'static SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
    for (place, version) in versions.into_iter().enumerate() {
        let id = format!("resumes-{place}");
        let identity = world.authority().device(&id);
        let config = identity.client_config_in(&[version]);
        let open = || {
            let raw = Raw::connect_with(world.address(), Arc::clone(&config)).unwrap();
            let (client, _) = Client::open(raw, &Connect::new(V5, &id));
            client.raw.tls().handshake_kind()
        };
        assert_eq!(open(), Some(HandshakeKind::Full));
        assert_eq!(open(), Some(HandshakeKind::Resumed), "{version:?}");
        revoke(world, &id);
        let again = Raw::connect_with(world.address(), Arc::clone(&config));
        if let Ok(mut raw) = again {
            raw.send(&Connect::new(V5, &id).bytes());
            raw.expect_closed();
        }
        let fingerprint = identity.fingerprint();
        world
            .log()
            .expect_line(&["refused", &fingerprint, "revoked at"]);
    }
    cage.open();
}

#[test]
fn another_key_under_a_revoked_name_is_revoked_and_a_later_certificate_is_not() {
    let cage = cage();
    let world = &cage.world;
    // All certificates here begin a day ago.
    let now = SystemTime::now();
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let request = |time: u64| {
        json!({ "revoke": {
            "target": { "device": "renewed" }, "reason": "superseded", "time": time
        }})
    };
    world.ask(&request(since - 3 * 24 * 3600));
    client(world, V5, "renewed").expect_alive();
    world.ask(&request(since));
    let identity = world.authority().device("renewed");
    let shut_out = Raw::connect_with(world.address(), identity.client_config());
    assert!(shut_out.is_err() || shut_out.is_ok_and(|mut raw| raw.expect_closed() != ""));
    cage.open();
}

#[test]
fn a_list_out_of_date_is_told_of_and_after_its_grace_lets_nobody_new_in() {
    let cage = cage();
    let world = &cage.world;
    let mut here = client(world, V5, "here");
    let hour = Duration::from_hours(1);
    let until = |time| world.authority().list_until(1, (&[], &[]), time);
    publish_list(world, &until(SystemTime::now() - hour));
    world
        .log()
        .expect_line(&["WARN", "revocation list is out of date"]);
    client(world, V5, "newcomer").expect_alive();
    let config = fs::read_to_string(world.file("broker.toml")).unwrap();
    let graceless = config.replace("[revocation]", "[revocation]\ngrace = '1m'");
    fs::write(world.file("broker.toml"), graceless).unwrap();
    world.log().expect_line(&["nobody new is let in"]);
    let late = world.authority().device("late");
    let shut_out = Raw::connect_with(world.address(), late.client_config());
    assert!(shut_out.is_err() || shut_out.is_ok_and(|mut raw| raw.expect_closed() != ""));
    world
        .log()
        .expect_line(&["refused", &late.fingerprint(), "out of date for"]);
    here.expect_alive();
}

#[test]
fn only_its_owner_may_use_the_admin_socket() {
    let cage = cage();
    let mode = fs::metadata(cage.world.file("admin.sock"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let status = cage.world.ask(&json!("status"));
    assert_eq!(status["status"]["own_revocations"], 0, "{status}");
    cage.open();
}
