//! A frame: the records of one commit, which are all there or not at all.
//!
//! One frame is written at a time, and the next one only after its sync has returned, so that a
//! frame behind proves that everything before was on the disk. The check of its header is keyed
//! with the salt of its segment: neither what a segment held in an earlier life nor what a peer
//! puts into a payload passes for a frame.

use super::record::coding::{Malformed, Reader, write_number};
use super::record::{self, Logged};
use crate::engine::{MessageNumber, Reach, Record};
use bytes::{Buf, BufMut};
use std::ops::Range;

/// The bytes before the body.
pub(in crate::storage) const HEADER_LEN: usize = 32;
/// Frames begin at multiples of it.
pub(in crate::storage) const ALIGNMENT: usize = 8;
/// How many bytes of the header its check is over.
const CHECKED_LEN: usize = HEADER_LEN - 4;
/// So much room is kept for the next turns.
const KEPT_LEN_MAX: usize = 8 << 20;
const KEPT_MARKS_MAX: usize = 64 * 1024;
/// The flag of [`Promise::Written`].
const WRITTEN: u32 = 1;

/// What stands before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Header {
    pub(in crate::storage) body_len: u32,
    /// How many turns it has.
    pub(in crate::storage) turns: u32,
    pub(in crate::storage) body_crc: u32,
    /// What it continues.
    pub(in crate::storage) link: Link,
    pub(in crate::storage) promise: Promise,
}

/// Where a log goes on: each frame names the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::storage) struct Link {
    /// How many turns there are before: the log sequence number.
    pub(in crate::storage) turns: u64,
    /// The check of the frame before.
    pub(in crate::storage) check: u32,
}

/// What was true of all frames before when this one was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Promise {
    /// They were synced.
    Synced,
    /// They were written, and the disk may take them in any order.
    Written,
}

/// A frame has less than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct TooLong;

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
    pub(in crate::storage) fn read(bytes: &[u8; HEADER_LEN], salt: u64) -> Option<Self> {
        let header = Self::claimed(bytes);
        let (checked, mut rest) = bytes.split_first_chunk::<CHECKED_LEN>()?;
        let is_one = rest.get_u32_le() == check(salt, checked);
        is_one.then_some(header)
    }

    /// The header that these bytes would be.
    pub(in crate::storage) fn claimed(bytes: &[u8; HEADER_LEN]) -> Self {
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
    pub(in crate::storage) fn end(&self, salt: u64) -> Link {
        Link {
            turns: self.link.turns + u64::from(self.turns),
            check: check(salt, &self.checked()),
        }
    }

    /// How many bytes the frame takes.
    pub(in crate::storage) fn frame_len(&self) -> u64 {
        aligned(HEADER_LEN as u64 + u64::from(self.body_len))
    }

    /// Whether this is the body that it announces.
    pub(in crate::storage) fn is_of(&self, body: &[u8]) -> bool {
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

/// What the ledger has to know of a frame, in the order of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Mark {
    /// A message, how many sessions are to get it, and whether other shards are.
    Message {
        number: MessageNumber,
        content: Marked,
        receivers: u32,
        reach: Reach,
    },
    /// The content of a message is here from now on.
    Carried {
        number: MessageNumber,
        content: Marked,
    },
    /// One more session is to get what another message says.
    Copy {
        number: MessageNumber,
        of: MessageNumber,
    },
    /// One session needs it no more.
    Out(MessageNumber),
    /// No other shard needs those up to this one any more.
    Forwarded(MessageNumber),
}

/// Where the content of a message is within its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Marked {
    pub(in crate::storage) offset: u32,
    pub(in crate::storage) len: u32,
}

/// Turns on their way into one frame.
pub(in crate::storage) struct Batch {
    /// Room for the header, then the body.
    bytes: Vec<u8>,
    turns: u32,
    marks: Vec<Mark>,
}

impl Batch {
    pub(in crate::storage) fn new() -> Self {
        Self {
            bytes: vec![0; HEADER_LEN],
            turns: 0,
            marks: Vec::new(),
        }
    }

    /// Adds the records of one turn.
    pub(in crate::storage) fn push(&mut self, records: &[Record]) {
        self.turns += 1;
        write_number(records.len() as u64, &mut self.bytes);
        for record in records {
            let content = record::write(record, &mut self.bytes);
            self.marks.extend(mark(record, content.as_ref()));
        }
    }

    /// Adds a turn that changes nothing but where messages are.
    pub(in crate::storage) fn push_carried(&mut self, messages: &[(MessageNumber, Vec<u8>)]) {
        self.turns += 1;
        write_number(messages.len() as u64, &mut self.bytes);
        for (number, content) in messages {
            let content = record::write_carried(*number, content, &mut self.bytes);
            self.marks.push(Mark::Carried {
                number: *number,
                content: marked(&content),
            });
        }
    }

