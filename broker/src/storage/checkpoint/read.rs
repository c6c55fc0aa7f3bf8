//! Reading a checkpoint: all of it, or an error that names the offset.

use super::{FRAMES_START, Header, NAME};
use crate::storage::Position;
use crate::storage::log::frame::{self, Link};
use crate::storage::log::record::coding::Reader;
use crate::storage::log::record::{Saved, read_saved};
use crate::storage::log::sector;
use crate::storage::log::shelf::{NamedFile, Shelf};
use crate::storage::log::{Damage, LogError, Malformed};
use crate::storage::state::State;

/// A checkpoint that was read.
#[derive(Debug, Default)]
pub(in crate::storage) struct Checkpoint {
    pub(in crate::storage) state: State,
    /// The turn it is of; 0 where there is none.
    pub(in crate::storage) covered: Position,
    pub(in crate::storage) size: u64,
}

/// Reads the checkpoint of a shard. Where there is none, it is that of an empty log.
///
/// # Errors
/// If it is not as it was written, or not of this shard.
pub(in crate::storage) fn read(shelf: &Shelf, shard: u32) -> Result<Checkpoint, LogError> {
    if !shelf.names()?.iter().any(|name| name == NAME) {
        return Ok(Checkpoint::default());
    }
    let file = shelf.open(NAME)?;
    let header: Header = sector::open(&file)?;
    sector::check_shard(&file, header.shard, shard)?;
    let mut reading = Reading {
        file,
        header,
        state: State::default(),
        len: 0,
        ended: false,
    };
    reading.frames()?;
    Ok(Checkpoint {
        state: reading.state,
        covered: header.covered,
        size: header.size,
    })
}

struct Reading {
    file: NamedFile,
    header: Header,
    state: State,
    /// How many entries were read.
    len: u64,
    ended: bool,
}

impl Reading {
    fn frames(&mut self) -> Result<(), LogError> {
        let (mut offset, mut link) = (FRAMES_START, Link::default());
        let mut body = Vec::new();
        for _ in 0..self.header.frames {
            let frame = self.frame(offset, &mut body)?;
            let frame = frame.filter(|header| header.link == link && header.is_of(&body));
            let Some(frame) = frame else {
                return Err(self.file.damaged(offset, Damage::Saved));
            };
            let taken = self.take(&body);
            taken.map_err(|malformed| {
                let turn = self.header.covered.0;
                self.file
                    .damaged(offset, Damage::Meaning { turn, malformed })
            })?;
            offset += frame.frame_len();
            link = frame.end(self.header.salt);
        }
        if self.ended && offset == self.header.size {
            return Ok(());
        }
        Err(self.file.damaged(offset, Damage::Saved))
    }

    /// Reads the frame at `offset`, if one that fits into the file begins there.
    fn frame(&self, offset: u64, body: &mut Vec<u8>) -> Result<Option<frame::Header>, LogError> {
        let begin = offset + frame::HEADER_LEN as u64;
        if begin > self.header.size {
            return Ok(None);
        }
        let mut bytes = [0; frame::HEADER_LEN];
        self.file.read_at(&mut bytes, offset)?;
        let header = frame::Header::read(&bytes, self.header.salt);
        let fits = |it: &frame::Header| offset + it.frame_len() <= self.header.size;
        let Some(header) = header.filter(fits) else {
            return Ok(None);
        };
        body.resize(usize::try_from(header.body_len).unwrap_or(usize::MAX), 0);
        self.file.read_at(body, begin)?;
        Ok(Some(header))
    }

    fn take(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            let saved = read_saved(&mut reader)?;
            if self.ended {
                return Err(Malformed("it goes on behind its end"));
            }
            if let Saved::End { len } = saved {
                self.ended = len == self.len;
            }
            self.len += 1;
            self.state.take_saved(saved)?;
        }
        Ok(())
    }
}
