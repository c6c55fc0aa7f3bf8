//! A segment: a file of a fixed size with a header and room for frames.
//!
//! All of it is written and synced before the first frame goes in, so that a commit changes bytes
//! that are there and never waits for the file system to find room. It bears the name of a
//! segment only once its header is on the disk; its number and what it continues join it to the
//! one before.

use super::error::{Damage, LogError};
use super::frame::Link;
use super::sector::{self, SECTOR_LEN, Sector};
use super::shelf::{NamedFile, Shelf};
use bytes::{Buf, BufMut};

/// Where the first frame begins: one sector of the disk is the header's alone.
pub(in crate::storage) const FRAMES_START: u64 = SECTOR_LEN as u64;
/// What becomes a spare when it is done.
const PREPARING: &str = "preparing";
/// What becomes the checkpoint when it is done.
pub(in crate::storage) const UNFINISHED_CHECKPOINT: &str = "checkpoint-preparing";
/// So much is written at once when a spare is made.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Header {
    pub(in crate::storage) shard: u32,
    pub(in crate::storage) sequence: u64,
    /// What its first frame continues.
    pub(in crate::storage) link: Link,
    /// What keys the checks of its frames.
    pub(in crate::storage) salt: u64,
    /// How long the file is.
    pub(in crate::storage) size: u64,
}

/// An open segment.
pub(in crate::storage) struct Segment {
    pub(in crate::storage) header: Header,
    pub(in crate::storage) file: NamedFile,
}

impl Segment {
    /// Makes a segment of a spare of the size that is in the header.
    pub(in crate::storage) fn begin(
        shelf: &Shelf,
        spare: &str,
        header: Header,
    ) -> Result<Self, LogError> {
        let file = shelf.open(spare)?;
        file.write_at(&sector::seal(&header), 0, header.size)?;
        file.sync(header.size)?;
        drop(file);
        let name = name_of(header.sequence);
        shelf.rename(spare, &name)?;
        shelf.sync_names()?;
        let file = shelf.open(&name)?;
        Ok(Self { header, file })
    }

    /// Opens the segment with this number.
    pub(in crate::storage) fn open(shelf: &Shelf, sequence: u64) -> Result<Self, LogError> {
        let file = shelf.open(&name_of(sequence))?;
        let header: Header = sector::open(&file)?;
        if header.sequence != sequence {
            return Err(file.damaged(0, Damage::Header));
        }
        Ok(Self { header, file })
    }

    pub(in crate::storage) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), LogError> {
        self.file.write_at(bytes, offset, self.header.size)
    }

    /// Writes zeros from `offset` to the end.
    pub(in crate::storage) fn clear_from(&self, offset: u64) -> Result<(), LogError> {
        write_zeros(&self.file, offset, self.header.size)
    }

    pub(in crate::storage) fn sync(&self) -> Result<(), LogError> {
        self.file.sync(self.header.size)
    }
}

impl Sector for Header {
    const MAGIC: [u8; 8] = *b"CSIGNLOG";
    const VERSION: u32 = 1;
    const FIELDS_LEN: usize = 40;

    fn put(&self, out: &mut impl BufMut) {
        out.put_u32_le(self.shard);
        out.put_u64_le(self.sequence);
        out.put_u64_le(self.link.turns);
        out.put_u64_le(self.salt);
        out.put_u64_le(self.size);
        out.put_u32_le(self.link.check);
    }

    fn get(fields: &mut impl Buf) -> Self {
        let (shard, sequence) = (fields.get_u32_le(), fields.get_u64_le());
        let turns = fields.get_u64_le();
        Self {
            shard,
            sequence,
            salt: fields.get_u64_le(),
            size: fields.get_u64_le(),
            link: Link {
                turns,
                check: fields.get_u32_le(),
            },
        }
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// Makes a spare of this size: room on the disk that the log has for itself.
pub(in crate::storage) fn prepare(shelf: &Shelf, spare: &str, size: u64) -> Result<(), LogError> {
    let outcome = fill(shelf, size).and_then(|()| shelf.rename(PREPARING, spare));
    outcome.map_err(|error| {
        // What it has taken of a full disk is of use to others; the first error says more.
        let _ = shelf.remove(PREPARING);
        shelf.measured_again(error)
    })
}

fn fill(shelf: &Shelf, size: u64) -> Result<(), LogError> {
    let file = shelf.create(PREPARING)?;
    write_zeros(&file, 0, size)?;
    file.sync(size)
}

fn write_zeros(file: &NamedFile, mut offset: u64, size: u64) -> Result<(), LogError> {
    while offset < size {
        let len = usize::try_from(size - offset).unwrap_or(usize::MAX);
        let zeros = ZEROS.get(..len).unwrap_or(&ZEROS);
        file.write_at(zeros, offset, size)?;
        offset += zeros.len() as u64;
    }
    Ok(())
}

/// What a file in the folder of a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Role {
    /// The segment with this number.
    Segment(u64),
    /// Room for a segment.
    Spare(u64),
    /// A spare or a checkpoint that was never finished.
    Unfinished,
    /// None of ours.
    Foreign,
}

impl Role {
    pub(in crate::storage) fn of(name: &str) -> Self {
        let number = |rest: &str| rest.parse().ok();
        if name == PREPARING || name == UNFINISHED_CHECKPOINT {
            return Self::Unfinished;
        }
        let spare = name
            .strip_prefix("spare-")
            .and_then(number)
            .map(Self::Spare);
        let segment = || {
            name.strip_suffix(".log")
                .and_then(number)
                .map(Self::Segment)
        };
        let role = spare.or_else(segment).unwrap_or(Self::Foreign);
        // Another way to write the number is another name.
        match role {
            Self::Segment(number) if name_of(number) == name => role,
            Self::Spare(number) if spare_name(number) == name => role,
            Self::Unfinished | Self::Foreign | Self::Segment(_) | Self::Spare(_) => Self::Foreign,
        }
    }
}

/// The number of a segment, of which there are never as many as it can say.
pub(in crate::storage) fn number_of(sequence: u64) -> u32 {
    u32::try_from(sequence).unwrap_or(u32::MAX)
}

pub(in crate::storage) fn name_of(sequence: u64) -> String {
    format!("{sequence:010}.log")
}

pub(in crate::storage) fn spare_name(number: u64) -> String {
    format!("spare-{number}")
}
