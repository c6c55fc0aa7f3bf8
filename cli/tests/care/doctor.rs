//! `countersign ca doctor`.

use crate::{Ran, revoke, run, text, world};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn doctor(dir: &str) -> Ran {
    run(&["ca", "doctor", "--dir", dir, "--json"])
}

/// The check of this name.
fn check(ran: &Ran, name: &str) -> Value {
    let all = ran.json()[0]["checks"].as_array().unwrap().clone();
    let found = all.into_iter().find(|it| it["check"] == name);
    found.unwrap_or(Value::Null)
}

#[test]
fn a_key_that_others_read_is_bad_and_what_mends_it_mends_it() {
    let (temp, dir) = world();
    let well = doctor(&dir).ok();
    assert_eq!(well.json()[0]["bad"], 0, "{}", well.out);
    let key = temp.path().join("ca-dir/ca/device-ca.key.pem");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let bad = doctor(&dir);
    assert_eq!(bad.code, 1);
    let mend = check(&bad, "permissions")["mend"]
        .as_str()
        .unwrap()
        .to_owned();
    let words = run(&["ca", "doctor", "--dir", &dir]);
    assert!(
        words.out.contains(&format!("next: {mend}")),
        "{}",
        words.out
    );
    assert!(
        Command::new("sh")
            .args(["-c", &mend])
            .status()
            .unwrap()
            .success()
    );
    doctor(&dir).ok();
}

#[test]
fn where_there_is_no_authority_it_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let dir = text(temp.path());
    assert_eq!(doctor(&dir).code, 4);
    assert_eq!(run(&["ca", "doctor", "--dir", &dir, "--days", "0"]).code, 2);
}

/// A running `countersign up`, ended with the test.
struct Up(Child);

impl Up {
    fn start(dir: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["up", "--json", "--listen", "127.0.0.1:0", "--dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = process.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "{line}");
        Self(process)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_broker_that_runs_is_asked_whether_it_knows_the_newest_list() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("world");
    let dir = text(&path);
    let up = Up::start(&path);
    revoke(&dir);
    // It may not have looked at its files since.
    run(&["broker", "reload", "--dir", &dir]).ok();
    let ran = doctor(&dir).ok();
    assert_eq!(check(&ran, "broker")["verdict"], "ok", "{}", ran.out);
    assert_eq!(
        check(&ran, "broker's revocation list")["verdict"],
        "ok",
        "{}",
        ran.out
    );
    drop(up);
    let ran = doctor(&dir).ok();
    assert_eq!(check(&ran, "broker")["verdict"], "warn", "{}", ran.out);
    assert_eq!(check(&ran, "broker's revocation list"), Value::Null);
}
