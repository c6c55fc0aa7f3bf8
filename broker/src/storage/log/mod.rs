//! The log: what must outlive us, one file behind the other, for one shard.
//!
//! What [`Storage::durable`] has reached is found again by [`Log::recover`], whatever happens to
//! the process or to its power, and what is found has no hole. `docs/storage.md` describes every
//! byte.

mod appender;
mod disk;
mod error;
mod frame;
mod record;
mod recovery;
mod segment;
mod shelf;
mod spares;
#[cfg(test)]
mod tests;
mod window;
mod writer;

pub use disk::{Disk, DiskFile, Folder};
pub use error::{Damage, Free, LogError, Operation};
pub use record::{Malformed, MessageParts};
pub use recovery::{Replay, Torn};
pub use writer::Progress;

use super::{Position, Storage, StorageError};
use crate::engine::Record;
use appender::Appender;
use shelf::Shelf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use writer::Shared;

/// So much gathers for one frame at the most, unless a single turn has more.
const FRAME_LEN_MAX: u64 = 8 * 1024 * 1024;

/// What a log is to be like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose log it is.
    pub shard: u32,
    /// How long a segment is.
    pub segment_bytes: SegmentBytes,
    /// What is survived.
    pub durability: Durability,
    /// The turn up to which a checkpoint has everything: the log is replayed from there on.
    pub covered: Position,
    /// A number that nobody can guess who sends us something.
    pub seed: u64,
}

/// How long a segment is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentBytes(u64);

/// What a log survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The loss of power: each frame is synced.
    #[default]
    Sync,
    /// The end of the process, but not the loss of power: the operating system syncs.
    Os,
}

/// A log of records on a disk. Dropped, it writes what has gathered.
pub struct Log {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// A log that was read and is not yet written.
pub struct Recovered {
    appender: Appender,
    frame_len_max: u64,
    /// The tail that had to be cut.
    pub torn: Option<Torn>,
}

impl SegmentBytes {
    /// 1 MiB.
    pub const MIN: Self = Self(1 << 20);
    /// 256 MiB.
    pub const MAX: Self = Self(256 << 20);

    /// A length between [`Self::MIN`] and [`Self::MAX`].
    pub fn new(bytes: u64) -> Option<Self> {
        let range = Self::MIN.0..=Self::MAX.0;
        range.contains(&bytes).then_some(Self(bytes))
    }

    /// In bytes.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl Default for SegmentBytes {
    fn default() -> Self {
        Self(64 << 20)
    }
}

impl Log {
    /// Reads what is there, from the turn behind `settings.covered` on.
    ///
    /// # Errors
    /// If the disk fails, has no room for the first segment, or holds a log that is damaged.
    pub fn recover(
        disk: Arc<dyn Disk>,
        settings: Settings,
        replay: &mut dyn Replay,
    ) -> Result<Recovered, LogError> {
        let shelf = Shelf::new(disk);
        let mut found = recovery::recover(&shelf, &settings, replay)?;
        let torn = found.torn.take();
        // A few frames fit into a segment.
        let frame_len_max = FRAME_LEN_MAX.min(settings.segment_bytes.get() / 4);
        let appender = Appender::new(shelf, settings, found)?;
        Ok(Recovered {
            appender,
            frame_len_max,
            torn,
        })
    }

    /// Nobody needs the records of the turns up to `position` any more.
    pub fn trim(&self, position: Position) {
        self.shared.trim(position);
    }
}

impl Recovered {
    /// The last turn there is.
    pub fn position(&self) -> Position {
        self.appender.position()
    }

    /// Lets the log be written. `tell` is called by the thread that writes, after each sync.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(self, tell: impl FnMut(Progress) + Send + 'static) -> std::io::Result<Log> {
        let shared = Arc::new(Shared::new(self.position(), self.frame_len_max));
        let appender = self.appender;
        let writer = {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name("log".to_owned());
            thread.spawn(move || writer::run(&shared, appender, tell))?
        };
        Ok(Log {
            shared,
            writer: Some(writer),
        })
    }
}

impl Storage for Log {
    fn append(&mut self, records: &mut Vec<Record>) -> Result<Position, StorageError> {
        let position = self.shared.append(records)?;
        records.clear();
        Ok(position)
    }

    fn durable(&self) -> Position {
        self.shared.durable()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(writer) = self.writer.take() {
            // If it panicked, it has said so.
            let _ = writer.join();
        }
    }
}
