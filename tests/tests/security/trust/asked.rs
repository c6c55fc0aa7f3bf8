//! What operators ask: who is there, who was refused and why, and what policy says.

use super::{cage, client, revoke, told};
use countersign_tests::prelude::*;
use countersign_tests::world::World;
use serde_json::json;
use std::fs;

#[test]
fn whoever_asks_is_told_who_is_there_and_since_when_from_where() {
    let cage = cage();
    let here = client(&cage.world, V5, "here");
    client(&cage.world, V311, "other").expect_alive();
    let filter = json!({ "sessions": { "device": "here" } });
    let answer = cage.world.ask(&filter);
    let page = &answer["sessions"];
    assert_eq!(page["total"], 1, "{answer}");
    let row = &page["sessions"][0];
    assert_eq!(row["client"], "here", "{answer}");
    assert_eq!(row["mqtt"], "5.0", "{answer}");
    assert_eq!(row["address"], here.raw.address().to_string(), "{answer}");
    cage.open();
}

#[test]
fn whoever_asks_why_somebody_was_refused_is_told() {
    let cage = cage();
    let world = &cage.world;
    revoke(world, "gone");
    let identity = world.authority().device("gone");
    for _ in 0..3 {
        let _ = Raw::connect_with(world.address(), identity.client_config())
            .map(|mut raw| raw.expect_closed());
    }
    world
        .log()
        .expect_line(&["refused", &identity.fingerprint()]);
    for asked in [
        json!({ "device": "gone" }),
        json!({ "address": "127.0.0.1" }),
    ] {
        let answer = world.ask(&json!({ "why": asked }));
        let row = &answer["why"][0];
        assert_eq!(row["reason"], "revoked", "{answer}");
        assert_eq!(row["device"], "gone", "{answer}");
        let words = row["words"].as_str().unwrap();
        assert!(words.contains("revoked at"), "{words}");
    }
    cage.open();
}

#[test]
fn whoever_asks_what_the_policy_says_is_told_which_rule_decides() {
    let cage = cage();
    let ask = |action: &str, topic: &str| {
        let answer = cage.world.ask(&json!({ "explain": {
            "device": "dev-1", "action": action, "topic": topic
        }}));
        answer["explained"].clone()
    };
    let allowed = ask("publish", "anything");
    assert_eq!(allowed["decision"], "allow", "{allowed}");
    assert_eq!(allowed["rule"]["name"], "devices", "{allowed}");
    let denied = ask("publish", "a/denied/b");
    assert_eq!(denied["decision"], "deny", "{denied}");
    let place = denied["rule"]["place"].as_str().unwrap();
    assert!(place.ends_with("policy.toml:2"), "{denied}");
    cage.open();
}

#[test]
fn whoever_asks_what_a_policy_would_cut_is_told_and_nobody_else_notices() {
    let cage = cage();
    let world = &cage.world;
    let (mut stays, mut loses) = (client(world, V5, "stays"), client(world, V311, "loses"));
    stays.subscribe("a/t", 1);
    loses.subscribe("a/t", 1);
    loses.subscribe("b/t", 1);
    let policy = fs::read_to_string(world.file("policy.toml")).unwrap();
    let ask = |rule: &str| {
        let text = format!("{policy}[[rule]]\ndevices = ['loses']\n{rule}\n");
        world.ask(&json!({ "would-cut": { "name": "new.toml", "text": text } }))
    };
    let answer = ask("deny_subscribe = ['a/#']");
    let cut = &answer["would-cut"];
    assert_eq!(
        (&cut["sessions"], &cut["connections"], &cut["subscriptions"]),
        (&json!(0), &json!(0), &json!(1)),
        "{answer}"
    );
    let expected = json!([{
        "device": "loses", "client": "loses", "ends": false, "closes": false,
        "subscriptions": 1, "filters": ["a/t"]
    }]);
    assert_eq!(cut["losses"], expected, "{answer}");
    assert_eq!(
        ask("deny_subscribe = ['c/#']")["would-cut"]["losses"],
        json!([])
    );
    assert_eq!(
        ask("deny_subscribe = 7"),
        json!(null),
        "an error is no answer"
    );
    let mut publisher = client(world, V5, "publisher");
    publisher.publish(&Publish::new("a/t", "1").qos(0));
    for mut client in [stays, loses] {
        client.expect_message("1");
        client.expect_alive();
    }
    cage.open();
}

#[test]
fn where_only_known_devices_come_in_the_others_are_listed() {
    let mut settings = told();
    settings.more += "\n[registry]\nfile = 'registry'\nrequired = true";
    let authority = countersign_tests::authority::Authority::shared();
    let world = World::prepared(&settings, |dir| {
        fs::create_dir(dir.join("lists")).unwrap();
        let export = authority.registry_export(1, &["known"]);
        fs::write(dir.join("registry"), export).unwrap();
    });
    let world = &world;
    let mut known = client(world, V5, "known");
    let stranger = world.authority().device("stranger");
    let config = stranger.client_config_in(rustls::ALL_VERSIONS);
    let _ = Raw::connect_with(world.address(), config).map(|mut raw| raw.expect_closed());
    world
        .log()
        .expect_line(&["refused", &stranger.fingerprint()]);
    let answer = world.ask(&json!({ "unknown": {} }));
    assert_eq!(
        answer["unknown"]["devices"][0]["device"], "stranger",
        "{answer}"
    );
    // Whoever is taken out goes.
    fs::write(world.file("registry"), authority.registry_export(2, &[])).unwrap();
    super::expect_cut(&mut known, 0x87);
    // And an old export brings nobody back.
    let old = authority.registry_export(1, &["known"]);
    fs::write(world.file("registry"), old).unwrap();
    world
        .log()
        .expect_line(&["not reloaded", "registry", "seen before"]);
    world.expect_health();
}
