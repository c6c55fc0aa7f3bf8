//! Trust that changes while devices are here: whoever may not be here any more is cut off within
//! a second, and does not come back by a TLS session of before.

mod anchors;
mod asked;
mod expiry;
mod intermediates;
mod policy;
mod reload;
mod revocation;
mod scale;

use crate::Cage;
use countersign_tests::identity::Identity;
use countersign_tests::prelude::*;
use countersign_tests::world::{Settings, World};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// Within this time whoever was revoked is gone.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A broker that is told of trust: by a directory of revocation lists, and by an admin socket.
fn told() -> Settings {
    Settings {
        storage: "directory = 'data'".to_owned(),
        more: "[revocation]\nlists = ['lists']\n[admin]\nsocket = 'admin.sock'".to_owned(),
        tls_min: "1.2",
        ..Settings::default()
    }
}

/// A cage with such a broker.
fn cage() -> Cage {
    Cage::prepared(&told(), |dir| fs::create_dir(dir.join("lists")).unwrap())
}

/// Puts a revocation list in its place, whole.
fn publish_list(world: &World, list: &str) {
    publish_list_as(world, "list", list);
}

/// The same under a name of its own.
fn publish_list_as(world: &World, name: &str, list: &str) {
    let path = world.file(&format!("lists/{name}.crl"));
    let new = world.file("lists/new");
    fs::write(&new, list).unwrap();
    fs::rename(new, path).unwrap();
}

/// Revokes a device by the admin socket. Yields the receipt.
fn revoke(world: &World, device: &str) -> Value {
    let request = json!({
        "revoke": { "target": { "device": device }, "reason": "key-compromise" }
    });
    world.ask(&request)["revoked"].take()
}

/// A client of this device.
fn client(world: &World, version: Version, device: &str) -> Client {
    let identity = world.authority().device(device);
    let raw = Raw::connect(world.address(), &identity);
    let (client, connack) = Client::open(raw, &Connect::new(version, device));
    assert_eq!(connack.code, 0, "{connack:?}");
    client
}

/// Does not come in, in whatever version of TLS: it finds this alert, and the broker says why.
fn expect_shut_out(world: &World, identity: &Identity, alert: &str, why: &str) {
    for version in rustls::ALL_VERSIONS {
        // In a handshake of its own: after a resumption there is no alert to be had.
        let connected = Raw::connect_with(world.address(), identity.client_config_in(&[version]));
        // In TLS 1.3 a client learns of it with the first thing that it reads.
        let how = match connected {
            Ok(mut raw) => raw.expect_closed(),
            Err(error) => error.to_string(),
        };
        assert!(how.contains(alert), "{how}");
    }
    world
        .log()
        .expect_line(&["refused", &identity.fingerprint(), why]);
}

/// The client is told that it may not be here any more, in time.
fn expect_cut(client: &mut Client, code: u8) {
    let begun = Instant::now();
    if client.version == V5 {
        client.expect_disconnect(code);
    }
    client.raw.expect_closed();
    assert!(begun.elapsed() < AT_ONCE, "after {:?}", begun.elapsed());
}
