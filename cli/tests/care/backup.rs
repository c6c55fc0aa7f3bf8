//! `countersign ca backup|restore`.

use crate::{revoke, run, text, world};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const RECIPIENT: &str = "age1lfeyj6zs2dhjc5c0crqpatjxv3phxswx44fq5ae9c0aaxcv5m3tsxtj7el";
const IDENTITY: &str = "\
# made for this test
AGE-SECRET-KEY-1GNSTY0CC68R8WHRR7NLMAA0RUCCNSVRKSRTNP2ZCVV5WT24RQRYQW27PTJ
";

fn private(path: &Path, content: &str) -> String {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    text(path)
}

#[test]
fn a_revoked_device_stays_revoked_whatever_is_restored() {
    let (temp, dir) = world();
    let (out, other) = (
        text(&temp.path().join("ca.age")),
        text(&temp.path().join("other")),
    );
    let identity = private(&temp.path().join("key.txt"), IDENTITY);
    let backup = [
        "ca",
        "backup",
        "--dir",
        &dir,
        "--out",
        &out,
        "--recipient",
        RECIPIENT,
    ];
    let made = run(&[&backup[..], &["--json"]].concat()).ok().json();
    let files = made[0]["files"].as_array().unwrap();
    assert!(
        files.iter().any(|it| it == "ca/registry.sqlite"),
        "{files:?}"
    );
    assert_eq!(run(&backup).code, 5);

    revoke(&dir);
    let list = format!("{dir}/ca/device-ca.crl");
    let restore = [
        "ca",
        "restore",
        &out,
        "--identity",
        &identity,
        "--json",
        "--dir",
    ];
    let same = run(&[&restore[..], &[&dir]].concat()).ok().json();
    assert_eq!(
        (&same[0]["into"], &same[0]["list"]),
        (&"kept".into(), &1.into())
    );
    let new = run(&[&restore[..], &[&other, "--list", &list]].concat())
        .ok()
        .json();
    assert_eq!(
        (&new[0]["into"], &new[0]["revoked"]),
        (&"empty".into(), &1.into())
    );
    for dir in [&dir, &other] {
        let shown = run(&["device", "show", "dev-1", "--dir", dir, "--json"]).ok();
        assert_eq!(shown.json()[0]["state"], "revoked", "{}", shown.out);
        let next = run(&["crl", "publish", "--dir", dir, "--force", "--json"])
            .ok()
            .json();
        assert!(next[0]["number"].as_u64() > Some(1), "{next:?}");
    }
}

#[test]
fn a_passphrase_opens_a_backup_and_another_one_does_not() {
    let (temp, dir) = world();
    let (out, other) = (
        text(&temp.path().join("ca.age")),
        text(&temp.path().join("other")),
    );
    let ours = private(&temp.path().join("ours"), "only ours\n");
    let theirs = private(&temp.path().join("theirs"), "not ours\n");
    let backup = ["ca", "backup", "--dir", &dir, "--out", &out];
    assert_eq!(run(&backup).code, 2);
    run(&[&backup[..], &["--passphrase-file", &ours]].concat()).ok();
    let restore = ["ca", "restore", &out, "--dir", &other];
    assert_eq!(run(&restore).code, 2);
    let wrong = run(&[&restore[..], &["--passphrase-file", &theirs]].concat());
    assert_eq!(wrong.code, 1, "{}", wrong.err);
    let words = run(&[&restore[..], &["--passphrase-file", &ours]].concat())
        .ok()
        .out;
    assert!(words.contains("next: countersign crl publish"), "{words}");
    let elsewhere = text(temp.path());
    let foreign = [
        "ca",
        "restore",
        &out,
        "--dir",
        &elsewhere,
        "--passphrase-file",
        &ours,
    ];
    assert_eq!(run(&foreign).code, 2);
    let missing = [
        "ca",
        "restore",
        "none.age",
        "--dir",
        &other,
        "--passphrase-file",
        &ours,
    ];
    assert_eq!(run(&missing).code, 4);
}

#[test]
fn a_new_passphrase_is_not_short() {
    let (temp, dir) = world();
    let path = |name: &str| text(&temp.path().join(name));
    let passphrase = private(&temp.path().join("passphrase"), "1234567\n");
    let (new, out) = (path("new"), path("out"));
    let root = path("root");
    let domain = ["--trust-domain", "acme.example"];
    let cases: [(&str, &[&str]); 4] = [
        (
            &new,
            &[&["ca", "init", "--dir", &new][..], &domain].concat(),
        ),
        (
            &root,
            &[&["ca", "root", "init", "--dir", &root][..], &domain].concat(),
        ),
        (&out, &["ca", "request", "--dir", &new, "--out", &out]),
        (&out, &["ca", "backup", "--dir", &dir, "--out", &out]),
    ];
    for (made, arguments) in cases {
        let ran = run(&[arguments, &["--passphrase-file", &passphrase]].concat());
        assert_eq!(ran.code, 2, "{arguments:?}");
        let words = "a new passphrase has at least 8 characters, this one 7";
        assert!(ran.err.contains(words), "{}", ran.err);
        assert!(!Path::new(made).exists(), "{arguments:?}");
    }
}
