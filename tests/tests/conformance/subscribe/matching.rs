//! Which filters match which topic names: §4.7.
//!
//! The cases run through a broker, for both versions, because routing is where they count.

use countersign_tests::prelude::*;

/// Filter, topic name, whether it matches; below the stage's own first level.
const CASES: &[(&str, &str, bool)] = &[
    ("sport/tennis", "sport/tennis", true),
    ("sport/tennis", "sport/Tennis", false),
    ("sport/tennis", "sport/tennis/player", false),
    ("sport/tennis", "sport", false),
    ("sport/#", "sport", true),
    ("sport/#", "sport/tennis", true),
    ("sport/#", "sport/tennis/player/ranking", true),
    ("sport/#", "sports", false),
    ("sport/#", "sport/", true),
    ("#", "sport/tennis", true),
    ("#", "/", true),
    ("#", "a", true),
    ("sport/+", "sport", false),
    ("sport/+", "sport/", true),
    ("sport/+", "sport/tennis", true),
    ("sport/+", "sport/tennis/player", false),
    ("sport/+/player", "sport/tennis/player", true),
    ("sport/+/player", "sport//player", true),
    ("sport/+/player", "sport/player", false),
    ("+", "finance", true),
    ("+", "", true),
    ("+", "/finance", false),
    ("/+", "/finance", true),
    ("+/+", "/finance", true),
    ("+/+", "a/b", true),
    ("+/+", "a", false),
    ("+/+/#", "a/b", true),
    ("+/+/#", "a", false),
    ("+/tennis/#", "sport/tennis", true),
    ("+/tennis/#", "sport/golf/x", false),
    ("a//b", "a//b", true),
    ("a//b", "a/b", false),
    ("a/", "a/", true),
    ("a/", "a", false),
    ("/a", "/a", true),
    ("/a", "a", false),
    ("/", "/", true),
    ("//", "/", false),
    ("sp ort/\u{e9}", "sp ort/\u{e9}", true),
    ("$inner/+", "$inner/a", true),
    ("+/a", "$inner/a", true),
    ("#", "$inner/a", true),
];

/// [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-3.3.2-3]
#[test]
fn mqtt_4_7_1_2_filters_match_as_the_standard_says() {
    check(V5);
}

#[test]
fn mqtt311_4_7_1_3_filters_match_as_the_standard_says() {
    check(V311);
}

fn check(version: Version) {
    let stage = Stage::new();
    let mut client = stage.client(version, "a");
    for (filter, name, matches) in CASES {
        let (filter, name) = (stage.topic(filter), stage.topic(name));
        client.subscribe(&filter, 0);
        client.send_publish(&Publish::new(&name, "x"));
        let came = client.drain();
        assert_eq!(
            came.len(),
            usize::from(*matches),
            "{filter} on {name}: {came:?}"
        );
        client.unsubscribe(&[&filter]);
    }
}

#[test]
fn mqtt_4_7_2_1_a_leading_wildcard_does_not_match_a_leading_dollar() {
    dollar(V5);
}

#[test]
fn mqtt311_4_7_2_1_a_leading_wildcard_does_not_match_a_leading_dollar() {
    dollar(V311);
}

/// The server itself publishes below `$SYS`, and retains it.
fn dollar(version: Version) {
    let stage = Stage::new();
    let mut system = stage.client(version, "system");
    system.subscribe("$SYS/#", 0);
    assert!(system.expect_publish().topic.starts_with("$SYS/"));
    for filter in ["#", "+/#", "+/broker/#"] {
        let mut wide = stage.client(version, "wide");
        wide.subscribe(filter, 0);
        for frame in wide.drain() {
            let published = Published::read(&frame, version);
            assert!(
                !published.topic.starts_with('$'),
                "{filter} got {}",
                published.topic
            );
        }
    }
}
