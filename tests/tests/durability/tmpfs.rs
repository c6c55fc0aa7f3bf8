//! A small disk: a file system in memory that only we and those we start can see.
//!
//! It is mounted in a user and mount namespace of its own, so that no right of the machine's is
//! needed, and is gone when its last process is.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub(crate) struct Tmpfs {
    /// Keeps the namespace.
    holder: Child,
}

impl Tmpfs {
    /// So many bytes, mounted at a folder. None where the machine permits no namespaces.
    pub(crate) fn mount(at: &Path, bytes: u64) -> Option<Self> {
        let script = format!(
            "mount -t tmpfs -o size={bytes},mode=700 tmpfs \"$0\" && echo mounted && exec cat"
        );
        let mut holder = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", &script])
            .arg(at)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = String::new();
        let mut stdout = BufReader::new(holder.stdout.take()?);
        stdout.read_line(&mut said).unwrap();
        let this = Self { holder };
        if said.trim() == "mounted" {
            return Some(this);
        }
        println!("no tmpfs: this machine does not let us have a mount namespace");
        None
    }

    /// What runs a program that sees it.
    pub(crate) fn runner(&self) -> Vec<OsString> {
        let target = self.holder.id().to_string();
        let parts = ["nsenter", "--target", &target, "--user", "--mount"];
        let parts = parts.into_iter().chain(["--preserve-credentials", "--"]);
        parts.map(OsString::from).collect()
    }

    /// Lets nobody write to it any more.
    pub(crate) fn make_read_only(&self, at: &Path) {
        let runner = self.runner();
        let mut mount = Command::new(&runner[0]);
        mount.args(&runner[1..]).args(["mount", "-o", "remount,ro"]);
        assert!(mount.arg(at).status().unwrap().success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // It may be gone.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
