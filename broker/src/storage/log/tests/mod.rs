//! The log on disks that tear, lose, reorder, flip and fill up.

mod codec;
mod crash;
mod damage;
mod full;
pub(in crate::storage) mod samples;
pub(in crate::storage) mod simulated_disk;
mod strategies;
mod threads;

use super::frame::{Batch, Frame, Turns};
use super::record::Malformed;
use super::recovery::{Found, Read};
use super::{Durability, LogError, Replay, SegmentBytes, Settings};
use super::{record, recovery, shelf::Shelf};
use crate::engine::Record;
use crate::storage::Position;
use simulated_disk::SimulatedDisk;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What recovery has found: the records of each turn, as bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kept {
    turns: BTreeMap<u64, Vec<u8>>,
}

impl Replay for Kept {
    fn frame(&mut self, read: &Read<'_>) -> Result<(), Malformed> {
        self.take(&read.frame, read.covered)
    }
}

impl Kept {
    /// Takes the turns of a frame that are not covered.
    fn take(&mut self, frame: &Frame<'_>, covered: Position) -> Result<(), Malformed> {
        let mut turns = Turns::new(frame);
        let mut position = frame.header.link.turns;
        loop {
            let begin = frame.body.len() - turns.left();
            if !turns.next(|_| Ok(()))? {
                return Ok(());
            }
            let bytes = frame.body[begin..frame.body.len() - turns.left()].to_vec();
            position += 1;
            if position > covered.0 {
                let before = self.turns.insert(position, bytes);
                assert_eq!(before, None, "{position:?} twice");
            }
        }
    }

    /// There are all turns from `first` to some last one, each as it was; says which is the last.
    #[track_caller]
    fn check(&self, first: u64) -> u64 {
        let mut next = first;
        for (position, bytes) in &self.turns {
            assert_eq!(*position, next, "a hole");
            assert_eq!(*bytes, samples::made_turn(next).1, "turn {next}");
            next += 1;
        }
        next - 1
    }
}

fn bytes_of(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        record::write(record, &mut bytes);
    }
    bytes
}

/// Settings with segments smaller than anybody may set.
fn settings(segment_bytes: u64) -> Settings {
    Settings {
        shard: 3,
        segment_bytes: SegmentBytes(segment_bytes),
        durability: Durability::Sync,
        disk_bytes_max: u64::MAX,
        covered: Position(0),
        seed: 42,
    }
}

fn recover(disk: &SimulatedDisk, settings: &Settings) -> Result<(Kept, Found), LogError> {
    let mut kept = Kept::default();
    let found = recovery::recover(&Shelf::new(Arc::new(disk.clone())), settings, &mut kept)?;
    Ok((kept, found))
}

/// The turns from `first` on, of which there are `len`.
fn batch(first: u64, len: u64) -> Batch {
    let mut batch = Batch::new();
    (first..first + len).for_each(|turn| batch.push(&samples::made_turn(turn).0));
    batch
}
