//! The log as it is used: with its thread, in a folder of the operating system.

use super::{Kept, samples, settings};
use crate::engine::Record;
use crate::engine::test_world::{World, lasting, qos1};
use crate::storage::desk::Desk;
use crate::storage::log::{Disk, Recovered};
use crate::storage::log::{Durability, Folder, Log, LogError, SegmentBytes, Settings};
use crate::storage::{Position, Progress};
use protocol::packet::QoS;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(1);

fn recover(folder: &Path, settings: &Settings) -> (Kept, Recovered) {
    let disk = Arc::new(Folder::open(folder.join("log")).unwrap());
    let mut kept = Kept::default();
    let recovered = Log::recover(disk, settings.clone(), &mut kept).unwrap();
    (kept, recovered)
}

#[test]
fn what_is_appended_becomes_durable_in_order_and_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    for durability in [Durability::Sync, Durability::Os] {
        let settings = Settings {
            durability,
            ..settings(16 * 1024)
        };
        let (kept, recovered) = recover(folder.path(), &settings);
        let first = kept.check(1) + 1;
        let (told, hear) = mpsc::channel();
        let log = recovered
            .start(Arc::default(), move |progress| told.send(progress).unwrap())
            .unwrap();
        assert_eq!(log.pen().durable(), Position(first - 1));
        for turn in first..first + 200 {
            let taken = log.pen().append(&samples::turn(turn)).unwrap();
            assert_eq!((taken, log.pen().taken()), (Position(turn), taken));
        }
        let mut durable = Position(first - 1);
        while durable < Position(first + 199) {
            let Progress::Durable(position) = hear.recv_timeout(PATIENCE).unwrap() else {
                panic!("it failed");
            };
            assert!(position > durable);
            durable = position;
            assert!(log.pen().durable() >= durable);
        }
        drop(log);
        let (kept, _) = recover(folder.path(), &settings);
        assert_eq!(kept.check(1), first + 199);
    }
}

#[test]
fn what_was_appended_when_the_log_is_closed_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (_, recovered) = recover(folder.path(), &settings(16 * 1024));
    let log = recovered.start(Arc::default(), |_| {}).unwrap();
    for turn in 1..=20 {
        log.pen().append(&samples::turn(turn)).unwrap();
    }
    drop(log);
    let (kept, recovered) = recover(folder.path(), &settings(16 * 1024));
    assert_eq!((kept.check(1), recovered.position()), (20, Position(20)));
}

#[test]
fn a_trimmed_log_takes_no_more_room() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(16 * 1024);
    let (_, recovered) = recover(folder.path(), &settings);
    let (told, hear) = mpsc::channel();
    let desk = Arc::<Desk>::default();
    desk.with(|ledger| ledger.begin_segment(1, settings.segment_bytes.get()));
    let log = recovered
        .start(Arc::clone(&desk), move |progress| {
            told.send(progress).unwrap_or_default();
        })
        .unwrap();
    for turn in 1..=1000 {
        log.pen().append(&samples::turn(turn)).unwrap();
        if turn % 10 == 0 && turn < 1000 {
            // A checkpoint is taken of what is durable.
            while log.pen().durable() < Position(turn) {
                hear.recv_timeout(PATIENCE).unwrap();
            }
            desk.wait_for(Position(turn)).unwrap();
            desk.with(|ledger| {
                ledger.covered = Position(turn);
                (1..=turn).for_each(|it| ledger.take_out(samples::number(it)));
                ledger.sweep();
            });
            log.pen().look();
        }
    }
    drop(log);
    let names = Folder::open(folder.path().join("log"))
        .unwrap()
        .names()
        .unwrap();
    assert!(names.len() <= 6, "{names:?}");
    let settings = Settings {
        covered: Position(990),
        ..settings
    };
    let (kept, _) = recover(folder.path(), &settings);
    assert_eq!(kept.check(991), 1000);
}

/// A disk that can do nothing any more once it is told so.
#[test]
fn an_error_is_final_and_everybody_hears_of_it() {
    use super::simulated_disk::{Fault, SimulatedDisk};
    let disk = SimulatedDisk::default();
    let mut kept = Kept::default();
    let recovered = Log::recover(Arc::new(disk.clone()), settings(16 * 1024), &mut kept).unwrap();
    let (told, hear) = mpsc::channel();
    let log = recovered
        .start(Arc::default(), move |progress| told.send(progress).unwrap())
        .unwrap();
    log.pen().append(&samples::turn(1)).unwrap();
    assert!(matches!(
        hear.recv_timeout(PATIENCE).unwrap(),
        Progress::Durable(Position(1))
    ));
    disk.break_at(1, Fault::PowerCut);
    log.pen().append(&samples::turn(2)).unwrap();
    let Progress::Failed(error) = hear.recv_timeout(PATIENCE).unwrap() else {
        panic!("it cannot be durable");
    };
    assert!(matches!(*error, LogError::Disk { .. }), "{error}");
    for _ in 0..2 {
        let refused = log.pen().append(&samples::turn(3)).unwrap_err();
        assert!(Arc::ptr_eq(&refused, &error));
    }
    assert_eq!(log.pen().durable(), Position(1));
}

/// Prints what a message of 256 bytes and its acknowledgement cost. In a build for tests the
/// figures are a lower bound.
#[test]
#[ignore = "prints figures"]
fn long_how_many_records_a_second() {
    let mut world = World::open();
    let keeper = world.enter_with("keeper", lasting);
    world.subscribe(keeper, "#", QoS::AtLeastOnce);
    world.lose(keeper);
    let device = world.enter("dev-1");
    world.records();
    world.send(device, qos1("devices/dev-1/telemetry", &"x".repeat(256), 1));
    let message = world.records().remove(0);
    let Record::Message { number, .. } = message else {
        panic!("{message:?}");
    };
    let settled = Record::Settled {
        session: crate::engine::SessionNumber(1),
        message: number,
    };
    for durability in [Durability::Sync, Durability::Os] {
        for (name, record) in [("message", &message), ("settled", &settled)] {
            for turn_len in [1, 64] {
                measure(durability, (name, record), turn_len);
            }
        }
    }
}

fn measure(durability: Durability, (name, record): (&str, &Record), turn_len: u32) {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        durability,
        ..settings(SegmentBytes::default().get())
    };
    let (_, recovered) = recover(folder.path(), &settings);
    let log = recovered.start(Arc::default(), |_| {}).unwrap();
    let mut frames = crate::storage::log::frame::Batch::new();
    let records = 200_000_u32;
    let mut numbers = (1..).map(|it| match record.clone() {
        Record::Message {
            message,
            targets,
            reach,
            ..
        } => Record::Message {
            number: samples::number(it),
            message,
            targets,
            reach,
        },
        other => other,
    });
    let begin = Instant::now();
    for _ in 0..records / turn_len {
        let turn: Vec<_> = numbers.by_ref().take(turn_len as usize).collect();
        log.pen().append(&turn).unwrap();
    }
    drop(log);
    let seconds = begin.elapsed().as_secs_f64();
    frames.push(&vec![record.clone(); turn_len as usize]);
    let bytes = f64::from(u32::try_from(frames.frame_len()).unwrap()) / f64::from(turn_len);
    let rate = f64::from(records) / seconds;
    println!("{durability:?} {name} x{turn_len}: {rate:.0} records/s, {bytes:.1} bytes each");
}
