//! A frame: the records of one commit, which are all there or not at all.
//!
//! One frame is written at a time, and the next one only after its sync has returned, so that a
//! frame behind proves that everything before was on the disk. The check of its header is keyed
//! with the salt of its segment: neither what a segment held in an earlier life nor what a peer
//! puts into a payload passes for a frame.

use super::record::coding::{Malformed, Reader, write_number};
use super::record::{self, MakeMessage};
use crate::engine::Record;
use bytes::{Buf, BufMut};

/// The bytes before the body.
pub(super) const HEADER_LEN: usize = 32;
/// Frames begin at multiples of it.
pub(super) const ALIGNMENT: usize = 8;
/// How many bytes of the header its check is over.
const CHECKED_LEN: usize = HEADER_LEN - 4;
/// The flag of [`Promise::Written`].
const WRITTEN: u32 = 1;

/// What stands before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) body_len: u32,
    /// How many turns it has.
    pub(super) turns: u32,
    pub(super) body_crc: u32,
    /// What it continues.
    pub(super) link: Link,
    pub(super) promise: Promise,
}

/// Where a log goes on: each frame names the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// How many turns there are before: the log sequence number.
    pub(super) turns: u64,
    /// The check of the frame before.
    pub(super) check: u32,
}

/// What was true of all frames before when this one was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// They were synced.
    Synced,
    /// They were written, and the disk may take them in any order.
    Written,
}

/// A frame has less than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Header {
    fn write(&self, salt: u64, mut out: &mut [u8]) {
        let bytes = self.checked();
        out.put_slice(&bytes);
        out.put_u32_le(check(salt, &bytes));
    }

    fn checked(&self) -> [u8; CHECKED_LEN] {
        let mut bytes = [0; CHECKED_LEN];
        let mut out = bytes.as_mut_slice();
        out.put_u32_le(self.body_len);
        out.put_u32_le(self.turns);
        out.put_u64_le(self.link.turns);
        out.put_u32_le(self.link.check);
        out.put_u32_le(self.body_crc);
        out.put_u32_le(match self.promise {
            Promise::Synced => 0,
            Promise::Written => WRITTEN,
        });
        bytes
    }

    /// The header that these bytes are, if they are one in a segment with this salt.
    pub(super) fn read(bytes: &[u8; HEADER_LEN], salt: u64) -> Option<Self> {
        let header = Self::claimed(bytes);
        let (checked, mut rest) = bytes.split_first_chunk::<CHECKED_LEN>()?;
        let is_one = rest.get_u32_le() == check(salt, checked);
        is_one.then_some(header)
    }

    /// The header that these bytes would be.
    pub(super) fn claimed(bytes: &[u8; HEADER_LEN]) -> Self {
        let mut bytes = bytes.as_slice();
        Self {
            body_len: bytes.get_u32_le(),
            turns: bytes.get_u32_le(),
            link: Link {
                turns: bytes.get_u64_le(),
                check: bytes.get_u32_le(),
            },
            body_crc: bytes.get_u32_le(),
            promise: match bytes.get_u32_le() {
                0 => Promise::Synced,
                _ => Promise::Written,
            },
        }
    }

    /// What the next frame continues.
    pub(super) fn end(&self, salt: u64) -> Link {
        Link {
            turns: self.link.turns + u64::from(self.turns),
            check: check(salt, &self.checked()),
        }
    }

    /// How many bytes the frame takes.
    pub(super) fn frame_len(&self) -> u64 {
        aligned(HEADER_LEN as u64 + u64::from(self.body_len))
    }

    /// Whether this is the body that it announces.
    pub(super) fn is_of(&self, body: &[u8]) -> bool {
        crc32c::crc32c(body) == self.body_crc
    }
}

/// The check of a header.
fn check(salt: u64, checked: &[u8; CHECKED_LEN]) -> u32 {
    let mut key = [0; 8];
    key.as_mut_slice().put_u64_le(salt);
    crc32c::crc32c_append(crc32c::crc32c(&key), checked)
}

/// Where the next frame may begin.
fn aligned(len: u64) -> u64 {
    len.next_multiple_of(ALIGNMENT as u64)
}

/// Turns on their way into one frame.
pub(super) struct Batch {
    /// Room for the header, then the body.
    bytes: Vec<u8>,
    turns: u32,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; HEADER_LEN],
            turns: 0,
        }
    }

    /// Adds the records of one turn.
    pub(super) fn push(&mut self, records: &[Record]) {
        self.turns += 1;
        write_number(records.len() as u64, &mut self.bytes);
        for record in records {
            record::write(record, &mut self.bytes);
        }
    }

    pub(super) fn turns(&self) -> u32 {
        self.turns
    }

    /// How many bytes the frame takes.
    pub(super) fn frame_len(&self) -> u64 {
        aligned(self.bytes.len() as u64)
    }

    /// Makes a frame of it that continues what `link` says.
    ///
    /// # Errors
    /// If the body is longer than a frame can say.
    pub(super) fn seal(
        &mut self,
        salt: u64,
        link: Link,
        promise: Promise,
    ) -> Result<(&[u8], Link), TooLong> {
        let body = self.bytes.get(HEADER_LEN..).unwrap_or_default();
        let header = Header {
            body_len: u32::try_from(body.len()).map_err(|_| TooLong)?,
            turns: self.turns,
            body_crc: crc32c::crc32c(body),
            link,
            promise,
        };
        header.write(salt, &mut self.bytes);
        let padded = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(padded, 0);
        Ok((&self.bytes, header.end(salt)))
    }

    /// Makes room for other turns.
    pub(super) fn clear(&mut self) {
        self.bytes.truncate(HEADER_LEN);
        self.turns = 0;
    }
}

/// Takes the turns of a body apart, one after the other.
pub(super) struct Turns<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Turns<'a> {
    pub(super) fn new(header: &Header, body: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(body),
            left: header.turns,
        }
    }

    /// Reads the records of the next turn into `records`. False where there is none.
    pub(super) fn next(
        &mut self,
        records: &mut Vec<Record>,
        make_message: MakeMessage<'_>,
    ) -> Result<bool, Malformed> {
        if self.left == 0 {
            if self.reader.is_empty() {
                return Ok(false);
            }
            return Err(Malformed("it goes on behind its last turn"));
        }
        self.left -= 1;
        for _ in 0..self.reader.number()? {
            records.push(record::read(&mut self.reader, make_message)?);
        }
        Ok(true)
    }
}
