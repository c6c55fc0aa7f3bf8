//! Planted bugs: mistakes of a broker, made around the real code, which knows nothing of them.
//!
//! Each is one that has been made in the field, and each must be caught by a checker.

use crate::machine::disk::SimulatedDisk;
use broker::engine::{Record, Restored, SessionNumber};
use broker::storage::Position;
use broker::storage::log::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// A publisher is told that its message is safe before it is.
    PubackBeforeSync,
    /// A publisher may use an identifier again before it is recorded that it is free.
    PubcompBeforeRecord,
    /// A QoS 2 message is sent under an identifier that nobody remembers.
    SentNotRecorded,
    /// A session that was to begin anew goes on with what it had.
    CleanStartNotRecorded,
    /// The disk says that it has synced, and has not.
    LostTail,
    /// One segment more is let go than nobody needs.
    WrongTrim,
    /// After a restart the broker does not know that it owes a PUBREL.
    DroppedPubrel,
    /// After a restart what waits comes in another order.
    ReorderedResume,
}

impl Plant {
    pub(crate) const ALL: [Self; 8] = [
        Self::PubackBeforeSync,
        Self::PubcompBeforeRecord,
        Self::SentNotRecorded,
        Self::CleanStartNotRecorded,
        Self::LostTail,
        Self::WrongTrim,
        Self::DroppedPubrel,
        Self::ReorderedResume,
    ];

    /// Whether the speech that depends on these records is said before they are durable.
    pub(crate) fn speaks_early(self, records: &[Record]) -> bool {
        match self {
            Self::PubackBeforeSync => records
                .iter()
                .all(|it| matches!(it, Record::Message { .. } | Record::Retained { .. })),
            Self::PubcompBeforeRecord => records
                .iter()
                .all(|it| matches!(it, Record::Released { .. })),
            _ => false,
        }
    }

    /// Spoils what was read at the start.
    pub(crate) fn spoil_restored(self, restored: &mut Restored) {
        if self == Self::ReorderedResume {
            for session in &mut restored.sessions {
                session.pending.reverse();
            }
        }
    }
}

/// Spoils what is recorded.
#[derive(Debug, Default)]
pub(crate) struct Forger {
    /// What the log calls the sessions that never began there.
    instead_of: BTreeMap<SessionNumber, SessionNumber>,
}

impl Forger {
    /// Spoils the records of a turn.
    pub(crate) fn spoil(&mut self, plant: Plant, records: &mut Vec<Record>) {
        match plant {
            Plant::SentNotRecorded => records.retain(|it| !matches!(it, Record::Sent { .. })),
            Plant::DroppedPubrel => {
                records.retain(|it| !matches!(it, Record::Completed { .. }));
                for record in records {
                    if let Record::Received {
                        session, message, ..
                    } = *record
                    {
                        *record = Record::Settled { session, message };
                    }
                }
            }
            Plant::CleanStartNotRecorded => self.forget_clean_start(records),
            _ => {}
        }
    }

    fn forget_clean_start(&mut self, records: &mut Vec<Record>) {
        while let Some(place) = records.windows(2).position(|pair| {
            matches!(
                pair,
                [Record::SessionEnded { .. }, Record::SessionCreated { .. }]
            )
        }) {
            let created = records.remove(place + 1);
            let ended = records.remove(place);
            if let (
                Record::SessionEnded { session: old },
                Record::SessionCreated { session: new, .. },
            ) = (ended, created)
            {
                let old = self.instead_of.get(&old).copied().unwrap_or(old);
                self.instead_of.insert(new, old);
            }
        }
        for record in records {
            self.rename(record);
        }
    }

    fn rename(&self, record: &mut Record) {
        let instead_of = &self.instead_of;
        let rename = |session: &mut SessionNumber| {
            if let Some(old) = instead_of.get(session) {
                *session = *old;
            }
        };
        match record {
            Record::SessionCreated { session, .. }
            | Record::SessionResumed { session, .. }
            | Record::SessionLeft { session, .. }
            | Record::SessionEnded { session }
            | Record::Subscribed { session, .. }
            | Record::Unsubscribed { session, .. }
            | Record::WillSet { session, .. }
            | Record::WillCleared { session }
            | Record::Settled { session, .. }
            | Record::Sent { session, .. }
            | Record::Received { session, .. }
            | Record::Completed { session, .. }
            | Record::Accepted { session, .. }
            | Record::Released { session, .. } => rename(session),
            Record::Message { targets, .. } => {
                targets.iter_mut().for_each(|it| rename(&mut it.session));
            }
            Record::Copy { target, .. } => rename(&mut target.session),
            Record::Retained { .. }
            | Record::RetainedCleared { .. }
            | Record::ForwardsTaken { .. }
            | Record::ForwardsDone { .. } => {}
        }
    }
}

/// A position that is durable already.
pub(crate) const DURABLE: Position = Position(0);

/// A disk that does more or less than it is asked to.
pub(crate) struct Liar {
    pub(crate) disk: SimulatedDisk,
    pub(crate) plant: Option<Plant>,
    pub(crate) syncs: Arc<AtomicU64>,
}

/// What the first segment of all is called.
const FIRST_SEGMENT: &str = "0000000001.log";
/// So many syncs are done before one is not.
const HONEST_SYNCS: u64 = 8;

impl Liar {
    fn wrap(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        match self.plant {
            Some(Plant::LostTail) => {
                let syncs = Arc::clone(&self.syncs);
                Box::new(LyingFile { file, syncs })
            }
            _ => file,
        }
    }

    /// Where segments were let go, lets go of another one.
    pub(crate) fn trim(&self) {
        let mut segments = self.disk.names().unwrap_or_default();
        segments.retain(|it| it.strip_suffix(".log").is_some());
        let is_trimmed = segments.first().is_some_and(|it| it != FIRST_SEGMENT);
        if self.plant == Some(Plant::WrongTrim) && is_trimmed && segments.len() > 1 {
            // The process before may have broken the disk.
            let _ = self.disk.remove(&segments[0]);
        }
    }
}

impl Disk for Liar {
    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
}

struct LyingFile {
    file: Box<dyn DiskFile>,
    syncs: Arc<AtomicU64>,
}

impl DiskFile for LyingFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let before = self.syncs.fetch_add(1, Ordering::Relaxed);
        if before % (HONEST_SYNCS + 1) == HONEST_SYNCS {
            return Ok(());
        }
        self.file.sync()
    }
}
