//! Files that are not as they must be.
//!
//! A broker that cannot know whom to admit, or to what, does not start, and names the file.

use countersign_tests::world::{Settings, World};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// No broker starts with its files spoilt in this way, and it names this file.
fn check(spoil: impl FnOnce(&Path), names: &str) {
    let said = World::expect_no_start(&Settings::default(), spoil);
    assert!(said.contains(names), "no {names:?} in: {said}");
}

/// Also CVE-2018-12550 and CVE-2018-12551.
#[test]
fn cve_2018_20145_without_a_good_policy_nothing_starts() {
    for text in [
        "",
        "\n\n# nothing\n",
        "garbage",
        "[[rule]]\npublish = [\"#\"",
        "[[rule]]\npubish = [\"#\"]",
    ] {
        check(
            |dir| fs::write(dir.join("policy.toml"), text).unwrap(),
            "policy.toml",
        );
    }
    check(
        |dir| fs::remove_file(dir.join("policy.toml")).unwrap(),
        "policy.toml",
    );
}

#[test]
fn cve_2017_9868_a_key_that_others_can_read_is_refused() {
    for mode in [0o640, 0o604, 0o644, 0o660, 0o666, 0o777] {
        let widen = |dir: &Path| {
            let permissions = Permissions::from_mode(mode);
            fs::set_permissions(dir.join("broker/key.pem"), permissions).unwrap();
        };
        check(widen, "key.pem");
    }
}

#[test]
fn without_an_anchor_or_with_a_broken_one_nothing_starts() {
    check(
        |dir| fs::remove_file(dir.join("device-ca.pem")).unwrap(),
        "device-ca.pem",
    );
    check(
        |dir| fs::write(dir.join("device-ca.pem"), "").unwrap(),
        "device-ca.pem",
    );
    check(
        |dir| fs::write(dir.join("device-ca.pem"), "garbage").unwrap(),
        "device-ca.pem",
    );
}
