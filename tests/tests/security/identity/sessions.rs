//! Another device's client id: mosquitto #3551 and #3553, CVE-2026-33215, mochi #504.
//!
//! A session belongs to the device; nobody else takes it over, reads it, ends it or changes it.

use super::{own, strict};
use crate::Cage;
use countersign_tests::prelude::*;

/// A victim with a lasting session, a will and a message in its queue, and a stage for it.
fn victim() -> (Stage, Connect) {
    let stage = strict();
    let will = Will::new(own(&stage, "victim", "will"), "the victim's own");
    let connect = stage.connect(V5, "victim").resume().expiry(600);
    let connect = connect.will(&will.with(&Property::WillDelay(1)));
    let (mut client, _) = stage.open("victim", &connect);
    client.subscribe(&own(&stage, "victim", "#"), 1);
    (stage, connect)
}

/// What an intruder may try with the victim's client id.
fn attempts(stage: &Stage) -> Vec<(Connect, u8)> {
    let id = stage.id("victim");
    let will = Will::new(own(stage, "intruder", "will"), "the intruder's");
    vec![
        (Connect::new(V5, &id), 0x85),
        (Connect::new(V5, &id).resume().expiry(600), 0x85),
        (Connect::new(V5, &id).will(&will), 0x85),
        (Connect::new(V311, &id), 0x02),
        (Connect::new(V311, &id).resume(), 0x02),
    ]
}

fn intrude(stage: &Stage) {
    for (connect, code) in attempts(stage) {
        let (mut intruder, connack) = stage.ask("intruder", &connect);
        assert_eq!((connack.code, connack.session_present), (code, false));
        intruder.raw.expect_closed();
    }
}

#[test]
fn another_devices_client_id_does_not_take_its_connection_over() {
    let (stage, connect) = victim();
    let (mut victim, _) = stage.open("victim", &connect);
    intrude(&stage);
    victim.expect_alive();
    victim.send_publish(&Publish::new(own(&stage, "victim", "t"), "x"));
    victim.expect_message("x");
}

#[test]
fn another_devices_client_id_neither_reads_nor_wipes_its_queue() {
    let (stage, connect) = victim();
    let app = stage.world().authority().app(&stage.id("app"));
    let raw = Raw::connect(stage.world().address(), &app);
    let (mut app, _) = Client::open(raw, &Connect::new(V5, stage.id("app")));
    app.publish(&Publish::new(own(&stage, "victim", "commands/go"), "secret").qos(1));
    intrude(&stage);
    let (mut victim, connack) = stage.open("victim", &connect);
    assert!(connack.session_present);
    victim.expect_message("secret");
}

#[test]
fn another_devices_client_id_does_not_change_its_will() {
    let (stage, connect) = victim();
    let app = stage.world().authority().app(&stage.id("app"));
    let raw = Raw::connect(stage.world().address(), &app);
    let (mut app, _) = Client::open(raw, &Connect::new(V5, stage.id("app")));
    app.subscribe("devices/+/will", 0);
    let (victim, _) = stage.open("victim", &connect);
    intrude(&stage);
    app.expect_nothing();
    victim.vanish();
    let will = app.expect_message("the victim's own");
    assert_eq!(will.topic, own(&stage, "victim", "will"));
}

#[test]
fn client_ids_that_merely_begin_like_ones_own_are_not() {
    let stage = strict();
    let id = stage.id("a");
    for good in [
        id.clone(),
        format!("{id}/2"),
        format!("{id}:2"),
        format!("{id}/"),
        format!("{id}:a/b"),
    ] {
        stage.open("a", &Connect::new(V5, good)).0.leave();
    }
    for wrong in [
        format!("{id}2"),
        format!("{id}-2"),
        format!("{id} "),
        format!(" {id}"),
        id.to_uppercase(),
        format!("/{id}"),
        format!("{id}\u{301}"),
        id[1..].to_owned(),
        "#".to_owned(),
    ] {
        let (mut client, connack) = stage.ask("a", &Connect::new(V5, &wrong));
        assert_eq!(connack.code, 0x85, "{wrong:?}");
        client.raw.expect_closed();
    }
}

/// With `client_ids = "*"` two devices hold the same client id side by side.
#[test]
fn one_client_id_of_two_devices_is_two_sessions() {
    let cage = Cage::new();
    let stage = Stage::on(cage.world.clone());
    let connect = Connect::new(V5, stage.id("shared")).resume().expiry(60);
    let (mut one, _) = stage.open("one", &connect);
    let (mut two, connack) = stage.open("two", &connect);
    assert!(!connack.session_present, "it is another session");
    one.expect_alive();
    one.subscribe(&stage.topic("one"), 1);
    two.publish(&Publish::new(stage.topic("one"), "x").qos(1));
    two.expect_nothing();
    one.expect_message("x");
    let (_, connack) = stage.open("two", &Connect::new(V5, stage.id("shared")));
    assert!(!connack.session_present);
    one.expect_alive();
    cage.open();
}
