//! A disk that is full: the message says what would help, and what was durable stays.

use super::simulated_disk::SimulatedDisk;
use super::{batch, recover, settings};
use crate::storage::log::appender::Appender;
use crate::storage::log::shelf::Shelf;
use crate::storage::log::{LogError, Settings};
use std::sync::Arc;

const SEGMENT_BYTES: u64 = 4096;

fn open(disk: &SimulatedDisk, settings: &Settings) -> Result<Appender, LogError> {
    let (_, found) = recover(disk, settings)?;
    Appender::new(Shelf::new(Arc::new(disk.clone())), settings.clone(), found)
}

#[test]
fn a_disk_without_room_for_one_segment_is_refused_at_the_start() {
    let disk = SimulatedDisk::default();
    disk.fill_up_at(3000);
    let error = open(&disk, &settings(SEGMENT_BYTES)).err().unwrap();
    assert_eq!(
        error.to_string(),
        "no space for /simulated/preparing: it takes 4096 bytes (`segment_bytes`), 3000 are free"
    );
    assert_eq!(
        disk.file_names(),
        Vec::<String>::new(),
        "what it took is given back"
    );
}

#[test]
fn a_disk_that_fills_up_ends_the_log_and_keeps_what_was_durable() {
    let disk = SimulatedDisk::default();
    disk.fill_up_at(60_000);
    let settings = settings(SEGMENT_BYTES);
    let mut appender = open(&disk, &settings).unwrap();
    let mut reported = 0;
    let error = loop {
        match appender.commit(&mut batch(reported + 1, 2)) {
            Ok(_) => reported = appender.position().0,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, LogError::Full { size, .. } if size >= SEGMENT_BYTES),
        "{error}"
    );
    assert!(reported > 10, "{reported}");
    let (kept, _) = recover(&disk, &settings).unwrap();
    assert_eq!(kept.check(1), reported);
    // With more room it goes on.
    disk.fill_up_at(100_000);
    let mut appender = open(&disk, &settings).unwrap();
    appender.commit(&mut batch(reported + 1, 2)).unwrap();
    assert_eq!(appender.position().0, reported + 2);
}
