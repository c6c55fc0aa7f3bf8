//! The appender: puts frames behind each other and segments behind each other.
//!
//! It has no thread and no clock: what it does to the disk follows from what it is told, so that
//! a simulation can stop it between any two steps. After an error it is not used again.

use super::error::{Damage, LogError};
use super::frame::{Batch, Link, Promise};
use super::record::Malformed;
use super::recovery::{Found, Known};
use super::segment::{FRAMES_START, Header, Segment, name_of};
use super::shelf::Shelf;
use super::spares::Spares;
use super::{Durability, Settings};
use crate::storage::Position;
use std::collections::VecDeque;

pub(super) struct Appender {
    shelf: Shelf,
    settings: Settings,
    active: Segment,
    /// Where the next frame goes.
    offset: u64,
    link: Link,
    /// The segments before, the oldest first.
    complete: VecDeque<Known>,
    pub(super) spares: Spares,
}

impl Appender {
    /// Goes on where the log ends; the first segment of an empty one is made here.
    pub(super) fn new(shelf: Shelf, settings: Settings, found: Found) -> Result<Self, LogError> {
        let size = settings.segment_bytes.get();
        let mut spares = Spares::new(shelf.clone(), size, &found.spares);
        let mut complete = VecDeque::from(found.segments);
        complete.pop_back();
        let (active, offset) = if let Some(active) = found.active {
            active
        } else {
            let (spare, size) = spares.take(0)?;
            let header = header(&settings, (1, size), found.link);
            (Segment::begin(&shelf, &spare, header)?, FRAMES_START)
        };
        Ok(Self {
            shelf,
            settings,
            active,
            offset,
            link: found.link,
            complete,
            spares,
        })
    }

    /// Writes a batch as one frame. When this returns, it is durable. Where its body begins, in
    /// the segment at hand.
    pub(super) fn commit(&mut self, batch: &mut Batch) -> Result<u64, LogError> {
        let len = batch.frame_len();
        if !self.has_room(len) {
            self.go_on_in_another(len)?;
        }
        let promise = match self.settings.durability {
            Durability::Sync => Promise::Synced,
            Durability::Os => Promise::Written,
        };
        let sealed = batch.seal(self.active.header.salt, self.link, promise);
        let (frame, link) = sealed.map_err(|_| LogError::TurnTooLong)?;
        self.active.write_at(frame, self.offset)?;
        if self.settings.durability == Durability::Sync {
            self.active.sync()?;
        }
        let begin = self.offset;
        self.offset += len;
        self.link = link;
        Ok(begin)
    }

    /// Lets go of the oldest segment. It must be complete, and nobody must need it.
    pub(super) fn let_go(&mut self) -> Result<(), LogError> {
        let Some(oldest) = self.complete.pop_front() else {
            return Ok(());
        };
        // That nobody needs it must be on the disk before it is gone.
        if self.settings.durability == Durability::Os {
            self.active.sync()?;
        }
        self.spares.recycle(&name_of(oldest.sequence), oldest.size)
    }

    /// The oldest segment, if it is complete.
    pub(super) fn oldest(&self) -> Option<Known> {
        self.complete.front().copied()
    }

    /// All segments, the oldest first; the end of the last one is where it is now.
    pub(super) fn segments(&self) -> impl DoubleEndedIterator<Item = Known> {
        let header = self.active.header;
        let active = Known {
            sequence: header.sequence,
            size: header.size,
            end: self.link.turns,
        };
        self.complete.iter().copied().chain([active])
    }

    /// Where the last frame went, or the next one goes.
    pub(super) fn segment(&self) -> u64 {
        self.active.header.sequence
    }

    /// How much room there is that nothing has taken: spares, and what the disk has.
    pub(super) fn free_bytes(&self) -> u64 {
        self.spares.bytes().saturating_add(self.shelf.free_bytes())
    }

    /// What was written at `offset` in the segment at hand does not fit to what was before.
    pub(super) fn senseless(&self, offset: u64, malformed: Malformed) -> LogError {
        let turn = self.link.turns;
        let damage = Damage::Meaning { turn, malformed };
        self.active.file.damaged(offset, damage)
    }

    /// The last turn there is.
    pub(super) fn position(&self) -> Position {
        Position(self.link.turns)
    }

    /// Whether the next frame, of this length, goes into the segment at hand.
    pub(super) fn has_room(&self, len: u64) -> bool {
        self.offset + len <= self.active.header.size
    }

    fn go_on_in_another(&mut self, frame_len: u64) -> Result<(), LogError> {
        let before = self.active.header;
        // A segment that follows proves that the one before is whole, however durable its frames.
        if self.settings.durability == Durability::Os {
            self.active.sync()?;
        }
        let (spare, size) = self.spares.take(FRAMES_START + frame_len)?;
        let header = header(&self.settings, (before.sequence + 1, size), self.link);
        self.active = Segment::begin(&self.shelf, &spare, header)?;
        self.offset = FRAMES_START;
        self.complete.push_back(Known {
            sequence: before.sequence,
            size: before.size,
            end: self.link.turns,
        });
        Ok(())
    }
}

fn header(settings: &Settings, (sequence, size): (u64, u64), link: Link) -> Header {
    Header {
        shard: settings.shard,
        sequence,
        link,
        salt: salt(settings.seed, sequence),
        size,
    }
}

/// A number for each segment that nobody guesses who does not know the seed (`SplitMix64`).
pub(in crate::storage) fn salt(seed: u64, sequence: u64) -> u64 {
    let mixed = seed.wrapping_add(sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
