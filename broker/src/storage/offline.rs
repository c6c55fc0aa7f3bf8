//! Looking at a data directory without a broker: what is in it, whether it is whole, and a copy
//! of what is.
//!
//! It is read and never changed, whatever is found in it.

use super::Position;
use super::directory::{self, DirectoryError};
use super::log::recovery::{Known, Looked, look};
use super::log::segment::name_of;
use super::log::shelf::Shelf;
use super::log::{Durability, LogError, ReadOnly, SegmentBytes, Settings, Torn};
use super::state::State;
use super::{checkpoint, contents};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is in a data directory.
#[derive(Debug)]
pub struct Report {
    /// One for each shard, in order.
    pub shards: Vec<ShardReport>,
}

/// What is in the folder of one shard.
#[derive(Debug)]
pub struct ShardReport {
    /// Where it is.
    pub path: PathBuf,
    /// The turn its checkpoint is of, and how long that is.
    pub checkpoint: Option<(Position, u64)>,
    /// Its segments, the oldest first.
    pub segments: Vec<SegmentReport>,
    /// The last turn.
    pub position: Position,
    /// The tail that the broker will cut when it starts.
    pub torn: Option<Torn>,
    /// How many sessions, subscriptions and retained messages there are.
    pub sessions: usize,
    /// Of all sessions.
    pub subscriptions: usize,
    /// How many messages wait for somebody, and the payload in them.
    pub messages: usize,
    /// In bytes.
    pub payload_bytes: u64,
    /// One a topic.
    pub retained: usize,
}

/// One file of a log.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// Its name.
    pub name: String,
    /// How long it is.
    pub size: u64,
    /// The last turn in it or before it.
    pub end: Position,
}

/// Something is wrong with a data directory.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// It is none.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It cannot be read, or is damaged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What is whole could not be copied.
    #[error("{}: cannot be written", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Reads all that is needed to start, and says what there is.
///
/// # Errors
/// If a broker would not start with it.
pub fn inspect(path: &Path) -> Result<Report, OfflineError> {
    report(path, |_, _| Ok(()))
}

/// The same, and reads every message that waits, too.
///
/// # Errors
/// If anything is not as it was written, though a broker might start with it.
pub fn verify(path: &Path) -> Result<Report, OfflineError> {
    report(path, |shelf, state| {
        let all = state.messages.from(0);
        let placed: Vec<_> = all.map(|(number, it)| (number, it.place)).collect();
        let read = |some: &[_]| contents::messages(shelf, some).map(drop);
        placed.chunks(READ_AT_ONCE).try_for_each(read)
    })
}

/// So many messages are in memory at once.
const READ_AT_ONCE: usize = 4096;

fn report(
    path: &Path,
    check: impl Fn(&Shelf, &State) -> Result<(), LogError>,
) -> Result<Report, OfflineError> {
    let shards = directory::shards_of(path)?;
    let shards = (0..shards).map(|index| {
        let path = directory::shard_path(path, index);
        let shelf = Shelf::new(Arc::new(ReadOnly::new(path.clone())));
        let found = find(&shelf, index)?;
        check(&shelf, &found.state)?;
        Ok(found.report(path))
    });
    let shards: Result<_, OfflineError> = shards.collect();
    Ok(Report { shards: shards? })
}

/// What is in the folder of one shard.
struct Found {
    state: State,
    looked: Looked,
    checkpoint: Option<(Position, u64)>,
}

fn find(shelf: &Shelf, shard: u32) -> Result<Found, LogError> {
    let checkpoint = checkpoint::read(shelf, shard)?;
    let covered = checkpoint.covered;
    let mut state = checkpoint.state;
    let looked = look(shelf, &settings(shard, covered), &mut state)?;
    let first = looked.segments.first().map_or(u64::MAX, |it| it.sequence);
    let places = state.messages.from(0).map(|(_, it)| it.place.segment);
    if let Some(missing) = places.min().filter(|it| u64::from(*it) < first) {
        let path = shelf.path(&name_of(missing.into()));
        return Err(LogError::Needed { path });
    }
    Ok(Found {
        state,
        looked,
        checkpoint: (checkpoint.size > 0).then_some((covered, checkpoint.size)),
    })
}

/// Nothing is written with these.
fn settings(shard: u32, covered: Position) -> Settings {
    Settings {
        covered,
        ..Settings::new(shard, SegmentBytes::default(), Durability::Sync, u64::MAX)
    }
}

impl Found {
    fn report(self, path: PathBuf) -> ShardReport {
        let sessions = self.state.sessions.values();
        let messages = self.state.messages.from(0);
        ShardReport {
            path,
            checkpoint: self.checkpoint,
            segments: self.looked.segments.iter().map(SegmentReport::of).collect(),
            position: Position(self.looked.link.turns),
            torn: self.looked.torn,
            sessions: self.state.sessions.len(),
            subscriptions: sessions.map(|kept| kept.subscriptions.len()).sum(),
            messages: self.state.messages.len(),
            payload_bytes: messages
                .map(|(_, it)| u64::from(it.outline.payload_len))
                .sum(),
            retained: self.state.retained.len(),
        }
    }
}

impl SegmentReport {
    fn of(known: &Known) -> Self {
        Self {
            name: name_of(known.sequence),
            size: known.size,
            end: Position(known.end),
        }
    }
}
