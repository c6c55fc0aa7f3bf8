//! The page about other people's clients: its lines run as they stand, beside `countersign up`.

use crate::binary::{PATIENCE, Up, collect};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/clients.md");

/// The blocks of the page in one language, for a broker on this port.
fn blocks(language: &str, port: u16) -> Vec<String> {
    let page = fs::read_to_string(PAGE).unwrap();
    let begin = format!("```{language}\n");
    page.split(&begin)
        .skip(1)
        .map(|block| block.split_once("```\n").unwrap().0)
        .map(|block| block.replace("8883", &port.to_string()))
        .collect()
}

/// A directory in which `countersign up` was started.
fn started() -> (TempDir, Up) {
    let dir = TempDir::new().unwrap();
    let up = Up::start_in(&dir.path().join("certs/dev"), &[]);
    (dir, up)
}

fn python(script: &str, dir: &Path) -> Command {
    let python = std::env::var("COUNTERSIGN_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.args(["-c", script]).current_dir(dir);
    command
}

/// Ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs Python with paho-mqtt; scripts/test runs it"]
fn the_lines_for_paho_run_as_they_stand() {
    let (dir, up) = started();
    let [publish, subscribe] = &blocks("python", up.port)[..] else {
        panic!("not two blocks");
    };
    let mut subscriber = python(subscribe, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let heard = collect(subscriber.stdout.take().unwrap());
    let _running = Running(subscriber);
    let expect = |line: &str| {
        let deadline = Instant::now() + PATIENCE;
        while !heard.lock().unwrap().lines().any(|heard| heard == line) {
            assert!(Instant::now() < deadline, "{:?}", heard.lock().unwrap());
            sleep(Duration::from_millis(20));
        }
    };
    expect("subscribed");
    let published = python(publish, dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&published.stdout);
    assert_eq!(said, "acknowledged: True\n", "{published:?}");
    expect("devices/dev-1/temperature 21.5");
}

#[test]
#[ignore = "needs libmosquitto-dev; scripts/test runs it"]
fn the_lines_for_libmosquitto_compile_and_run_as_they_stand() {
    let (dir, up) = started();
    let program = &blocks("c", up.port)[0];
    fs::write(dir.path().join("publish.c"), program).unwrap();
    let run = |command: &mut Command| {
        let output = command.current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let warnings = ["-std=c99", "-Wall", "-Wno-unused-parameter", "-Werror"];
    let from_the_page = ["-o", "publish", "publish.c", "-lmosquitto"];
    run(Command::new("cc").args(warnings).args(from_the_page));
    let said = run(&mut Command::new(dir.path().join("publish")));
    assert_eq!(said, "acknowledged: No matching subscribers\n");
}
