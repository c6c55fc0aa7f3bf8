//! Topics that are not permitted.
//!
//! Each filter, message and will is judged; what is refused is neither sent nor kept.

use super::{own, strict};
use countersign_tests::prelude::*;
use countersign_tests::world::{Settings, World};
use std::sync::Arc;

const NOT_AUTHORIZED: u8 = 0x87;

/// CVE-2026-49186, aedes #719: what was retained went out although the filter was refused.
#[test]
fn cve_2026_49186_filters_wider_than_the_permit_get_neither_messages_nor_retained_ones() {
    let stage = strict();
    let mut neighbour = stage.client(V5, "neighbour");
    let secret = own(&stage, "neighbour", "secret");
    neighbour.publish(&Publish::new(&secret, "retained").retain().qos(1));
    let id = stage.id("a");
    let mut client = stage.client(V5, "a");
    for wide in [
        "#".to_owned(),
        "+/#".to_owned(),
        "devices/#".to_owned(),
        "devices/+/#".to_owned(),
        "devices/+/secret".to_owned(),
        format!("+/{id}/#"),
        secret.clone(),
        "$SYS/#".to_owned(),
        "broadcast".to_owned() + "s/#",
    ] {
        for filter in [wide.clone(), format!("$share/g/{wide}")] {
            let subscribe = Subscribe::new(1).filter(&filter, 1);
            assert_eq!(
                client.subscribe_with(&subscribe).codes,
                [NOT_AUTHORIZED],
                "{filter}"
            );
            client.expect_nothing();
        }
    }
    neighbour.publish(&Publish::new(&secret, "live").qos(1));
    client.expect_nothing();
    // Its own is permitted, shared or not.
    client.subscribe(&own(&stage, "a", "#"), 1);
    client.subscribe(&format!("$share/g/{}", own(&stage, "a", "+/x")), 1);
    client.subscribe("broadcast/#", 0);
}

/// dojot #2529.
#[test]
fn dojot_2529_a_forbidden_filter_among_others_is_judged_alone() {
    let stage = strict();
    let mut neighbour = stage.client(V5, "neighbour");
    neighbour.publish(
        &Publish::new(own(&stage, "neighbour", "t"), "x")
            .retain()
            .qos(1),
    );
    for version in BOTH {
        let mut client = stage.client(version, "a");
        let mixed = Subscribe::new(1)
            .filter(own(&stage, "a", "one"), 1)
            .filter(own(&stage, "neighbour", "t"), 1)
            .filter("#", 1)
            .filter(own(&stage, "a", "two"), 1);
        let refused = if version == V5 { NOT_AUTHORIZED } else { 0x80 };
        assert_eq!(
            client.subscribe_with(&mixed).codes,
            [1, refused, refused, 1]
        );
        client.expect_nothing();
        client.send_publish(&Publish::new(own(&stage, "a", "two"), "mine"));
        client.expect_message("mine");
    }
}

#[test]
fn messages_to_forbidden_topics_reach_nobody_and_are_not_retained() {
    let stage = strict();
    let mut neighbour = stage.client(V5, "neighbour");
    neighbour.subscribe(&own(&stage, "neighbour", "#"), 1);
    let mut client = stage.client(V5, "a");
    for topic in [
        own(&stage, "neighbour", "t"),
        "broadcast/x".to_owned(),
        "x".to_owned(),
    ] {
        client.send_publish(&Publish::new(&topic, "0").retain());
        client.send_publish(&Publish::new(&topic, "1").retain().qos(1).id(1));
        assert_eq!(client.expect_ack(Kind::Puback).code, NOT_AUTHORIZED);
        client.send_publish(&Publish::new(&topic, "2").retain().qos(2).id(2));
        assert_eq!(client.expect_ack(Kind::Pubrec).code, NOT_AUTHORIZED);
    }
    neighbour.expect_nothing();
    neighbour.subscribe(&own(&stage, "neighbour", "#"), 1);
    neighbour.subscribe("broadcast/#", 1);
    neighbour.expect_nothing();
}

