//! What storage costs: figures to be printed, from a build for release.

use crate::engine::{Grant, Message, Reach, Record, SessionNumber};
use crate::storage::log::tests::samples::{key, number, parts, target};
use crate::storage::log::{Durability, SegmentBytes};
use crate::storage::log::{Folder, Settings};
use crate::storage::{Durable, Position, Progress, Storage};
use protocol::packet::QoS;
use protocol::topic::TopicFilter;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

const TURN_LEN: usize = 64;

/// Writes turns of these records, and waits until they are durable.
fn write(folder: &Path, mut records: impl Iterator<Item = Record>) {
    let (_, opened) = Durable::open(disk(folder), settings()).unwrap();
    let (told, hear) = mpsc::channel();
    let tell = move |progress| told.send(progress).unwrap_or_default();
    let mut storage = opened.start(tell).unwrap();
    let (mut last, mut appending) = (Position(0), std::time::Duration::ZERO);
    let (begun, mut len) = (Instant::now(), 0_u32);
    loop {
        let mut turn: Vec<_> = records.by_ref().take(TURN_LEN).collect();
        if turn.is_empty() {
            break;
        }
        len += u32::try_from(turn.len()).unwrap();
        while storage.is_behind() {
            let _ = hear.recv();
        }
        let at = Instant::now();
        last = storage.append(&mut turn).unwrap();
        appending += at.elapsed();
    }
    while storage.durable() < last {
        assert!(!matches!(hear.recv().unwrap(), Progress::Failed(_)));
    }
    let took = begun.elapsed();
    println!(
        "{len} records durable in {took:?}, of which appending {:?} each",
        appending / len
    );
}

fn disk(folder: &Path) -> Arc<Folder> {
    Arc::new(Folder::open(folder.join("shard-0")).unwrap())
}

fn settings() -> Settings {
    Settings::new(0, SegmentBytes::default(), Durability::Sync, u64::MAX)
}

fn recover(folder: &Path, what: &str) {
    let begun = Instant::now();
    let (restored, opened) = Durable::open(disk(folder), settings()).unwrap();
    let took = begun.elapsed();
    let pending: usize = restored.sessions.iter().map(|it| it.pending.len()).sum();
    let sessions = restored.sessions.len();
    println!("{what}: {sessions} sessions, {pending} messages read in {took:?}");
    drop(opened);
    let files = std::fs::read_dir(folder.join("shard-0")).unwrap();
    let files = files.map(|it| it.unwrap());
    let sizes = files.filter(|it| !it.file_name().to_str().unwrap().starts_with("spare"));
    let bytes: u64 = sizes.map(|it| it.metadata().unwrap().len()).sum();
    println!("{what}: {bytes} bytes on the disk");
}

#[test]
#[ignore = "prints figures"]
fn long_how_long_a_million_messages_take() {
    let folder = tempfile::tempdir().unwrap();
    let message = Message::recorded(parts(
        "device-000017",
        "devices/device-000017/up",
        &[7; 256],
    ));
    let created = Record::SessionCreated {
        session: SessionNumber(1),
        key: Arc::new(key("dev-1", "dev-1")),
        expiry: 3600,
    };
    let messages = (1..=1_000_000).map(|it| Record::Message {
        number: number(it),
        message: Arc::clone(&message),
        targets: [target(1, QoS::AtLeastOnce)].into_iter().collect(),
        reach: Reach::Here,
    });
    write(folder.path(), std::iter::once(created).chain(messages));
    recover(folder.path(), "queued");
}

#[test]
#[ignore = "prints figures"]
fn long_how_long_100_000_sessions_take() {
    let folder = tempfile::tempdir().unwrap();
    let records = (1..=100_000_u64).flat_map(|it| {
        let session = SessionNumber(it);
        let device = format!("device-{it:06}");
        let created = Record::SessionCreated {
            session,
            key: Arc::new(key(&device, &device)),
            expiry: 3600,
        };
        let subscribed = (0..3).map(move |which| Record::Subscribed {
            session,
            filter: TopicFilter::parse(&format!("devices/{device}/in/{which}/#")).unwrap(),
            grant: Grant {
                qos: QoS::AtLeastOnce,
                no_local: false,
                retain_as_published: false,
                withholds: false,
                id: None,
            },
        });
        std::iter::once(created).chain(subscribed)
    });
    write(folder.path(), records);
    recover(folder.path(), "from the log");
    checkpoint(folder.path());
    recover(folder.path(), "from a checkpoint");
}

/// Makes a checkpoint of all that is there, and says how long that takes.
fn checkpoint(folder: &Path) {
    use crate::storage::durable::find;
    let found = find(disk(folder), settings()).unwrap();
    let position = found.recovered.position();
    let begun = Instant::now();
    let size =
        crate::storage::checkpoint::write(&found.shelf, (0, 7), position, &found.state).unwrap();
    println!("a checkpoint of {size} bytes in {:?}", begun.elapsed());
}
