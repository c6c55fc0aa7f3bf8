//! The binary as operators and scripts meet it: what it prints, and its exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod backup;
mod cert;
mod doctor;
mod issue;
mod offline_root;
mod shell;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// How a command ended, and what it printed.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// The objects of JSON that it printed, a line each.
    fn json(&self) -> Vec<Value> {
        let lines = self.out.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }

    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }
}

fn run(arguments: &[&str]) -> Ran {
    let done = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: done.status.code().unwrap(),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

/// A directory with authorities, and a device called `dev-1`.
fn world() -> (TempDir, String) {
    let temp = tempfile::tempdir().unwrap();
    let dir = text(&temp.path().join("ca-dir"));
    run(&["ca", "init", "--dir", &dir]).ok();
    run(&["device", "issue", "dev-1", "--dir", &dir]).ok();
    (temp, dir)
}

/// Revokes `dev-1`.
fn revoke(dir: &str) {
    let reason = ["--reason", "key-compromise"];
    run(&[&["device", "revoke", "dev-1", "--dir", dir][..], &reason].concat()).ok();
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
