//! The checkpoint: the state as of one turn, so that the log before it need not be read again.
//!
//! It is there as a whole or not at all: it is written under another name, synced, and renamed
//! over the one before. It has the frames of the log, chained, and says at its end that it is
//! the end.

mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;

use super::Position;
use super::log::sector::{SECTOR_LEN, Sector};
use bytes::{Buf, BufMut};

/// Its name in the folder of the log.
pub(super) const NAME: &str = "checkpoint";
/// Where the first frame begins.
const FRAMES_START: u64 = SECTOR_LEN as u64;

/// What stands at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    shard: u32,
    /// The turn it is of.
    covered: Position,
    /// What keys the checks of its frames.
    salt: u64,
    /// How long the file is.
    size: u64,
    /// How many frames it has.
    frames: u64,
}

impl Sector for Header {
    const MAGIC: [u8; 8] = *b"CSIGNCKP";
    const VERSION: u32 = 1;
    const FIELDS_LEN: usize = 36;

    fn put(&self, out: &mut impl BufMut) {
        out.put_u32_le(self.shard);
        out.put_u64_le(self.covered.0);
        out.put_u64_le(self.salt);
        out.put_u64_le(self.size);
        out.put_u64_le(self.frames);
    }

    fn get(fields: &mut impl Buf) -> Self {
        Self {
            shard: fields.get_u32_le(),
            covered: Position(fields.get_u64_le()),
            salt: fields.get_u64_le(),
            size: fields.get_u64_le(),
            frames: fields.get_u64_le(),
        }
    }

    fn size(&self) -> u64 {
        self.size
    }
}
