//! Storage as it is used: with its threads, in a folder of the operating system.

use crate::engine::{Load, Message, MessageNumber, Reach, Record, SessionNumber};
use crate::storage::log::tests::samples::{key, number, parts, target};
use crate::storage::log::{Disk, Durability, Folder, SegmentBytes, Settings};
use crate::storage::salvage::salvage;
use crate::storage::{DataDirectory, Durable, Opened, Position, Progress, Storage, offline};
use protocol::packet::QoS;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_mins(1);
const MESSAGES: u64 = 4000;
const SESSION: SessionNumber = SessionNumber(1);

fn open(folder: &Path, segment_bytes: u64) -> (Restored, Opened) {
    let disk = Arc::new(Folder::open(folder.join("shard-0")).unwrap());
    let settings = Settings::new(
        0,
        SegmentBytes::of(segment_bytes),
        Durability::Sync,
        u64::MAX,
    );
    Durable::open(disk, settings.seeded(7)).unwrap()
}

fn start(opened: Opened) -> (Durable, Receiver<Progress>) {
    let (told, hear) = mpsc::channel();
    let storage = opened.start(move |progress| told.send(progress).unwrap_or_default());
    (storage.unwrap(), hear)
}

fn say(storage: &mut Durable, record: Record) -> Position {
    storage.append(&mut vec![record]).unwrap()
}

fn message(message: u64) -> Arc<Message> {
    Message::recorded(parts("dev-1", "a/b", format!("{message:>200}").as_bytes()))
}

fn wait_for(hear: &Receiver<Progress>, position: Position) {
    loop {
        match hear.recv_timeout(PATIENCE).unwrap() {
            Progress::Durable(reached) if reached >= position => return,
            Progress::Durable(_) | Progress::Room(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A session with messages that wait, of which each tenth is not acknowledged.
fn fill(storage: &mut Durable, hear: &Receiver<Progress>) {
    let session = SESSION;
    say(
        storage,
        Record::SessionCreated {
            session,
            key: Arc::new(key("dev-1", "dev-1")),
            expiry: 3600,
        },
    );
    for it in 1..=MESSAGES {
        let queued = Record::Message {
            number: number(it),
            message: message(it),
            targets: [target(1, QoS::AtLeastOnce)].into_iter().collect(),
            reach: Reach::Here,
        };
        let position = say(storage, queued);
        // So that there are many frames, and many segments.
        while it % 100 == 0 && storage.durable() < position {
            std::thread::yield_now();
        }
        if it % 10 != 0 {
            let message = number(it);
            say(storage, Record::Settled { session, message });
        }
    }
    let last = say(storage, Record::SessionResumed { session, expiry: 1 });
    wait_for(hear, last);
}

fn numbers() -> Vec<MessageNumber> {
    (1..=MESSAGES / 10).map(|it| number(it * 10)).collect()
}

#[test]
fn what_waits_is_loaded_wherever_it_was_carried_and_segments_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let taken = DataDirectory::take(folder.path(), 1).unwrap();
    let (_, opened) = open(folder.path(), 64 << 10);
    let (mut storage, hear) = start(opened);
    fill(&mut storage, &hear);
    let load = Load {
        session: SESSION,
        messages: numbers(),
    };
    storage.load(&mut vec![load]);
    check_loaded(&hear);
    drop(storage);

    let (restored, opened) = open(folder.path(), 64 << 10);
    let pending = restored.sessions[0].pending.iter();
    assert_eq!(pending.map(|it| it.number).collect::<Vec<_>>(), numbers());
    assert_eq!(restored.sessions[0].pending[0].payload_len, 200);
    let (mut storage, hear) = start(opened);
    // What waits is much less than what was written: the oldest segments are let go. How many
    // are depends on where the contents that were carried have come to lie.
    let disk = Folder::open(folder.path().join("shard-0")).unwrap();
    while disk
        .names()
        .unwrap()
        .iter()
        .any(|it| it == "0000000001.log")
    {
        std::thread::yield_now();
    }
    let load = Load {
        session: SESSION,
        messages: numbers(),
    };
    storage.load(&mut vec![load]);
    check_loaded(&hear);
    drop(storage);
    let report = offline::verify(folder.path()).unwrap();
    assert_eq!(report.shards[0].messages, numbers().len());
    assert!(report.shards[0].checkpoint.is_some());
    drop(taken);
}

fn check_loaded(hear: &Receiver<Progress>) {
    let (session, messages) = loop {
        match hear.recv_timeout(PATIENCE).unwrap() {
            Progress::Loaded { session, messages } => break (session, messages),
            Progress::Durable(_) | Progress::Room(_) => {}
            Progress::Failed(error) => panic!("{error}"),
        }
    };
    assert_eq!(session, SESSION);
    assert_eq!(
        messages.iter().map(|it| it.0).collect::<Vec<_>>(),
        numbers()
    );
    for (number, content) in messages {
        assert_eq!(content.payload(), message(number.0.get()).payload());
    }
}

#[test]
fn what_is_whole_is_salvaged_and_what_is_not_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let taken = DataDirectory::take(&path, 1).unwrap();
    let (_, opened) = open(&path, 1 << 20);
    let (mut storage, hear) = start(opened);
    fill(&mut storage, &hear);
    drop(storage);
    drop(taken);
    let before = offline::verify(&path).unwrap();
    let segments = &before.shards[0].segments;
    let segment = &segments[segments.len() / 2];
    let damaged = path.join("shard-0").join(&segment.name);
    let mut bytes = std::fs::read(&damaged).unwrap();
    bytes[500_000] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();

    let error = offline::verify(&path).unwrap_err().to_string();
    let named = format!("{} is damaged at offset ", damaged.display());
    assert!(error.starts_with(&named), "{error}");
    assert_eq!(offline::inspect(&path).unwrap_err().to_string(), error);

    let out = folder.path().join("out");
    let salvaged = salvage(&path, &out, 1).unwrap();
    let there = offline::verify(&out).unwrap();
    assert_eq!(there.shards[0].messages, salvaged[0].messages);
    assert_eq!(there.shards[0].sessions, 1);
    assert!(salvaged[0].messages > 0, "{salvaged:?}");
    assert!(
        salvaged[0].messages < before.shards[0].messages,
        "{salvaged:?}"
    );
    assert!(salvaged[0].damage.is_some(), "{salvaged:?}");
    assert!(salvage(&path, &out, 1).is_err(), "OUT is there already");
    let (restored, _) = {
        let disk = Arc::new(Folder::open(out.join("shard-0")).unwrap());
        let settings = Settings::new(0, SegmentBytes::default(), Durability::Sync, u64::MAX);
        Durable::open(disk, settings).unwrap()
    };
    assert_eq!(restored.sessions[0].pending.len(), salvaged[0].messages);
}
