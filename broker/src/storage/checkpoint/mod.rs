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
use bytes::{Buf, BufMut};

/// Its name in the folder of the log.
pub(super) const NAME: &str = "checkpoint";
/// The version of all that is in it. The header has this form in every version.
const FORMAT_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"CSIGNCKP";
/// Where the first frame begins.
const FRAMES_START: u64 = SECTOR_LEN as u64;
const SECTOR_LEN: usize = 512;
/// The bytes of the header that mean something, and how many its CRC is over.
const HEADER_LEN: usize = 52;
const CHECKED_LEN: usize = HEADER_LEN - 4;

/// What stands at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    version: u32,
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

impl Header {
    fn write(&self) -> [u8; SECTOR_LEN] {
        let mut bytes = [0; SECTOR_LEN];
        let mut out = bytes.as_mut_slice();
        out.put_slice(&MAGIC);
        out.put_u32_le(self.version);
        out.put_u32_le(self.shard);
        out.put_u64_le(self.covered.0);
        out.put_u64_le(self.salt);
        out.put_u64_le(self.size);
        out.put_u64_le(self.frames);
        let crc = bytes
            .first_chunk::<CHECKED_LEN>()
            .map(|it| crc32c::crc32c(it));
        if let Some(room) = bytes.get_mut(CHECKED_LEN..HEADER_LEN) {
            (&mut *room).put_u32_le(crc.unwrap_or_default());
        }
        bytes
    }

    fn read(bytes: &[u8; SECTOR_LEN]) -> Option<Self> {
        let (checked, mut rest) = bytes.split_first_chunk::<CHECKED_LEN>()?;
        let mut fields = checked.strip_prefix(&MAGIC)?;
        if rest.get_u32_le() != crc32c::crc32c(checked) {
            return None;
        }
        Some(Self {
            version: fields.get_u32_le(),
            shard: fields.get_u32_le(),
            covered: Position(fields.get_u64_le()),
            salt: fields.get_u64_le(),
            size: fields.get_u64_le(),
            frames: fields.get_u64_le(),
        })
    }
}
