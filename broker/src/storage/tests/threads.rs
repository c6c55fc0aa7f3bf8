//! Storage as it is used: with its threads, in a folder of the operating system.

use crate::engine::{Load, Message, MessageNumber, Reach, Record, Restored, SessionNumber};
use crate::storage::checkpointer::{Maker, Work};
use crate::storage::desk::Desk;
use crate::storage::durable::find;
use crate::storage::log::tests::samples::{key, number, parts, target};
use crate::storage::log::{Disk, Durability, Folder, SegmentBytes, Settings};
use crate::storage::salvage::salvage;
use crate::storage::{DataDirectory, Durable, Opened, Position, Progress, Storage, offline};
use protocol::packet::QoS;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

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
        if it % 100 == 0 {
            wait_for(hear, position);
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
    // What waits takes less than two segments. Dead may be four and a half of those covered; three
    // more are not covered or not complete.
    let disk = Folder::open(folder.path().join("shard-0")).unwrap();
    let logs = || {
        disk.names()
            .unwrap()
            .iter()
            .filter(|it| it.starts_with("000"))
            .count()
    };
    while logs() > 10 {
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
    let segment = &before.shards[0].segments[0];
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

#[test]
fn segments_that_were_free_when_a_process_ended_are_let_go_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let _taken = DataDirectory::take(folder.path(), 1).unwrap();
    let (mut storage, hear) = start(open(folder.path(), 64 << 10).1);
    // Two segments are complete, and no checkpoint is due.
    for it in 1..=700 {
        let message = message(it);
        let position = say(&mut storage, Record::Retained { message });
        wait_for(&hear, position);
    }
    drop(storage);
    let disk = Arc::new(Folder::open(folder.path().join("shard-0")).unwrap());
    let is_there = || {
        disk.names()
            .unwrap()
            .iter()
            .any(|it| it == "0000000001.log")
    };
    let settings = Settings::new(0, SegmentBytes::of(64 << 10), Durability::Sync, u64::MAX);
    let found = find(disk.clone(), settings).unwrap();
    let complete = found.ledger.segments();
    let complete = complete.filter_map(|(number, it)| Some((number, it.end?)));
    let complete = Work::Checkpoint(complete.collect());
    let mut maker = Maker {
        shelf: found.shelf,
        settings: found.settings,
        desk: Arc::new(Desk::new(found.ledger)),
        recovered: found.recovered.position(),
        tried: Position(0),
    };
    assert!(maker.work(complete, &mut |_| unreachable!()).is_ok());
    assert!(is_there());
    let (storage, _hear) = start(open(folder.path(), 64 << 10).1);
    let begun = Instant::now();
    while is_there() {
        assert!(begun.elapsed() < PATIENCE, "it is kept");
        std::thread::yield_now();
    }
    drop(storage);
}
