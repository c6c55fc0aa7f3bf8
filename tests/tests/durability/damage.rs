//! Damage after the fact, and what the broker and `storage verify` make of it.
//!
//! The broker starts with all that there was but for the last frame, or both refuse and name the
//! same file and offset. What every bit and cut does is told by the tests of the storage itself;
//! here the programs are seen to say it.

use crate::broker::{Broker, Home, Program};
use crate::link::{Link, Present};
use countersign_tests::mqtt::Kind;
use countersign_tests::mqtt::Version::V5;
use countersign_tests::mqtt::connect::Connect;
use countersign_tests::mqtt::request::Publish;
use countersign_tests::seeded::Seeded;
use countersign_tests::world::program;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// So many messages of 1 kB make four segments, and a checkpoint.
const MESSAGES: u32 = 4000;
const LIMITS: &str = "queue_len_max = 1000000\nqueue_bytes_max = '1 GiB'";

/// A store, and a copy of it as it was.
struct Store {
    home: Home,
    whole: PathBuf,
    session: Present,
}

impl Store {
    fn new() -> Self {
        let home = Home::new("segment_bytes = '1 MiB'", LIMITS);
        let mut session = Present::Unknown;
        let mut broker = home.start();
        let mut link = Link::lasting(broker.address, ("keeper", V5), &mut session).unwrap();
        link.subscribe(&["f/#"], 1).unwrap();
        link.leave();
        publish(&broker);
        broker.kill();
        let whole = home.data().with_file_name("whole");
        copy(&home.data(), &whole);
        Self {
            home,
            whole,
            session,
        }
    }

    /// Undoes all damage.
    fn restore(&self) {
        fs::remove_dir_all(self.home.data()).unwrap();
        copy(&self.whole, &self.home.data());
    }

    /// The files of the shard that a broker reads, the oldest segment first.
    fn files(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(self.whole.join("shard-0")).unwrap();
        let names = names.map(|it| it.unwrap().file_name());
        let data = self.home.data().join("shard-0");
        let mut files: Vec<_> = names.map(|name| data.join(name)).collect();
        files.sort();
        files
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut files = self.files();
        files.retain(|file| file.extension().is_some_and(|it| it == "log"));
        files
    }

    /// Whether it starts, which it does with everything but for the last message, or not at all.
    fn check(&mut self, what: &str) -> bool {
        let verified = verify(&self.home.data(), &[]);
        match self.home.try_start(Program::Real) {
            Ok(broker) => {
                assert!(verified.status.success(), "{what}: {verified:?}");
                let found = self.take_all(&broker, MESSAGES);
                let last = u32::try_from(found.len()).unwrap();
                assert!(found.into_iter().eq(1..=last), "{what}: a hole");
                assert!(last >= MESSAGES - 1, "{what}: {last} are left");
                let is_said = last == MESSAGES || broker.log.count(&["never acknowledged"]) == 1;
                assert!(is_said, "{what}: cut and not said");
                true
            }
            Err(ended) => {
                assert_eq!(verified.status.code(), Some(1), "{what}: {verified:?}");
                let words = String::from_utf8(verified.stderr).unwrap();
                let words = words.trim().trim_start_matches("countersign: ");
                assert!(words.contains(" is damaged at offset "), "{what}: {words}");
                assert!(ended.words.contains(words), "{what}: {words}: {ended:#?}");
                false
            }
        }
    }

    /// The numbers of all messages that wait.
    fn take_all(&mut self, broker: &Broker, count: u32) -> Vec<u32> {
        let who = ("keeper", V5);
        let mut link = Link::lasting(broker.address, who, &mut self.session).unwrap();
        let taken = link.take_all(count as usize);
        link.leave();
        let number = |text: &str| text.split('.').next().unwrap().parse().unwrap();
        taken.iter().map(|it| number(it.text())).collect()
    }
}

