//! The log: what must outlive us, one file behind the other, for one shard.
//!
//! What it has told to be durable is found again by `Log::recover`, whatever happens to the
//! process or to its power, and what is found has no hole. `docs/storage.md` describes every byte.

mod appender;
mod disk;
mod error;
pub(super) mod frame;
pub(super) mod record;
pub(super) mod recovery;
pub(super) mod sector;
pub(super) mod segment;
pub(super) mod shelf;
mod spares;
#[cfg(test)]
pub(super) mod tests;
mod watermark;
mod window;
mod writer;

pub use disk::{Disk, DiskFile, Folder, ReadOnly};
pub use error::{Damage, Free, LogError, Operation};
pub(super) use frame::{Mark, Marked};
pub use record::Malformed;
pub(super) use recovery::Replay;
pub use recovery::Torn;

use super::desk::Desk;
use super::{Position, Progress};
use crate::engine::{MessageNumber, Record};
use appender::Appender;
pub(super) use appender::salt;
use shelf::Shelf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use watermark::Watermark;
use writer::Shared;
pub(super) use writer::Writer;

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
    /// As many bytes the log and its checkpoint may take; before that, nothing more is taken in.
    pub disk_bytes_max: u64,
    /// The turn up to which a checkpoint has everything: the log is replayed from there on.
    pub(super) covered: Position,
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
pub(super) struct Log {
    pen: Pen,
    writer: Option<JoinHandle<()>>,
}

/// What appends to a log.
#[derive(Clone)]
pub(super) struct Pen {
    shared: Arc<Shared>,
}

/// A log that was read and is not yet written.
pub(super) struct Recovered {
    appender: Appender,
    watermark: Watermark,
    frame_len_max: u64,
    /// The tail that had to be cut.
    pub(super) torn: Option<Torn>,
}

impl Settings {
    /// Settings of a log whose seed is known to everybody.
    pub fn new(
        shard: u32,
        segment_bytes: SegmentBytes,
        durability: Durability,
        disk_bytes_max: u64,
    ) -> Self {
        Self {
            shard,
            segment_bytes,
            durability,
            disk_bytes_max,
            covered: Position(0),
            seed: 0,
        }
    }

    /// The same with a number that nobody can guess who sends us something.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
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

    /// A length that nobody may set, for a disk that is simulated.
    pub fn of(bytes: u64) -> Self {
        Self(bytes)
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
    pub(super) fn recover(
        disk: Arc<dyn Disk>,
        settings: Settings,
        replay: &mut dyn Replay,
    ) -> Result<Recovered, LogError> {
        let shelf = Shelf::new(disk);
        let mut found = recovery::recover(&shelf, &settings, replay)?;
        let torn = found.torn.take();
        let segment_bytes = settings.segment_bytes.get();
        let watermark = Watermark::new(settings.disk_bytes_max, segment_bytes);
        let appender = Appender::new(shelf, settings, found)?;
        Ok(Recovered {
            appender,
            watermark,
            // A few frames fit into a segment.
            frame_len_max: FRAME_LEN_MAX.min(segment_bytes / 4),
            torn,
        })
    }

    /// What appends to it.
    pub(super) fn pen(&self) -> &Pen {
        &self.pen
    }
}

impl Recovered {
    /// The last turn there is.
    pub(super) fn position(&self) -> Position {
        self.appender.position()
    }

    /// What was read does not fit together.
    pub(super) fn senseless(&self, malformed: Malformed) -> LogError {
        self.appender.senseless(0, malformed)
    }

    /// Its segments, the oldest first. The last one is not complete.
    pub(super) fn segments(&self) -> impl Iterator<Item = recovery::Known> {
        self.appender.segments()
    }

    /// Lets the log be written without a thread, by whoever has the writer.
    pub(super) fn by_hand(self, desk: Arc<Desk>) -> (Log, Writer) {
        let shared = Arc::new(Shared::new(self.position(), self.frame_len_max));
        let writer = {
            let shared = Arc::clone(&shared);
            Writer::new(shared, self.appender, (desk, self.watermark))
        };
        let log = Log {
            pen: Pen { shared },
            writer: None,
        };
        (log, writer)
    }

    /// Lets the log be written. `tell` is called by the thread that writes, after each sync.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub(super) fn start(
        self,
        desk: Arc<Desk>,
        tell: impl FnMut(Progress) + Send + 'static,
    ) -> std::io::Result<Log> {
        let (mut log, writer) = self.by_hand(desk);
        let thread = thread::Builder::new().name("log".to_owned());
        log.writer = Some(thread.spawn(move || writer::run(writer, tell))?);
        Ok(log)
    }
}

impl Pen {
    /// Takes the records of a turn, whatever the disk does.
    ///
    /// # Errors
    /// If the log has failed.
    pub(super) fn append(&self, records: &[Record]) -> Result<Position, Arc<LogError>> {
        self.shared.append(records)
    }

    /// Takes messages whose contents are to be where the log ends.
    ///
    /// # Errors
    /// If the log has failed.
    pub(super) fn carry(
        &self,
        messages: &[(MessageNumber, Vec<u8>)],
    ) -> Result<Position, Arc<LogError>> {
        self.shared.carry(messages)
    }

    /// Up to where everything is durable.
    pub(super) fn durable(&self) -> Position {
        self.shared.durable()
    }

    /// The last turn that was taken.
    pub(super) fn taken(&self) -> Position {
        self.shared.taken()
    }

    /// Whether as much has gathered as should.
    pub(super) fn is_behind(&self) -> bool {
        self.shared.is_behind()
    }

    /// There may be segments that nobody needs any more.
    pub(super) fn look(&self) {
        self.shared.look();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.pen.shared.close();
        if let Some(writer) = self.writer.take() {
            // If it panicked, it has said so.
            let _ = writer.join();
        }
    }
}
