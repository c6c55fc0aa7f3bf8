//! A segment: a file of a fixed size with a header and room for frames.
//!
//! All of it is written and synced before the first frame goes in, so that a commit changes bytes
//! that are there and never waits for the file system to find room. It bears the name of a
//! segment only once its header is on the disk; its number and what it continues join it to the
//! one before.

use super::error::{Damage, LogError};
use super::frame::Link;
use super::shelf::{NamedFile, Shelf};
use bytes::{Buf, BufMut};

/// Where the first frame begins: one sector of the disk is the header's alone.
pub(in crate::storage) const FRAMES_START: u64 = SECTOR_LEN as u64;
/// The version of all that is in a segment. The header has this form in every version.
pub(in crate::storage) const FORMAT_VERSION: u32 = 1;

const SECTOR_LEN: usize = 512;
const MAGIC: [u8; 8] = *b"CSIGNLOG";
/// The bytes of the header that mean something.
const HEADER_LEN: usize = 56;
/// How many of them its CRC is over.
const CHECKED_LEN: usize = HEADER_LEN - 4;
/// What becomes a spare when it is done.
const PREPARING: &str = "preparing";
/// What becomes the checkpoint when it is done.
pub(in crate::storage) const UNFINISHED_CHECKPOINT: &str = "checkpoint-preparing";
/// So much is written at once when a spare is made.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Header {
    pub(in crate::storage) version: u32,
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
        file.write_at(&header.write(), 0, header.size)?;
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
        let mut bytes = [0; HEADER_LEN];
        let size = file.size()?;
        if size < FRAMES_START {
            return Err(file.damaged(size, Damage::Header));
        }
        file.read_at(&mut bytes, 0)?;
        let header = Header::read(&bytes).filter(|header| header.sequence == sequence);
        let header = header.ok_or_else(|| file.damaged(0, Damage::Header))?;
        if header.version != FORMAT_VERSION {
            return Err(LogError::Version {
                path: file.path(),
                found: header.version,
                known: FORMAT_VERSION,
            });
        }
        if header.size != size {
            let damage = Damage::Size {
                found: size,
                made: header.size,
            };
            return Err(file.damaged(size.min(header.size), damage));
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

impl Header {
    pub(in crate::storage) fn write(&self) -> [u8; SECTOR_LEN] {
        let mut bytes = [0; SECTOR_LEN];
        let mut out = bytes.as_mut_slice();
        out.put_slice(&MAGIC);
        out.put_u32_le(self.version);
        out.put_u32_le(self.shard);
        out.put_u64_le(self.sequence);
        out.put_u64_le(self.link.turns);
        out.put_u64_le(self.salt);
        out.put_u64_le(self.size);
        out.put_u32_le(self.link.check);
        let crc = bytes
            .first_chunk::<CHECKED_LEN>()
            .map(|it| crc32c::crc32c(it));
        if let Some(room) = bytes.get_mut(CHECKED_LEN..HEADER_LEN) {
            (&mut *room).put_u32_le(crc.unwrap_or_default());
        }
        bytes
    }

    fn read(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let (checked, mut rest) = bytes.split_first_chunk::<CHECKED_LEN>()?;
        let mut fields = checked.strip_prefix(&MAGIC)?;
        if rest.get_u32_le() != crc32c::crc32c(checked) {
            return None;
        }
        let (version, shard) = (fields.get_u32_le(), fields.get_u32_le());
        let (sequence, turns) = (fields.get_u64_le(), fields.get_u64_le());
        Some(Self {
            version,
            shard,
            sequence,
            salt: fields.get_u64_le(),
            size: fields.get_u64_le(),
            link: Link {
                turns,
                check: fields.get_u32_le(),
            },
        })
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

pub(in crate::storage) fn name_of(sequence: u64) -> String {
    format!("{sequence:010}.log")
}

pub(in crate::storage) fn spare_name(number: u64) -> String {
    format!("spare-{number}")
}
