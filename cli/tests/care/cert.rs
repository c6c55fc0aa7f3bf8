//! `countersign cert explain|lint`.

use crate::{revoke, run, world};
use serde_json::json;

#[test]
fn what_was_issued_is_clean_under_its_profile_and_not_under_another() {
    let (_temp, dir) = world();
    for (file, profile) in [
        ("devices/dev-1/cert.pem", "device"),
        ("ca/device-ca.pem", "device-ca"),
        ("ca/server-ca.pem", "server-ca"),
        ("ca.pem", "root"),
    ] {
        let file = format!("{dir}/{file}");
        let clean = run(&["cert", "lint", &file, "--profile", profile]).ok();
        assert!(
            clean.out.contains("next: countersign cert explain"),
            "{}",
            clean.out
        );
        let other = run(&["cert", "lint", &file, "--profile", "app", "--json"]);
        assert_eq!(other.code, 1, "{file}");
        assert_ne!(other.json()[0]["findings"], json!([]));
    }
}

#[test]
fn a_script_can_tell_findings_from_mistakes_and_from_what_is_missing() {
    let (_temp, dir) = world();
    let (file, key) = (format!("{dir}/ca.pem"), format!("{dir}/ca/root.key.pem"));
    let none = format!("{dir}/none.pem");
    for (code, arguments) in [
        (2, vec!["cert", "lint", &file, "--profile", "toaster"]),
        (2, vec!["cert", "lint"]),
        (4, vec!["cert", "lint", &none]),
        (1, vec!["cert", "lint", &key]),
        (2, vec!["cert", "explain", "dev-1"]),
        (4, vec!["cert", "explain", "dev-2", "--dir", &dir]),
        (4, vec!["cert", "explain", "dev-1", "--dir", &none]),
    ] {
        let ran = run(&arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.err);
        assert!(!ran.err.is_empty());
    }
}

#[test]
fn a_certificate_is_explained_by_its_file_and_by_its_device() {
    let (_temp, dir) = world();
    let file = format!("{dir}/devices/dev-1/cert.pem");
    let words = run(&["cert", "explain", &file]).ok().out;
    for part in [
        "the device dev-1 of the trust domain countersign.local",
        "Z, in 36",
        "URI spiffe://countersign.local/device/dev-1",
        "digitalSignature",
        "certificate 2",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(!words.contains("registry"));

    let by_file = run(&["cert", "explain", &file, "--dir", &dir, "--json"])
        .ok()
        .json();
    let by_id = run(&["cert", "explain", "dev-1", "--dir", &dir, "--json"])
        .ok()
        .json();
    assert_eq!((by_file.len(), by_id.len()), (2, 1));
    assert_eq!(by_file[0], by_id[0]);
    assert_eq!(by_id[0]["registry"]["status"], "issued");
    assert_eq!(by_file[1]["registry"]["role"], "device-ca");

    revoke(&dir);
    let revoked = run(&["cert", "explain", &file, "--dir", &dir, "--json"])
        .ok()
        .json();
    assert_eq!(revoked[0]["registry"]["reason"], "key-compromise");

    let (_other, elsewhere) = world();
    let foreign = run(&["cert", "explain", &file, "--dir", &elsewhere])
        .ok()
        .out;
    assert!(foreign.contains("not on record"), "{foreign}");
}
