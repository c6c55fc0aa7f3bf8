//! Pages for newcomers: their lines run as they stand, beside `countersign up`.

use crate::binary::{PATIENCE, Up, collect, countersign};
use device_client::{Device, Identity, QoS};
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Other people's clients.
const CLIENTS: &str = include_str!("../../../docs/clients.md");
const README: &str = include_str!("../../../README.md");
const THIS: &str = include_str!("pages.rs");

/// The blocks of a page in one language.
fn blocks(page: &'static str, language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    let blocks = page.split(begin.as_str()).skip(1);
    blocks
        .map(|block| block.split_once("```\n").unwrap().0)
        .collect()
}

/// Those about other people's clients, for a broker on this port.
fn for_port(language: &str, port: u16) -> Vec<String> {
    let blocks = blocks(CLIENTS, language).into_iter();
    let port = port.to_string();
    blocks.map(|block| block.replace("8883", &port)).collect()
}

/// A directory in which `countersign up` was started.
fn started() -> (TempDir, Up) {
    let dir = TempDir::new().unwrap();
    let up = Up::start_in(&dir.path().join("certs/dev"), &[]);
    (dir, up)
}

fn python(script: &str, dir: &Path) -> Command {
    let python = env::var("COUNTERSIGN_PYTHON").unwrap_or_else(|_| "python3".to_owned());
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
    let [publish, subscribe] = &for_port("python", up.port)[..] else {
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
    let program = &for_port("c", up.port)[0];
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

/// The tour of a newcomer.
fn tour() -> &'static str {
    let (_, tour) = README.split_once("## Three minutes\n").unwrap();
    tour.split_once("\n## ").unwrap().0
}

/// What is typed in the tour that is ours.
fn typed() -> Vec<&'static str> {
    let lines = blocks(tour(), "sh").into_iter().flat_map(str::lines);
    lines
        .filter(|line| line.starts_with("countersign "))
        .collect()
}

/// A shell in which this is typed.
fn shell(line: &str, dir: &Path) -> Command {
    let program = countersign();
    let beside = Path::new(program.get_program()).parent().unwrap();
    let mut path = beside.as_os_str().to_owned();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {line}")]);
    command.env("PATH", path).current_dir(dir);
    command
}

/// What the README's device does; the names stand for what must differ here.
async fn speak(mqtts: &str, dev_1: &Path, outbox: &Path) -> Result<(), Box<dyn Error>> {
    #[rustfmt::skip]
    let device = {
        let identity = Identity::open(dev_1)?;
        let device = Device::builder(mqtts, identity)?.outbox(outbox).connect().await?;
        device.publish("devices/dev-1/temperature", "21.5", QoS::AtLeastOnce).await?;
        device
    };
    Ok(device.disconnect(PATIENCE).await?)
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn the_tour_of_the_readme_runs_as_it_stands() {
    let [up, listen, fleet] = typed()[..] else {
        panic!("{:?}", typed());
    };
    assert_eq!(up, "countersign up");
    let (dir, up) = started();
    let broker = format!("mqtts://localhost:{}", up.port);
    let mut application = shell(&format!("{listen} --broker {broker}"), dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let heard = collect(application.stdout.take().unwrap());
    let _running = Running(application);
    let (identity, outbox) = (up.identity("devices/dev-1"), dir.path().join("outbox"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let deadline = Instant::now() + PATIENCE;
    // Whoever speaks before the application listens is not heard.
    while !heard.lock().unwrap().contains("21.5") {
        assert!(Instant::now() < deadline, "{:?}", heard.lock().unwrap());
        let spoken = speak(&broker, &identity, &outbox);
        runtime.block_on(spoken).unwrap();
    }

    let verdict = shell(fleet, dir.path()).output().unwrap();
    let words = String::from_utf8_lossy(&verdict.stdout);
    assert!(verdict.status.success(), "{verdict:?}\n{words}");
    assert!(
        words.starts_with("chaos: 500 devices, seed 7,") && !words.contains("BROKEN"),
        "{words}"
    );
    println!("outcome: {words}");
}

#[test]
fn the_device_of_the_readme_is_the_one_that_speaks_here() {
    let [block] = blocks(tour(), "rust")[..] else {
        panic!("not one block");
    };
    let block = block
        .replace("\"certs/dev/devices/dev-1\"", "dev_1")
        .replace("\"mqtts://localhost:8883\"", "mqtts")
        .replace("\"outbox\"", "outbox");
    for line in block.lines() {
        assert!(THIS.lines().any(|ours| ours.trim() == line), "{line:?}");
    }
}
