//! Writing a checkpoint: everything in an order in which it can be read in one pass.
//!
//! A message stands before those who owe it, a session before what it has.

use super::{FRAMES_START, Header, NAME};
use crate::engine::{Record, SessionNumber};
use crate::storage::Position;
use crate::storage::log::LogError;
use crate::storage::log::frame::{self, Link, Promise};
use crate::storage::log::record::{Saved, write_saved};
use crate::storage::log::sector;
use crate::storage::log::segment::UNFINISHED_CHECKPOINT;
use crate::storage::log::shelf::{NamedFile, Shelf};
use crate::storage::state::{Kept, Owed, State};
use std::sync::Arc;

/// So long is a frame, unless a single entry is longer.
const FRAME_LEN_MAX: usize = 256 * 1024;

/// Writes the state as of the turn `covered`, in place of the checkpoint before. How long it is.
///
/// # Errors
/// If the disk fails or is full. The one before is still there then.
pub(in crate::storage) fn write(
    shelf: &Shelf,
    (shard, salt): (u32, u64),
    covered: Position,
    state: &State,
) -> Result<u64, LogError> {
    let outcome = write_file(shelf, (shard, salt), covered, state);
    if outcome.is_err() {
        // What it has taken of a full disk is of use to the log; the first error says more.
        let _ = shelf.remove(UNFINISHED_CHECKPOINT);
    }
    let size = outcome?;
    shelf.rename(UNFINISHED_CHECKPOINT, NAME)?;
    shelf.sync_names()?;
    Ok(size)
}

fn write_file(
    shelf: &Shelf,
    (shard, salt): (u32, u64),
    covered: Position,
    state: &State,
) -> Result<u64, LogError> {
    let mut writer = Writer::new(shelf.create(UNFINISHED_CHECKPOINT)?, salt);
    writer.state(state)?;
    writer.flush()?;
    let header = Header {
        shard,
        covered,
        salt,
        size: writer.offset,
        frames: writer.link.turns,
    };
    writer
        .file
        .write_at(&sector::seal(&header), 0, header.size)?;
    writer.file.sync(header.size)?;
    Ok(header.size)
}

struct Writer {
    file: NamedFile,
    salt: u64,
    offset: u64,
    link: Link,
    /// Room for the header of a frame, then its body.
    bytes: Vec<u8>,
    /// How many entries there are.
    len: u64,
}

impl Writer {
    fn new(file: NamedFile, salt: u64) -> Self {
        Self {
            file,
            salt,
            offset: FRAMES_START,
            link: Link::default(),
            bytes: vec![0; frame::HEADER_LEN],
            len: 0,
        }
    }

    fn state(&mut self, state: &State) -> Result<(), LogError> {
        self.put(&Saved::Next {
            session: state.next_session,
            message: state.next_message,
        })?;
        for (number, waiting) in state.messages.from(0) {
            let (place, outline) = (waiting.place, waiting.outline);
            self.put(&Saved::Placed {
                number,
                place,
                outline,
            })?;
        }
        for number in state.forwards.iter().copied() {
            self.put(&Saved::Forwarded { number })?;
        }
        for (from, up_to) in &state.forwards_taken {
            let (from, up_to) = (*from, *up_to);
            self.put(&Saved::Record(Record::ForwardsTaken { from, up_to }))?;
        }
        for (number, kept) in &state.sessions {
            self.session(*number, kept)?;
        }
        for message in state.retained.values() {
            let message = Arc::clone(message);
            self.put(&Saved::Record(Record::Retained { message }))?;
        }
        self.put(&Saved::End { len: self.len })
    }

    fn session(&mut self, session: SessionNumber, kept: &Kept) -> Result<(), LogError> {
        let mut outcome = Ok(());
        kept.records(session, &mut |record| {
            if outcome.is_ok() {
                outcome = self.put(&Saved::Record(record));
            }
        });
        outcome?;
        for packet_id in kept.received.iter().copied() {
            self.put(&Saved::AwaitsPubcomp { session, packet_id })?;
        }
        if let Some(packet_id) = kept.last_sent {
            self.put(&Saved::LastSent { session, packet_id })?;
        }
        kept.pending
            .iter()
            .try_for_each(|owed| self.owed(session, owed))
    }

    fn owed(&mut self, session: SessionNumber, owed: &Owed) -> Result<(), LogError> {
        self.put(&Saved::Owed {
            number: owed.number,
            sent: owed.sent,
            target: owed.target(session),
        })
    }

    fn put(&mut self, saved: &Saved) -> Result<(), LogError> {
        write_saved(saved, &mut self.bytes);
        self.len += 1;
        if self.bytes.len() >= FRAME_LEN_MAX {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        if self.bytes.len() == frame::HEADER_LEN {
            return Ok(());
        }
        let promise = Promise::Written;
        let link = frame::seal(&mut self.bytes, 1, self.salt, (self.link, promise));
        self.link = link.map_err(|_| LogError::TurnTooLong)?;
        let end = self.offset + self.bytes.len() as u64;
        self.file.write_at(&self.bytes, self.offset, end)?;
        self.offset = end;
        self.bytes.truncate(frame::HEADER_LEN);
        Ok(())
    }
}