/// Publishes all messages, the last one alone.
fn publish(broker: &Broker) {
    let connect = Connect::new(V5, "teller").keep_alive(1000);
    let (mut link, _) = Link::open(broker.address, "teller", &connect).unwrap();
    let numbers: Vec<u32> = (1..MESSAGES).collect();
    for numbers in numbers.chunks(64).chain([&[MESSAGES][..]]) {
        let mut bytes = Vec::new();
        for number in numbers {
            let payload = format!("{number:.<1000}");
            let publish = Publish::new("f/t", payload).qos(1).id(link.next_id());
            bytes.extend(publish.bytes(V5));
        }
        link.send(&bytes).unwrap();
        for _ in numbers {
            assert_eq!(link.hear().unwrap().kind(), Kind::Puback);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("shard-0")).unwrap();
    for folder in [from.to_owned(), from.join("shard-0")] {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let below = path.strip_prefix(from).unwrap();
                fs::copy(&path, to.join(below)).unwrap();
            }
        }
    }
}

fn verify(data: &Path, more: &[&Path]) -> Output {
    let mut command = Command::new(program("countersign"));
    command.args(["storage", "verify"]).arg(data);
    if let [out] = more {
        command.arg("--salvage").arg(out);
    }
    command.output().unwrap()
}

fn flip(file: &Path, bit: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file);
    let file = file.unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit / 8).unwrap();
}

fn cut(file: &Path, len: u64) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(len).unwrap();
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn damage_is_refused_by_file_and_offset_or_costs_the_last_frame_at_most() {
    damage(24, 8);
}

#[test]
#[ignore = "long: scripts/test --long runs it"]
fn long_damage_of_400_bits_and_100_cuts_is_refused_or_costs_the_last_frame_at_most() {
    damage(400, 100);
}

fn damage(flips: u32, cuts: u32) {
    let mut store = Store::new();
    let mut random = Seeded::new(1);
    let mut files = store.files();
    // Whoever was killed may have left one that it had just begun.
    files.retain(|file| file.metadata().unwrap().len() > 0);
    let all: u64 = files.iter().map(|it| it.metadata().unwrap().len()).sum();
    assert!(all >= 4 << 20, "{all} bytes in {files:?}");
    let (mut started, mut refused) = (0, 0);
    for place in 0..flips + cuts {
        let file = random.choose(&files).clone();
        let len = file.metadata().unwrap().len();
        let at = random.below(usize::try_from(len).unwrap()) as u64;
        let what = if place < flips {
            flip(&file, at * 8 + at % 8);
            format!("a flip at {at} of {}", file.display())
        } else {
            cut(&file, at / 512 * 512);
            format!("a cut at {} of {}", at / 512 * 512, file.display())
        };
        if store.check(&what) {
            started += 1;
        } else {
            refused += 1;
        }
        store.restore();
    }
    println!("outcome: {flips} flips and {cuts} cuts: {started} started, {refused} refused");
    assert!(refused > started, "{started} started, {refused} refused");
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn a_flip_costs_the_last_frame_and_no_other_in_the_last_segment() {
    let mut store = Store::new();
    let last = store.segments().pop().unwrap();
    // The body of its first frame.
    flip(&last, (512 + 64) * 8);
    assert!(!store.check("a flip in the first frame of the last segment"));
    store.restore();
    let bytes = fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    flip(&last, end as u64 * 8);
    assert!(store.check("a flip in the last frame"));
}

#[test]
#[ignore = "needs the binary; scripts/test runs it"]
fn what_is_whole_can_be_saved_and_a_broker_starts_with_it() {
    let mut store = Store::new();
    let segments = store.segments();
    let damaged = &segments[segments.len() - 2];
    flip(damaged, 8 * 500_000);
    assert!(!store.check("a flip in the middle"));
    let data = store.home.data();
    let out = data.with_file_name("out");
    let saved = verify(&data, &[&out]);
    let words = String::from_utf8(saved.stdout).unwrap();
    assert_eq!(saved.status.code(), Some(3), "{words}");
    assert!(words.contains(damaged.to_str().unwrap()), "{words}");
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&out, &data).unwrap();
    assert!(verify(&data, &[]).status.success());
    let broker = store.home.start();
    let found = store.take_all(&broker, count(&words));
    assert_eq!(found.len(), count(&words) as usize, "{words}");
    assert!(found.is_sorted_by(|a, b| a < b), "out of order");
    assert!(found.len() > 1000, "{} of {MESSAGES}", found.len());
}

/// How many messages were saved.
fn count(words: &str) -> u32 {
    let (before, _) = words.split_once(" messages,").unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}
