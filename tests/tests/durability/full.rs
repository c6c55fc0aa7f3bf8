//! A disk that runs full, that must not be written, and that fails.
//!
//! Whatever happens to it, nothing is acknowledged that is not there after a restart, and whoever
//! looks after the broker is told what is wrong in words.

use crate::broker::{Broker, Home, Program};
use crate::link::{Gone, Link, Present};
use crate::tmpfs::Tmpfs;
use countersign_tests::faulty_disk::{Fault, Point};
use countersign_tests::mqtt::Version::{self, V5, V311};
use countersign_tests::mqtt::connect::Connect;
use countersign_tests::raw::PATIENCE;
use std::fs;
use std::time::Instant;

const SEGMENTS: &str = "segment_bytes = '4 MiB'";
const QUEUES: &str = "queue_len_max = 1000000\nqueue_bytes_max = '1 GiB'";
/// The length of a message.
const LEN: usize = 32 * 1024;

/// A publisher, and which of its messages were acknowledged.
struct Teller {
    link: Link,
    name: &'static str,
    next: u32,
    acknowledged: Vec<String>,
}

impl Teller {
    fn new(broker: &Broker, name: &'static str, version: Version) -> Self {
        let connect = Connect::new(version, name).keep_alive(1000);
        let (link, _) = Link::open(broker.address, name, &connect).unwrap();
        Self {
            link,
            name,
            next: 0,
            acknowledged: Vec::new(),
        }
    }

    /// Publishes one message. Yields the reason code.
    fn publish(&mut self) -> Result<u8, Gone> {
        self.next += 1;
        let label = format!("{} {}", self.name, self.next);
        let payload = format!("{label:.<LEN$}");
        let code = self.link.publish("f/t", payload.as_bytes())?;
        if code < 0x80 {
            self.acknowledged.push(label);
        }
        Ok(code)
    }

    /// Publishes until it is refused in words or without. Yields how.
    fn publish_until_refused(&mut self) -> Result<u8, Gone> {
        for _ in 0..100_000 {
            let code = self.publish()?;
            if code >= 0x80 {
                return Ok(code);
            }
        }
        panic!("{}: nothing is refused", self.name);
    }
}

/// The session for which all is kept.
#[derive(Default)]
struct Keeper(Present);

impl Keeper {
    fn connect(&mut self, broker: &Broker) -> Link {
        Link::lasting(broker.address, ("keeper", V5), &mut self.0).unwrap()
    }

    fn subscribe(&mut self, broker: &Broker) {
        let mut link = self.connect(broker);
        link.subscribe(&["f/#"], 1).unwrap();
        link.leave();
    }

    /// Takes all that waits, which should be so many messages.
    fn take_all(&mut self, broker: &Broker, count: usize) -> Vec<String> {
        let mut link = self.connect(broker);
        let taken = link.take_all(count);
        link.leave();
        let labels = taken.iter().map(|it| it.text().split('.').next().unwrap());
        labels.map(str::to_owned).collect()
    }
}

