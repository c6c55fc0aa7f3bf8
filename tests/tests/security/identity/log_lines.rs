//! What a peer writes into the log.
//!
//! Whatever it sends, an event is one line, in characters that a terminal shows as they are.

use crate::Cage;
use countersign_tests::authority::device_uri;
use countersign_tests::prelude::*;
use countersign_tests::world::World;

/// A new line that looks like one of ours, an ANSI sequence that clears the screen, marks that
/// turn text round, a bell, a C1 control, a line separator.
const HOSTILE: &str = "x\n2026-01-01T00:00:00Z  INFO listening\r\u{1b}[2J\u{1b}]0;t\u{7}\u{202e}\
                       \u{2066}\u{9b}31m\u{2028}\u{7f}y";

/// Every line is one of the broker's own and holds no character that acts.
fn expect_plain(world: &World) {
    for line in world.log().lines() {
        let acting = line.chars().find(|character| {
            character.is_control()
                || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
                || matches!(character, '\u{2066}'..='\u{2069}')
        });
        assert_eq!(acting, None, "in: {line:?}");
        let level = ["ERROR", "WARN", "INFO"]
            .iter()
            .any(|level| line.contains(level));
        assert!(
            level && line.starts_with("20"),
            "not a line of ours: {line:?}"
        );
        assert!(
            !line.starts_with("2026-01-01T"),
            "a line of the peer's: {line:?}"
        );
    }
}

/// There is one line about this peer.
fn expect_one_line(world: &World, raw: &Raw) {
    let peer = format!("peer={} ", raw.address());
    world.log().expect_line(&[&peer]);
    assert_eq!(world.log().count(&[&peer]), 1);
}

#[test]
fn a_client_id_is_escaped_in_the_log() {
    let stage = super::strict();
    for id in [HOSTILE.to_owned(), "x".repeat(60_000), HOSTILE.repeat(600)] {
        let (mut client, connack) = stage.ask("a", &Connect::new(V5, &id));
        assert_eq!(connack.code, 0x85);
        client.raw.expect_closed();
        expect_one_line(stage.world(), &client.raw);
    }
    expect_plain(stage.world());
}

#[test]
fn a_topic_is_escaped_in_the_log() {
    let stage = super::strict();
    for topic in [HOSTILE.to_owned(), HOSTILE.repeat(600), "x".repeat(65_535)] {
        let mut client = stage.client(V311, "a");
        client.send_publish(&Publish::new(&topic, "x"));
        client.raw.expect_closed();
        expect_one_line(stage.world(), &client.raw);
        let will = stage.connect(V5, "b").will(&Will::new(&topic, "x"));
        let (mut client, connack) = stage.ask("b", &will);
        assert_eq!(connack.code, 0x87);
        client.raw.expect_closed();
        expect_one_line(stage.world(), &client.raw);
    }
    expect_plain(stage.world());
}

#[test]
fn a_certificate_is_escaped_in_the_log() {
    let cage = Cage::new();
    for name in [HOSTILE.to_owned(), "x".repeat(10_000)] {
        let identity = cage
            .world
            .authority()
            .named(name.as_str(), &device_uri("dev-1"));
        let (peer, _) = super::expect_shut_out(&cage.world, identity.client_config());
        super::expect_one_line(&cage.world, peer, &["refused", &identity.fingerprint()]);
        let ascii: String = name.chars().filter(char::is_ascii).collect();
        let identity = cage.world.authority().named("dev-1", &device_uri(&ascii));
        let (peer, _) = super::expect_shut_out(&cage.world, identity.client_config());
        super::expect_one_line(&cage.world, peer, &["refused", &identity.fingerprint()]);
    }
    expect_plain(&cage.world);
    cage.open();
}

#[test]
fn no_secret_of_a_peer_reaches_the_log() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let connect = stage
        .connect(V5, "a")
        .user_name("the user")
        .password("the password");
    stage.open("a", &connect).0.leave();
    let mut raw = stage.raw("a");
    raw.send(&connect.flip(1).bytes());
    raw.expect_refused(&[0x81, 0x82]);
    let mut client = stage.client(V311, "b");
    client.send_publish(&Publish::new(stage.topic("denied/t"), "the payload"));
    client.raw.expect_closed();
    cage.world.log().expect_line(&["denied"]);
    for secret in ["the user", "the password", "the payload"] {
        assert_eq!(cage.world.log().count(&[secret]), 0);
    }
    cage.open();
}
