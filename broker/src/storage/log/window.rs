//! A window on a file: what is read of it in order, in pieces larger than a frame usually is.

use super::error::LogError;
use super::segment::Segment;

/// So much is read at once, unless more is asked for.
const LEN: u64 = 256 * 1024;

pub(in crate::storage) struct Window<'s> {
    segment: &'s Segment,
    start: u64,
    bytes: Vec<u8>,
}

impl<'s> Window<'s> {
    pub(in crate::storage) fn new(segment: &'s Segment) -> Self {
        Self {
            segment,
            start: 0,
            bytes: Vec::new(),
        }
    }

    pub(in crate::storage) fn segment(&self) -> &'s Segment {
        self.segment
    }

    /// The bytes at an offset; `None` where the file ends before.
    pub(in crate::storage) fn bytes(
        &mut self,
        offset: u64,
        len: u64,
    ) -> Result<Option<&[u8]>, LogError> {
        let size = self.segment.header.size;
        let Some(end) = offset.checked_add(len).filter(|end| *end <= size) else {
            return Ok(None);
        };
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let read = (size - offset).min(len.max(LEN));
            self.bytes.resize(length(read), 0);
            self.start = offset;
            self.segment.file.read_at(&mut self.bytes, offset)?;
        }
        let begin = length(offset - self.start);
        Ok(self.bytes.get(begin..begin + length(len)))
    }

    /// As many bytes as `N` says.
    pub(in crate::storage) fn chunk<const N: usize>(
        &mut self,
        offset: u64,
    ) -> Result<Option<&[u8; N]>, LogError> {
        let bytes = self.bytes(offset, N as u64)?;
        Ok(bytes.and_then(|bytes| bytes.first_chunk()))
    }
}

/// A part of a file that is in memory.
fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
