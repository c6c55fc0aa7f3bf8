//! Who may come in, as whom, and what they may do there.
//!
//! The certificate is the identity: whoever has no good one never reaches MQTT, and nobody
//! reaches another's session or topics.

mod authorisation;
mod broken;
mod certificates;
mod files;
mod log_lines;
mod names;
mod sessions;
mod setups;
mod tls;

use countersign_tests::mqtt::request;
use countersign_tests::prelude::*;
use countersign_tests::raw::PATIENCE;
use countersign_tests::stage::Stage;
use countersign_tests::world::World;
use rustls::ClientConfig;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// A TLS connection with this configuration that gets no further: no word of MQTT comes back.
/// Yields our address and how the connection ended.
fn expect_shut_out(world: &World, config: Arc<ClientConfig>) -> (SocketAddr, String) {
    let socket = TcpStream::connect(world.address()).unwrap();
    let address = socket.local_addr().unwrap();
    let mut raw = match Raw::over(socket, config) {
        Ok(raw) => raw,
        Err(error) => return (address, error.to_string()),
    };
    // In TLS 1.3 a client learns of its refusal only when it reads.
    raw.send(&Connect::new(V5, "a").bytes());
    raw.send(&request::pingreq());
    match raw.next(PATIENCE) {
        Next::Closed(how) => (address, how),
        other => panic!("expected to be shut out, found {other:?}"),
    }
}

/// There is one line about this peer, and it holds all of `parts`.
fn expect_one_line(world: &World, peer: SocketAddr, parts: &[&str]) -> String {
    let peer = format!("peer={peer} ");
    let line = world.log().expect_line(&[&peer]);
    for part in parts {
        assert!(line.contains(part), "no {part:?} in: {line}");
    }
    assert_eq!(world.log().count(&[&peer]), 1, "one line for {peer}");
    line
}

/// The policy that is built in, and nothing else.
fn built_in() -> countersign_tests::world::Settings {
    let apps = "[[rule]]\nname = \"apps\"\ngroups = [\"apps\"]\nsubscribe = [\"devices/+/#\"]\n\
                publish = [\"devices/+/commands/#\", \"broadcast/#\"]\n";
    countersign_tests::world::Settings {
        policy: apps.to_owned(),
        ..Default::default()
    }
}

/// A stage on a broker with the built-in policy.
fn strict() -> Stage {
    Stage::on(Arc::new(World::start_with(&built_in())))
}

/// The topic of the device of this name, below its own branch.
fn own(stage: &Stage, name: &str, below: &str) -> String {
    format!("devices/{}/{below}", stage.id(name))
}
