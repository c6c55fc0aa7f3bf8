//! SIGKILL for devices and brokers at any moment: what a device has accepted arrives, at QoS 2 once
//! and in order.

use crate::relay::Relay;
use countersign_tests::authority::Authority;
use countersign_tests::log::Log;
use countersign_tests::raw::PATIENCE;
use countersign_tests::seeded::Seeded;
use countersign_tests::world::{Settings, World, expect_end, program};
use device_client::{Device, Identity, QoS};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

/// On a slow disk each message that is accepted takes its time.
const STALL_MAX: Duration = Duration::from_mins(1);

#[test]
fn what_a_device_accepted_arrives_though_it_and_the_broker_are_killed() {
    kill(6, 3);
}

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_what_a_device_accepted_arrives_through_50_kills_of_it_and_20_of_the_broker() {
    kill(50, 20);
}

/// Another one with `COUNTERSIGN_TEST_SEED`.
fn seed() -> u64 {
    let seed = std::env::var("COUNTERSIGN_TEST_SEED").ok();
    let seed = seed.map_or(1, |seed| seed.parse().expect("a number"));
    println!("COUNTERSIGN_TEST_SEED={seed}");
    seed
}

fn kill(devices: u32, brokers: u32) {
    let mut random = Seeded::new(seed());
    let mut world = World::start_with(&Settings {
        storage: "directory = 'data'".into(),
        limits: "queue_len_max = 1000000\nqueue_bytes_max = '1 GiB'".into(),
        ..Settings::default()
    });
    let home = Home::new();
    let relay = Relay::to(world.address());
    let collector = Collector::new(&relay);
    let mut accepted = Vec::new();
    let mut brokers_left = brokers;
    for life in 0..devices {
        let device = home.start(&relay, &life.to_string());
        // As many brokers are killed as is their share, each while a device publishes.
        let lives_left = devices - life;
        for _ in 0..brokers_left.div_ceil(lives_left) {
            accepted.extend(device.read(10 + random.below(100)));
            world = world.restart();
            relay.point_to(world.address());
            brokers_left -= 1;
        }
        accepted.extend(device.read(10 + random.below(100)));
        accepted.extend(device.kill());
    }
    home.start(&relay, "drain").expect_end();
    let arrived = collector.collect();
    println!(
        "outcome: {devices} devices and {brokers} brokers killed, {} messages accepted, {} arrived",
        accepted.len(),
        arrived.len()
    );
    check(&accepted, &arrived);
}

fn check(accepted: &[String], arrived: &[String]) {
    let mut times = BTreeMap::new();
    for name in arrived {
        *times.entry(name.as_str()).or_insert(0) += 1;
    }
    let lost: Vec<_> = accepted
        .iter()
        .filter(|name| !times.contains_key(name.as_str()))
        .collect();
    assert!(lost.is_empty(), "accepted and lost: {lost:?}");
    let twice = times
        .iter()
        .filter(|(name, times)| name.starts_with("2 ") && **times > 1);
    let twice: Vec<_> = twice.collect();
    assert!(twice.is_empty(), "of QoS 2, and more than once: {twice:?}");
    let places: Vec<_> = arrived.iter().filter_map(|name| place_of(name)).collect();
    let turned: Vec<_> = places.windows(2).filter(|pair| pair[0] > pair[1]).collect();
    assert!(turned.is_empty(), "of QoS 2, and out of order: {turned:?}");
}

/// When a message of QoS 2 was accepted: its life, and its number in it.
fn place_of(name: &str) -> Option<(u32, u32)> {
    let (life, number) = name.strip_prefix("2 ")?.split_once(' ')?;
    Some((life.parse().ok()?, number.parse().ok()?))
}

/// Where a device lives: its identity and its outbox.
struct Home(TempDir);

/// A device as a process.
struct Publisher {
    process: Child,
    lines: Receiver<String>,
    log: Log,
}

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Authority::shared().write_device_files("publisher", home.path());
        Self(home)
    }

    fn start(&self, relay: &Relay, life: &str) -> Publisher {
        let mut process = Command::new(program("publishing-device"))
            .arg(relay.url())
            .args([self.0.path(), &self.0.path().join("outbox")])
            .arg(life)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::default();
        log.follow(process.stderr.take().unwrap());
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        // It ends with the process; the last line may be cut anywhere but is one write.
        thread::spawn(move || {
            let all = stdout.lines().map_while(Result::ok);
            all.map(|line| sender.send(line))
                .take_while(Result::is_ok)
                .count()
        });
        Publisher {
            process,
            lines,
            log,
        }
    }
}

impl Publisher {
    /// The next messages that it has accepted.
    fn read(&self, count: usize) -> Vec<String> {
        let next = |_| {
            let line = self.lines.recv_timeout(STALL_MAX);
            line.unwrap_or_else(|error| panic!("{error}:\n{}", self.log.lines().join("\n")))
        };
        (0..count).map(next).collect()
    }

    /// Kills it. Yields what it has accepted and nobody has read yet.
    fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.lines.iter().collect()
    }

    fn expect_end(mut self) {
        expect_end(&mut self.process, &self.log, STALL_MAX);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Who counts what arrives. Its session waits at the broker meanwhile.
struct Collector {
    runtime: tokio::runtime::Runtime,
    url: String,
    home: TempDir,
}

impl Collector {
    fn new(relay: &Relay) -> Self {
        let home = tempfile::tempdir().unwrap();
        Authority::shared().write_device_files("collector", home.path());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let url = relay.url();
        runtime.block_on(async {
            let device = connect(&url, home.path()).await;
            device.subscribe("kept", QoS::ExactlyOnce).await.unwrap();
            device.disconnect(PATIENCE).await.unwrap();
        });
        Self { runtime, url, home }
    }

    /// All that has arrived.
    fn collect(self) -> Vec<String> {
        self.runtime.block_on(async {
            let device = connect(&self.url, self.home.path()).await;
            let mut arrived = Vec::new();
            let mut kept = device.subscribe("kept", QoS::ExactlyOnce).await.unwrap();
            loop {
                let message = timeout(PATIENCE, kept.next()).await;
                let message = message.expect("no end came").unwrap().unwrap();
                let name = String::from_utf8(message.payload.into()).unwrap();
                if name == "end" {
                    return arrived;
                }
                arrived.push(name);
            }
        })
    }
}

async fn connect(url: &str, home: &Path) -> Device {
    let identity = Identity::open(home).unwrap();
    let builder = Device::builder(url, identity).unwrap().resume_session();
    let builder = builder.session_expiry(Duration::from_hours(24));
    builder.connect().await.unwrap()
}
