//! Anchors that read ids elsewhere than in a URI, beside each other: each names its own devices,
//! and no device of one passes for a device of another.

use super::{expect_shut_out, told};
use countersign_tests::authority::Authority;
use countersign_tests::identity::Identity;
use countersign_tests::prelude::*;
use countersign_tests::world::{Settings, World};
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Authorities of others, and the lines that make them anchors.
struct Foreign {
    authority: Authority,
    domain: &'static str,
    lines: &'static str,
}

fn foreign() -> [Foreign; 3] {
    let new = |domain, lines| Foreign {
        authority: Authority::new(),
        domain,
        lines,
    };
    [
        new("cn", "id_from = 'cn'\nid_prefix = 'cn-'"),
        new("dns", "id_from = 'dns'\nid_prefix = 'dns-'"),
        new(
            "table",
            "id_from = 'fingerprint'\nid_prefix = 'fp-'\nfingerprints = 'table.toml'",
        ),
    ]
}

fn settings(foreign: &[Foreign]) -> Settings {
    let mut told = told();
    for Foreign { domain, lines, .. } in foreign {
        write!(
            told.more,
            "\n[[trust.anchor]]\nfile = '{domain}.pem'\ntrust_domain = '{domain}'\n{lines}\n"
        )
        .unwrap();
    }
    Settings {
        anchor: String::from("id_prefix = 'uri-'"),
        ..told
    }
}

fn write(dir: &Path, foreign: &[Foreign], listed: &Identity) {
    fs::create_dir(dir.join("lists")).unwrap();
    for Foreign {
        authority, domain, ..
    } in foreign
    {
        fs::write(dir.join(format!("{domain}.pem")), authority.device_ca_pem()).unwrap();
    }
    let table = format!("\"{}\" = 'fp-pump'\n", listed.fingerprint());
    fs::write(dir.join("table.toml"), table).unwrap();
}

#[test]
fn each_anchor_names_its_own_devices_and_none_of_anothers() {
    let foreign = foreign();
    let [by_cn, by_dns, by_table] = foreign.each_ref().map(|it| &it.authority);
    let listed = Arc::new(by_table.foreign(&["anything"], &[]));
    let world = World::prepared(&settings(&foreign), |dir| write(dir, &foreign, &listed));
    let ours = world.authority();
    for (identity, id) in [
        (ours.device("uri-pump"), "uri-pump"),
        (by_cn.foreign(&["cn-pump"], &["uri-pump"]).into(), "cn-pump"),
        (
            by_dns.foreign(&["uri-pump"], &["dns-pump.example"]).into(),
            "dns-pump.example",
        ),
        (Arc::clone(&listed), "fp-pump"),
    ] {
        let raw = Raw::connect(world.address(), &identity);
        let (mut client, connack) = Client::open(raw, &Connect::new(V5, id));
        assert_eq!(connack.code, 0, "{id}: {connack:?}");
        client.expect_alive();
        let answer = world.ask(&json!({ "sessions": { "device": id } }));
        assert_eq!(answer["sessions"]["total"], 1, "{id}: {answer}");
    }
    for (identity, why) in [
        (ours.device("cn-pump"), "does not begin with"),
        (
            by_cn.foreign(&["uri-pump"], &[]).into(),
            "does not begin with",
        ),
        (
            by_cn.foreign(&[], &["cn-pump"]).into(),
            "common name is missing",
        ),
        (
            by_dns.foreign(&["dns-a"], &[]).into(),
            "DNS alternative name is missing",
        ),
        (
            by_dns.foreign(&[], &["dns-a", "dns-b"]).into(),
            "more than once",
        ),
        (by_dns.foreign(&[], &["DNS-A"]).into(), "not in lower case"),
        (
            by_table.foreign(&["fp-pump"], &[]).into(),
            "not on the table",
        ),
    ] {
        expect_shut_out(&world, &identity, "AccessDenied", why);
    }
    world.expect_health();
}

#[test]
fn anchors_that_could_give_one_id_to_two_devices_are_refused_at_the_start() {
    let foreign = foreign();
    let listed = foreign[2].authority.foreign(&[], &[]);
    let good = settings(&foreign);
    for (line, instead) in [
        ("id_prefix = 'cn-'", ""),
        ("id_prefix = 'cn-'", "id_prefix = 'dns-'"),
        ("id_prefix = 'cn-'", "id_prefix = 'uri-b'"),
    ] {
        let settings = Settings {
            more: good.more.replace(line, instead),
            anchor: good.anchor.clone(),
            ..told()
        };
        let said = World::expect_no_start(&settings, |dir| write(dir, &foreign, &listed));
        assert!(said.contains("SameIds"), "{said}");
    }
}
