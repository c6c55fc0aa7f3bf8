//! CVE-2017-7650: device ids that mean something to somebody else.
//!
//! There is one canonical id or a refusal; nothing else reaches a topic, a path or a pattern.

use super::{expect_one_line, expect_shut_out, own, strict};
use crate::Cage;
use countersign_tests::authority::{TRUST_DOMAIN, bmp, device_uri};
use countersign_tests::prelude::*;

#[test]
fn cve_2017_7650_ids_that_are_patterns_paths_or_templates_are_refused() {
    let cage = Cage::new();
    let too_long = "x".repeat(65);
    for id in [
        "+",
        "#",
        "a/b",
        "a/../b",
        "..",
        ".",
        "$x",
        "$SYS",
        ".*",
        "*",
        "%u",
        "%c",
        "%2b",
        "${id}",
        "{device}",
        "a b",
        "a\0b",
        "\0",
        "a\nb",
        "-",
        "_x",
        "",
        "a/",
        "a?b",
        "a#b",
        "a:b",
        "a@b",
        "'; DROP TABLE devices; --",
        "<script>",
        "\u{7f}",
        "\\",
        "a,b",
        &too_long,
    ] {
        let identity = cage.world.authority().named(id, &device_uri(id));
        let (peer, _) = expect_shut_out(&cage.world, identity.client_config());
        expect_one_line(&cage.world, peer, &["refused", &identity.fingerprint()]);
    }
    cage.open();
}

#[test]
fn cve_2017_7650_uris_that_only_look_like_a_device_are_refused() {
    let cage = Cage::new();
    for uri in [
        "spiffe://test.countersign.local/device/",
        "spiffe://test.countersign.local/device",
        "spiffe://test.countersign.local/device//dev-1",
        "spiffe://test.countersign.local/device/dev-1/",
        "spiffe://test.countersign.local/device/dev-1/x",
        "spiffe://test.countersign.local/device/dev-1?x",
        "spiffe://test.countersign.local/device/dev-1#x",
        "spiffe://test.countersign.local/Device/dev-1",
        "spiffe://test.countersign.local/devices/dev-1",
        "spiffe://test.countersign.local/user/dev-1",
        "spiffe://test.countersign.local/dev-1",
        "spiffe://test.countersign.local:8883/device/dev-1",
        "spiffe://admin@test.countersign.local/device/dev-1",
        "spiffe://test.countersign.local.evil/device/dev-1",
        "spiffe:///device/dev-1",
        "https://test.countersign.local/device/dev-1",
        "spiffe:test.countersign.local/device/dev-1",
        "spiffe://test.countersign.local/device/%64ev-1",
        "dev-1",
        "",
    ] {
        let identity = cage.world.authority().named("dev-1", uri);
        let (peer, _) = expect_shut_out(&cage.world, identity.client_config());
        expect_one_line(&cage.world, peer, &["refused", "dev-1"]);
    }
    cage.open();
}

#[test]
fn cve_2017_7650_common_names_that_only_look_like_the_id_are_refused() {
    let cage = Cage::new();
    for common_name in [
        "DEV-1",
        "dev-1 ",
        " dev-1",
        "dev-1\0",
        "dev-1\0.evil",
        "d\u{435}v-1",
        "dev\u{ad}-1",
        "dev\u{2011}1",
        "dev-1\u{301}",
        "dev-\u{661}",
        "",
        "*",
        "dev-1\n",
    ] {
        let identity = cage
            .world
            .authority()
            .named(common_name, &device_uri("dev-1"));
        let (peer, _) = expect_shut_out(&cage.world, identity.client_config());
        expect_one_line(&cage.world, peer, &["refused", &identity.fingerprint()]);
    }
    cage.open();
}

/// An old authority writes its CNs in UTF-16: the same id, or a refusal that says why.
#[test]
fn cve_2017_7650_a_common_name_in_utf_16_is_the_same_id_or_refused() {
    let stage = strict();
    let good = stage
        .world()
        .authority()
        .named(bmp("dev-1"), &device_uri("dev-1"));
    let mut raw = Raw::connect(stage.world().address(), &good);
    raw.send(&Connect::new(V5, "dev-1").bytes());
    match raw.next(countersign_tests::raw::PATIENCE) {
        Next::Packet(frame) => assert_eq!(Connack::read(&frame, V5).code, 0),
        Next::Closed(_) => {
            let peer = format!("peer={} ", raw.address());
            stage
                .world()
                .log()
                .expect_line(&[&peer, "refused", &good.fingerprint()]);
        }
        Next::Silence => panic!("neither admitted nor refused"),
    }
    let wrong = stage
        .world()
        .authority()
        .named(bmp("dev-2"), &device_uri("dev-1"));
    expect_shut_out(stage.world(), wrong.client_config());
}

#[test]
fn ids_that_differ_in_case_only_are_two_devices() {
    let stage = strict();
    let (mut lower, mut upper) = (stage.client(V5, "case"), stage.client(V5, "CASE"));
    lower.subscribe(&own(&stage, "case", "#"), 0);
    let theirs = Subscribe::new(1).filter(own(&stage, "case", "#"), 0);
    assert_eq!(upper.subscribe_with(&theirs).codes, [0x87]);
    upper.send_publish(&Publish::new(own(&stage, "case", "t"), "x").qos(1).id(1));
    assert_eq!(upper.expect_ack(Kind::Puback).code, 0x87);
    lower.expect_nothing();
}

#[test]
fn an_app_and_a_device_of_one_id_are_two() {
    let stage = strict();
    let id = stage.id("both");
    let app = stage.world().authority().app(&id);
    let uri = format!("spiffe://{TRUST_DOMAIN}/device/{id}");
    assert_eq!(uri, device_uri(&id));
    let mut device = stage.client(V5, "both");
    let raw = Raw::connect(stage.world().address(), &app);
    let (mut app, connack) = Client::open(raw, &Connect::new(V5, &id));
    assert_eq!(connack.code, 0);
    device.expect_alive();
    app.subscribe("devices/+/#", 0);
    assert_eq!(
        device
            .subscribe_with(&Subscribe::new(1).filter("devices/+/#", 0))
            .codes,
        [0x87]
    );
}
