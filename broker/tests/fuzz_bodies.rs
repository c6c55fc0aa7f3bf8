//! The bodies of the fuzz targets, bounded: policies cut, changed and stuffed at random.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "tests"
)]

use proptest::prelude::*;
use proptest::sample::Index;

#[path = "../fuzz/bodies.rs"]
mod bodies;

const POLICY: &str = "[[role]]\nname = 'r'\nsubscribe = 'a/{client}/#'\ndeny_publish = 'b/{cn}'\n\
    [[group]]\nname = 'g'\nou = 'x*'\nroles = 'r'\n\
    [[rule]]\nname = 'n'\ngroups = ['g', 'devices']\nlisteners = '*'\nclient_ids = '*'\n\
    publish = ['a/+/#', 'b/#', '{cn}']\nqos_max = 1\nretain = false\npayload_bytes_max = 10\n\
    [[rule]]\nwhen = '00:00-04:00'\nsubscribe = ['b/+', '#']\npublish = 'a/#'\nstamp = true\n\
    deny_subscribe = 'b/{device}/{attr.x}'\n";

fn asked() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "", "dev-1", "x", "+", "#", "$SYS", "$share"]);
    let topic = prop::collection::vec(level, 1..5).prop_map(|levels| levels.join("/"));
    prop::collection::vec(topic, 1..8).prop_map(|topics| topics.join("\n"))
}

proptest! {
    #[test]
    fn a_policy_decides_as_it_explains(asked in asked()) {
        bodies::policy(format!("{POLICY}\n---\n{asked}").as_bytes());
    }

    #[test]
    fn a_policy_damaged_anywhere_is_one_or_none(
        place in any::<Index>(),
        octets in prop::collection::vec(any::<u8>(), 0..4),
        asked in asked(),
    ) {
        let mut text = POLICY.as_bytes().to_vec();
        let place = place.index(text.len());
        let end = (place + octets.len()).min(text.len());
        text.splice(place..end, octets);
        text.extend(format!("\n---\n{asked}").bytes());
        bodies::policy(&text);
    }

    #[test]
    fn filters_include_in_a_policy_what_they_include(asked in asked()) {
        bodies::inclusion(asked.as_bytes());
    }
}
