//! A broker that was killed, as other people's clients and its operator meet it again.
//!
//! What was acknowledged to `mosquitto_pub` comes to `mosquitto_sub -c` from the broker that
//! follows; nobody has to repair anything for that.

use crate::binary::{Up, countersign};
use crate::mosquitto::client;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

/// A mosquitto client that has a session of its own and subscribes to all devices.
fn sleeper(up: &Up, version: &str, more: &[&str]) -> Output {
    let mut command = client("mosquitto_sub", up, "apps/app-1");
    command.args(["-V", version, "-c", "-i", "app-1", "-q", "2"]);
    command.args(["-t", "devices/+/#"]);
    // 3.1.1 keeps a session by `-c` alone.
    if version == "5" {
        command.args(["-x", "600"]);
    }
    command.args(more).output().unwrap()
}

fn publish(up: &Up, (version, qos): (&str, &str), message: &str) {
    let published = client("mosquitto_pub", up, "devices/dev-2")
        .args(["-V", version, "-q", qos, "-t", "devices/dev-2/log"])
        .args(["-m", message])
        .output()
        .unwrap();
    assert!(published.status.success(), "{published:?}");
}

#[test]
#[ignore = "needs mosquitto-clients; scripts/test runs it"]
fn mosquitto_sub_gets_what_it_missed_from_a_broker_that_was_killed() {
    let temporary = TempDir::new().unwrap();
    let dir = temporary.path().join("world");
    for version in ["311", "5"] {
        let mut up = Up::start_in(&dir, &[]);
        assert!(sleeper(&up, version, &["-E"]).status.success());
        publish(&up, (version, "1"), "while you slept");
        publish(&up, (version, "2"), "and while I fell");
        up.kill();
        let up = Up::start_in(&dir, &[]);
        let missed = sleeper(&up, version, &["-C", "2", "-W", "10"]);
        let missed = String::from_utf8_lossy(&missed.stdout).into_owned();
        assert_eq!(missed, "while you slept\nand while I fell\n", "{version}");
    }
}

#[test]
#[ignore = "needs mosquitto-clients; scripts/test runs it"]
fn a_torn_tail_starts_cleanly_and_is_said() {
    let temporary = TempDir::new().unwrap();
    let dir = temporary.path().join("world");
    let mut up = Up::start_in(&dir, &[]);
    assert!(sleeper(&up, "5", &["-E"]).status.success());
    publish(&up, ("5", "1"), "whole");
    publish(&up, ("5", "1"), "torn");
    up.kill();
    let file = tear(&dir.join("data/shard-0"));
    let up = Up::start_in(&dir, &[]);
    up.log_line(&["never acknowledged: cut", &file, "offset=", "bytes="]);
    let missed = sleeper(&up, "5", &["-C", "1", "-W", "10"]);
    assert_eq!(String::from_utf8_lossy(&missed.stdout), "whole\n");
}

/// Takes away the end of the last frame, as a power cut in the middle of its write does.
fn tear(shard: &Path) -> String {
    let names = fs::read_dir(shard).unwrap().map(|it| it.unwrap().path());
    let logs = names.filter(|path| path.extension().is_some_and(|it| it == "log"));
    let last = logs.max().unwrap();
    let bytes = fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let file = OpenOptions::new().write(true).open(&last).unwrap();
    file.write_all_at(&[0; 8], end as u64 - 8).unwrap();
    last.display().to_string()
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn a_second_broker_on_the_same_data_is_refused_by_name_and_process() {
    let temporary = TempDir::new().unwrap();
    let dir = temporary.path().join("world");
    let first = Up::start_in(&dir, &[]);
    let second = countersign()
        .args(["up", "--listen", "127.0.0.1:0", "--dir"])
        .arg(&dir)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{words}");
    let data = dir.join("data").display().to_string();
    let holder = format!("countersign (process {}) has this data", first.id());
    for expected in [&data, &holder] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
}
