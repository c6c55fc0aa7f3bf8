//! `countersign ca root|request|install`: a root on one machine, those that issue on another.

use crate::{Ran, run, text};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// The two machines, and what is carried between them.
struct Machines {
    _temp: TempDir,
    root: String,
    online: String,
    stick: String,
    passphrase: String,
}

impl Machines {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| text(&temp.path().join(name));
        let machines = Self {
            root: path("root"),
            online: path("online"),
            stick: path("stick"),
            passphrase: path("passphrase"),
            _temp: temp,
        };
        fs::create_dir(&machines.stick).unwrap();
        fs::write(&machines.passphrase, "correct horse battery\n").unwrap();
        let private = Permissions::from_mode(0o600);
        fs::set_permissions(&machines.passphrase, private).unwrap();
        machines
    }

    /// A command with the passphrase and an answer in JSON.
    fn run(&self, arguments: &[&str]) -> Ran {
        let more = ["--passphrase-file", &self.passphrase, "--json"];
        run(&[arguments, &more].concat())
    }

    fn carried(&self, name: &str) -> String {
        format!("{}/{name}", self.stick)
    }

    fn make_root(&self) -> String {
        let of = ["--organization", "Acme", "--trust-domain", "acme.example"];
        let made = self.run(&[&["ca", "root", "init", "--dir", &self.root][..], &of].concat());
        made.ok().json()[0]["sha256"].as_str().unwrap().to_owned()
    }

    fn ask(&self, more: &[&str]) -> Ran {
        let ask = ["ca", "request", "--dir", &self.online, "--out", &self.stick];
        self.run(&[&ask[..], more].concat())
    }

    fn sign(&self, more: &[&str]) -> Ran {
        let requests = self.carried("requests.pem");
        let sign = ["ca", "root", "sign", &requests, "--dir", &self.root];
        self.run(&[&sign[..], &["--out", &self.stick], more].concat())
    }

    fn install(&self, file: &str, more: &[&str]) -> Ran {
        let file = self.carried(file);
        let install = ["ca", "install", &file, "--dir", &self.online, "--json"];
        run(&[&install[..], more].concat())
    }
}

#[test]
fn a_root_without_a_network_certifies_those_that_issue() {
    let machines = Machines::new();
    let root = machines.make_root();
    let asked = machines
        .ask(&["--trust-domain", "acme.example"])
        .ok()
        .json();
    assert_eq!(asked[0]["awaited"].as_array().unwrap().len(), 2);
    let status = run(&["ca", "status", "--dir", &machines.online]).ok().out;
    assert!(
        status.contains("awaited of the root: device-ca 1"),
        "{status}"
    );
    assert!(status.contains("next: countersign ca install"), "{status}");

    // Nobody is there to compare keys, so somebody must have done it before.
    let refused = machines.sign(&[]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    let key = asked[0]["awaited"][0]["key_sha256"].as_str().unwrap();
    assert!(refused.err.contains(key), "{}", refused.err);
    let signed = machines.sign(&["--yes"]).ok().json();
    assert_eq!(signed[0]["authorities"][0]["key_sha256"], key);
    assert_eq!(signed[0]["authorities"][1]["name"], "Acme server CA 1");

    assert_eq!(machines.install("certificates.pem", &[]).code, 2);
    let wrong = ["--root-fingerprint", &"07".repeat(32)];
    assert_eq!(machines.install("certificates.pem", &wrong).code, 5);
    let right = ["--root-fingerprint", &root];
    machines.install("certificates.pem", &right).ok();
    let again = machines.install("certificates.pem", &[]).ok().json();
    assert_eq!(again[0]["authorities"][0]["made"], false);

    let online = &machines.online;
    machines
        .run(&["device", "issue", "dev-1", "--dir", online])
        .ok();
    machines.run(&["crl", "publish", "--dir", online]).ok();
    run(&["ca", "verify", "--dir", online]).ok();
    run(&["ca", "doctor", "--dir", online]).ok();
    run(&["ca", "audit", "verify", "--dir", &machines.root]).ok();
    assert!(!Path::new(online).join("ca/root.key.pem").exists());
}

#[test]
fn an_authority_is_followed_and_revoked_by_way_of_the_stick() {
    let machines = Machines::new();
    let root = machines.make_root();
    machines.ask(&["--trust-domain", "acme.example"]).ok();
    machines.sign(&["--yes"]).ok();
    machines
        .install("certificates.pem", &["--root-fingerprint", &root])
        .ok();

    let (online, role) = (&machines.online, ["--role", "device-ca"]);
    let rotate = |stage: &str| {
        let rotate = ["ca", "rotate", "--dir", online, "--stage", stage];
        machines.run(&[&rotate[..], &role].concat())
    };
    let refused = rotate("prepare");
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(
        refused
            .err
            .contains("countersign ca request --role device-ca"),
        "{}",
        refused.err
    );
    machines.ask(&role).ok();
    machines.sign(&["--yes"]).ok();
    let installed = machines.install("certificates.pem", &[]).ok().json();
    let next = installed[0]["next"].as_str().unwrap();
    assert!(next.contains("--role device-ca --stage publish"), "{next}");
    rotate("publish").ok();
    rotate("switch").ok();

    let status = run(&["ca", "root", "status", "--dir", &machines.root, "--json"])
        .ok()
        .json();
    let serial = status[0]["certified"][0]["serial"].as_str().unwrap();
    let revoke = ["ca", "root", "revoke", serial, "--reason", "superseded"];
    run(&[&revoke[..], &["--dir", &machines.root]].concat()).ok();
    let out = ["--out", &machines.stick];
    machines
        .run(&[&["ca", "root", "crl", "--dir", &machines.root][..], &out].concat())
        .ok();
    let installed = machines.install("root.crl", &[]).ok().json();
    assert_eq!(installed[0]["revoked"][0], "Acme device CA 1");
    assert_eq!(run(&["ca", "doctor", "--dir", online]).code, 1);
    rotate("retire").ok();
    let told = run(&["ca", "doctor", "--dir", online]).ok().out;
    assert!(told.contains("list of the root"), "{told}");
}