    pub(in crate::storage) fn turns(&self) -> u32 {
        self.turns
    }

    pub(in crate::storage) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// How many bytes the frame takes.
    pub(in crate::storage) fn frame_len(&self) -> u64 {
        aligned(self.bytes.len() as u64)
    }

    /// Makes a frame of it that continues what `link` says.
    ///
    /// # Errors
    /// If the body is longer than a frame can say.
    pub(in crate::storage) fn seal(
        &mut self,
        salt: u64,
        link: Link,
        promise: Promise,
    ) -> Result<(&[u8], Link), TooLong> {
        let turns = self.turns;
        let link = seal(&mut self.bytes, turns, salt, (link, promise))?;
        Ok((&self.bytes, link))
    }

    /// Makes room for other turns.
    pub(in crate::storage) fn clear(&mut self) {
        self.bytes.truncate(HEADER_LEN);
        self.bytes.shrink_to(KEPT_LEN_MAX);
        self.marks.clear();
        self.marks.shrink_to(KEPT_MARKS_MAX);
        self.turns = 0;
    }
}

/// Makes a frame of a body that has room for the header in front of it.
pub(in crate::storage) fn seal(
    bytes: &mut Vec<u8>,
    turns: u32,
    salt: u64,
    (link, promise): (Link, Promise),
) -> Result<Link, TooLong> {
    let body = bytes.get(HEADER_LEN..).unwrap_or_default();
    let header = Header {
        body_len: u32::try_from(body.len()).map_err(|_| TooLong)?,
        turns,
        body_crc: crc32c::crc32c(body),
        link,
        promise,
    };
    header.write(salt, bytes);
    let padded = bytes.len().next_multiple_of(ALIGNMENT);
    bytes.resize(padded, 0);
    Ok(header.end(salt))
}

fn mark(record: &Record, content: Option<&Range<usize>>) -> Option<Mark> {
    match record {
        Record::Message {
            number,
            targets,
            reach,
            ..
        } => Some(Mark::Message {
            number: *number,
            reach: *reach,
            content: marked(content?),
            receivers: u32::try_from(targets.len()).unwrap_or(u32::MAX),
        }),
        Record::Copy { number, of, .. } => Some(Mark::Copy {
            number: *number,
            of: *of,
        }),
        Record::Settled { message, .. } | Record::Received { message, .. } => {
            Some(Mark::Out(*message))
        }
        Record::ForwardsDone { up_to } => Some(Mark::Forwarded(*up_to)),
        Record::SessionCreated { .. }
        | Record::SessionResumed { .. }
        | Record::SessionLeft { .. }
        | Record::SessionEnded { .. }
        | Record::Subscribed { .. }
        | Record::Unsubscribed { .. }
        | Record::WillSet { .. }
        | Record::WillCleared { .. }
        | Record::Sent { .. }
        | Record::Completed { .. }
        | Record::Accepted { .. }
        | Record::Released { .. }
        | Record::Retained { .. }
        | Record::RetainedCleared { .. }
        | Record::ForwardsTaken { .. } => None,
    }
}

fn marked(content: &Range<usize>) -> Marked {
    // A longer frame is refused when it is sealed.
    Marked {
        offset: u32::try_from(content.start).unwrap_or(u32::MAX),
        len: u32::try_from(content.len()).unwrap_or(u32::MAX),
    }
}

/// A frame that was read.
#[derive(Clone, Copy)]
pub(in crate::storage) struct Frame<'a> {
    pub(in crate::storage) header: Header,
    pub(in crate::storage) body: &'a [u8],
}

/// Takes the turns of a frame apart, one after the other.
pub(in crate::storage) struct Turns<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Turns<'a> {
    pub(in crate::storage) fn new(frame: &Frame<'a>) -> Self {
        Self {
            reader: Reader::new(frame.body),
            left: frame.header.turns,
        }
    }

    /// How many bytes are left.
    #[cfg(test)]
    pub(in crate::storage) fn left(&self) -> usize {
        self.reader.left()
    }

    /// Reads the next turn, record by record. False where there is none.
    ///
    /// # Errors
    /// If there is no meaning in it, or `take` says so.
    pub(in crate::storage) fn next(
        &mut self,
        mut take: impl FnMut(Logged) -> Result<(), Malformed>,
    ) -> Result<bool, Malformed> {
        if self.left == 0 {
            if self.reader.is_empty() {
                return Ok(false);
            }
            return Err(Malformed("it goes on behind its last turn"));
        }
        self.left -= 1;
        for _ in 0..self.reader.number()? {
            take(record::read(&mut self.reader)?)?;
        }
        Ok(true)
    }
}