/// mosquitto 2.0.12, EMQX #10192: what was refused once came through when sent again.
#[test]
fn emqx_10192_a_refused_message_sent_again_with_dup_is_refused_again() {
    let stage = strict();
    let mut neighbour = stage.client(V5, "neighbour");
    neighbour.subscribe(&own(&stage, "neighbour", "#"), 2);
    let mut client = stage.client(V5, "a");
    let refused = Publish::new(own(&stage, "neighbour", "t"), "x")
        .qos(2)
        .id(1);
    client.send_publish(&refused);
    assert_eq!(client.expect_ack(Kind::Pubrec).code, NOT_AUTHORIZED);
    client.send_publish(&refused.dup());
    assert_eq!(client.expect_ack(Kind::Pubrec).code, NOT_AUTHORIZED);
    client.send(&request::ack(Kind::Pubrel, 1));
    assert_eq!(client.expect_ack(Kind::Pubcomp).code, 0x92);
    neighbour.expect_nothing();
}

/// mochi #503.
#[test]
fn mochi_503_a_will_to_a_forbidden_topic_is_refused_and_never_published() {
    let stage = strict();
    let mut neighbour = stage.client(V5, "neighbour");
    neighbour.subscribe(&own(&stage, "neighbour", "#"), 1);
    let will = Will::new(own(&stage, "neighbour", "will"), "x").retain();
    let (mut client, connack) = stage.ask("a", &stage.connect(V5, "a").will(&will));
    assert_eq!(connack.code, NOT_AUTHORIZED);
    client.raw.expect_closed();
    let (mut client, connack) = stage.ask("a", &stage.connect(V311, "a").will(&will));
    assert_eq!(connack.code, 0x05);
    client.raw.expect_closed();
    neighbour.expect_nothing();
    neighbour.subscribe(&own(&stage, "neighbour", "will"), 1);
    neighbour.expect_nothing();
}

/// A subscription that only touches what is denied is granted, and what is denied withheld.
#[test]
fn what_is_denied_under_a_granted_wildcard_is_withheld() {
    let stage = Stage::new();
    let mut publisher = stage.client(V5, "pub");
    let retained = Publish::new(stage.topic("hidden/old"), "hidden")
        .retain()
        .qos(1);
    publisher.publish(&retained);
    let mut client = stage.client(V5, "a");
    client.subscribe(&stage.topic("#"), 1);
    client.subscribe(&format!("$share/{}/{}", stage.id("g"), stage.topic("#")), 1);
    publisher.publish(&Publish::new(stage.topic("hidden/new"), "hidden").qos(1));
    client.expect_nothing();
    let (mut sleeper, _) = stage.lasting(V5, "sleeper");
    sleeper.subscribe(&stage.topic("+/+"), 1);
    sleeper.leave();
    publisher.publish(&Publish::new(stage.topic("hidden/new"), "hidden").qos(1));
    stage.lasting(V5, "sleeper").0.expect_nothing();
}

/// A client id can be chosen freely under `"*"`; what it fills into a filter must not widen it.
#[test]
fn a_client_id_fills_no_more_than_its_level() {
    let policy = "[[rule]]\nname = \"gateway\"\ngroups = [\"devices\"]\nclient_ids = \"*\"\n\
                  publish = [\"legacy/{client}/#\"]\nsubscribe = [\"legacy/{client}/#\"]\n";
    let settings = Settings {
        policy: policy.to_owned(),
        ..Settings::default()
    };
    let stage = Stage::on(Arc::new(World::start_with(&settings)));
    let mut good = stage.open("gateway", &Connect::new(V5, "lamp")).0;
    good.subscribe("legacy/lamp/#", 0);
    for hostile in ["+", "#", "a/b", "$x", "lamp/#", "../lamp", "+/#"] {
        let (mut client, _) = stage.open("gateway", &Connect::new(V5, hostile));
        for filter in [
            "legacy/#",
            "legacy/+/#",
            "legacy/lamp/#",
            &format!("legacy/{hostile}/#"),
        ] {
            let packet = Subscribe::new(1).filter(filter, 0);
            client.send(&packet.bytes(V5));
            let frame = client.raw.expect_packet();
            if frame.kind() == Kind::Suback {
                let code = *frame.body.last().unwrap();
                assert!(code >= 0x80, "{filter} for client id {hostile:?}");
            } else {
                assert_eq!(frame.kind(), Kind::Disconnect, "{frame:?}");
                client = stage.open("gateway", &Connect::new(V5, hostile)).0;
            }
        }
        client.send_publish(&Publish::new("legacy/lamp/x", "x").qos(1).id(1));
        assert_eq!(client.expect_ack(Kind::Puback).code, NOT_AUTHORIZED);
    }
    good.expect_nothing();
}