/// All that this one was acknowledged is there, in its order, and no message that was refused.
#[track_caller]
fn expect_all(teller: &Teller, found: &[String]) {
    let own = found.iter().filter(|it| it.starts_with(teller.name));
    let own: Vec<&String> = own.collect();
    let expected: Vec<&String> = teller.acknowledged.iter().collect();
    assert_eq!(own, expected);
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn a_disk_that_runs_full_refuses_what_is_new_and_keeps_what_was_acknowledged() {
    let home = Home::new(SEGMENTS, QUEUES);
    fs::create_dir(home.data()).unwrap();
    let tmpfs = Tmpfs::mount(&home.data(), 64 << 20);
    let home = match &tmpfs {
        Some(tmpfs) => home.run_by(tmpfs.runner()),
        None => Home::new(SEGMENTS, &format!("{QUEUES}\ndisk_bytes_max = '64 MiB'")),
    };
    let mut broker = home.start();
    let mut keeper = Keeper::default();
    keeper.subscribe(&broker);
    let mut new = Teller::new(&broker, "new", V5);
    let mut old = Teller::new(&broker, "old", V311);
    for _ in 0..20 {
        assert_eq!(old.publish().unwrap(), 0);
    }
    assert_eq!(new.publish_until_refused().unwrap(), 0x97);
    old.publish_until_refused().unwrap_err();
    assert_eq!(new.publish().unwrap(), 0x97, "who is refused may stay");
    let taken = (new.acknowledged.len() + old.acknowledged.len()) * LEN;
    assert!(taken > 40 << 20, "{taken} bytes of 64 MiB were taken");
    broker.log.expect_line(&["WARN", "nearly full"]);

    broker.kill();
    let mut broker = home.start();
    let count = new.acknowledged.len() + old.acknowledged.len();
    let found = keeper.take_all(&broker, count);
    expect_all(&new, &found);
    expect_all(&old, &found);
    let mut again = Teller::new(&broker, "again", V5);
    let deadline = Instant::now() + PATIENCE;
    while again.publish().unwrap() == 0x97 {
        assert!(Instant::now() < deadline, "there is no room again");
    }
    for _ in 0..100 {
        assert_eq!(again.publish().unwrap(), 0);
    }
    broker.kill();
    let broker = home.start();
    let count = again.acknowledged.len();
    expect_all(&again, &keeper.take_all(&broker, count));
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn a_disk_without_room_for_one_segment_is_refused_with_sizes_and_the_setting() {
    let home = Home::new(SEGMENTS, "");
    fs::create_dir(home.data()).unwrap();
    let Some(tmpfs) = Tmpfs::mount(&home.data(), 2 << 20) else {
        return;
    };
    let home = home.run_by(tmpfs.runner());
    let ended = home.try_start(Program::Real).err().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    let words = ["no space for", "takes 4194304 bytes (`segment_bytes`)"];
    for expected in words {
        assert!(ended.words.contains(expected), "{expected}: {ended:#?}");
    }
    // Nearly all of it is: what was begun is not counted as taken.
    let (before, _) = ended.words.split_once(" are free").unwrap();
    let free = before.rsplit(' ').next().unwrap();
    let free: u64 = free.parse().unwrap();
    assert!((2_000_000..=2 << 20).contains(&free), "{ended:#?}");
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn a_data_directory_that_cannot_be_written_is_refused_by_name() {
    let home = Home::new(SEGMENTS, "");
    fs::create_dir(home.data()).unwrap();
    let Some(tmpfs) = Tmpfs::mount(&home.data(), 64 << 20) else {
        return;
    };
    let data = home.data();
    let home = home.run_by(tmpfs.runner());
    home.start().kill();
    tmpfs.make_read_only(&data);
    let ended = home.try_start(Program::Real).err().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    for expected in [data.to_str().unwrap(), "Read-only file system"] {
        assert!(ended.words.contains(expected), "{expected}: {ended:#?}");
    }
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn a_disk_that_fails_ends_the_broker_and_nothing_false_is_acknowledged() {
    let cases = [
        (Point::WriteFails, "writing"),
        (Point::SyncFails, "syncing"),
    ];
    for (point, doing) in cases {
        let home = Home::new("segment_bytes = '1 MiB'", QUEUES);
        let mut keeper = Keeper::default();
        let mut broker = home.start();
        keeper.subscribe(&broker);
        broker.kill();
        let fault = Fault { point, step: 40 };
        let mut broker = home.try_start(Program::Faulty(fault)).unwrap();
        let mut teller = Teller::new(&broker, "teller", V5);
        teller.publish_until_refused().unwrap_err();
        assert_eq!(broker.wait().code(), Some(1));
        let doing = format!("{doing} {}", home.data().display());
        let words = ["faulty-broker:", &doing, ".log", "a fault that"];
        broker.log.expect_line(&words);
        let broker = home.start();
        let acknowledged = &teller.acknowledged;
        let found = keeper.take_all(&broker, acknowledged.len());
        assert!(acknowledged.len() > 10, "{acknowledged:?}");
        assert!(
            found.starts_with(acknowledged),
            "{found:?}: {acknowledged:?}"
        );
    }
}
