//! Recovery: what was written is read again, in order and without a hole.
//!
//! One frame is under way at a time. So a frame behind one that is not whole proves that this one
//! was on the disk once: the log is damaged and is refused. Where nothing is behind, it is the
//! torn tail, which nobody was told of, and is cut.

use super::Settings;
use super::error::{Damage, LogError};
use super::frame::{self, ALIGNMENT, Frame, Link, Promise, Turns};
use super::record::{Found as Content, Logged, Malformed};
use super::sector;
use super::segment::{FRAMES_START, Role, Segment, name_of, number_of};
use super::shelf::Shelf;
use super::window::Window;
use crate::storage::Position;
use crate::storage::ledger::Place;
use std::path::PathBuf;

/// Takes what is found.
pub(in crate::storage) trait Replay {
    /// The frames in their order, without those that are covered.
    ///
    /// # Errors
    /// If there is no meaning in it.
    fn frame(&mut self, read: &Read<'_>) -> Result<(), Malformed>;
}

/// A frame that was read, and where.
pub(in crate::storage) struct Read<'a> {
    pub(in crate::storage) frame: Frame<'a>,
    pub(in crate::storage) segment: u32,
    /// Where its body begins.
    pub(in crate::storage) offset: u64,
    pub(in crate::storage) covered: Position,
}

impl Read<'_> {
    /// Goes through what was recorded in the turns that are not covered.
    ///
    /// # Errors
    /// If there is no meaning in it, or `take` says so.
    pub(in crate::storage) fn records(
        &self,
        mut take: impl FnMut(Position, Logged) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let mut position = Position(self.frame.header.link.turns);
        let mut turns = Turns::new(&self.frame);
        loop {
            position.0 += 1;
            let is_covered = position <= self.covered;
            let more = turns.next(|logged| {
                if is_covered {
                    return Ok(());
                }
                take(position, logged)
            })?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Where a message is that was found in it.
    ///
    /// # Errors
    /// If that is farther than a place can say.
    pub(in crate::storage) fn place(&self, content: &Content) -> Result<Place, Malformed> {
        let before = self.frame.body.len() - content.from_end;
        let offset = u32::try_from(self.offset + before as u64);
        Ok(Place {
            segment: self.segment,
            offset: offset.map_err(|_| Malformed("a message begins behind 4 GiB"))?,
            len: content.outline.len,
        })
    }
}

/// The end of a log that was never completely written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// In which file.
    pub path: PathBuf,
    /// Where it was cut.
    pub offset: u64,
    /// How many bytes were cut off, as far as that is known.
    pub len: u64,
}

/// All that is there.
pub(super) struct Found {
    /// In order; all but the last are complete.
    pub(super) segments: Vec<Known>,
    /// The last one, and where it goes on.
    pub(super) active: Option<(Segment, u64)>,
    pub(super) link: Link,
    pub(super) spares: Vec<u64>,
    pub(super) torn: Option<Torn>,
}

/// A segment of which enough is known to let it go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Known {
    pub(in crate::storage) sequence: u64,
    pub(in crate::storage) size: u64,
    /// How many turns there are up to its end.
    pub(in crate::storage) end: u64,
}

/// Reads the log and makes the end of it fit to be continued.
pub(super) fn recover(
    shelf: &Shelf,
    settings: &Settings,
    replay: &mut dyn Replay,
) -> Result<Found, LogError> {
    let looked = look(shelf, settings, replay)?;
    for name in &looked.useless {
        shelf.remove(name)?;
    }
    if let Some((segment, whole)) = &looked.last {
        settle(segment, whole, looked.torn.as_ref())?;
        shelf.sync_names()?;
    }
    Ok(Found {
        segments: looked.segments,
        active: looked.last.map(|(segment, whole)| (segment, whole.end)),
        link: looked.link,
        spares: looked.spares,
        torn: looked.torn,
    })
}

/// What there is in a folder, left as it is.
pub(in crate::storage) struct Looked {
    /// In order; all but the last are complete.
    pub(in crate::storage) segments: Vec<Known>,
    last: Option<(Segment, Whole)>,
    pub(in crate::storage) link: Link,
    pub(in crate::storage) spares: Vec<u64>,
    /// Files that were never finished.
    useless: Vec<String>,
    pub(in crate::storage) torn: Option<Torn>,
}

/// Reads the log and changes nothing.
pub(in crate::storage) fn look(
    shelf: &Shelf,
    settings: &Settings,
    replay: &mut dyn Replay,
) -> Result<Looked, LogError> {
    let listed = list(shelf, settings)?;
    let mut walk = Walk::new(shelf, settings, replay);
    let mut segments = Vec::new();
    let mut last = None;
    for sequence in listed.sequences {
        let segment = walk.open(sequence, last.as_ref())?;
        let whole = walk.frames(&segment)?;
        segments.push(Known {
            sequence,
            size: segment.header.size,
            end: walk.link.turns,
        });
        last = Some((segment, whole));
    }
    walk.check_end()?;
    let link = walk.link;
    let mut torn = None;
    if let Some((segment, whole)) = &last {
        torn = judge_tail(segment, whole.end, link)?;
    }
    Ok(Looked {
        segments,
        last,
        link,
        spares: listed.spares,
        useless: listed.useless,
        torn,
    })
}

/// Reads complete segments, the first of which has the turn behind the covered one.
pub(in crate::storage) fn read_complete(
    shelf: &Shelf,
    settings: &Settings,
    complete: &[(u32, Position)],
    replay: &mut dyn Replay,
) -> Result<(), LogError> {
    let mut walk = Walk::new(shelf, settings, replay);
    let mut last = None;
    for (sequence, end) in complete {
        let segment = walk.open((*sequence).into(), last.as_ref())?;
        let whole = walk.frames(&segment)?;
        if walk.link.turns != end.0 {
            let turn = walk.link.turns + 1;
            return Err(segment.file.damaged(whole.end, Damage::Frame { turn }));
        }
        last = Some((segment, whole));
    }
    Ok(())
}

/// Reads what is whole from the turn behind the covered one on, up to the first damage.
///
/// # Errors
/// What the damage is.
pub(in crate::storage) fn read_what_is_whole(
    shelf: &Shelf,
    settings: &Settings,
    replay: &mut dyn Replay,
) -> Result<(), LogError> {
    let sequences = list(shelf, settings)?.sequences;
    // What is covered is not needed, whatever has become of it.
    let begins = |sequence: &u64| {
        let segment = Segment::open(shelf, *sequence);
        segment.is_ok_and(|it| it.header.link.turns <= settings.covered.0)
    };
    let first = sequences.iter().rposition(begins).unwrap_or_default();
    let mut walk = Walk::new(shelf, settings, replay);
    let mut last = None;
    for sequence in sequences.into_iter().skip(first) {
        let segment = walk.open(sequence, last.as_ref())?;
        let whole = walk.frames(&segment)?;
        last = Some((segment, whole));
    }
    match &last {
        Some((segment, whole)) => judge_tail(segment, whole.end, walk.link).map(drop),
        None => Ok(()),
    }
}

/// What files there are, by their names.
struct Listed {
    sequences: Vec<u64>,
    spares: Vec<u64>,
    useless: Vec<String>,
}

fn list(shelf: &Shelf, settings: &Settings) -> Result<Listed, LogError> {
    let (mut sequences, mut spares, mut useless) = (Vec::new(), Vec::new(), Vec::new());
    for name in shelf.names()? {
        match Role::of(&name) {
            Role::Segment(sequence) => sequences.push(sequence),
            Role::Spare(spare) if shelf.open(&name)?.size()? == settings.segment_bytes.get() => {
                spares.push(spare);
            }
            Role::Spare(_) | Role::Unfinished => useless.push(name),
            Role::Foreign => {}
        }
    }
    sequences.sort_unstable();
    spares.sort_unstable();
    let first = sequences.first().copied().unwrap_or_default();
    for (expected, sequence) in (first..).zip(&sequences) {
        if *sequence != expected {
            return Err(shelf.missing(&name_of(expected)));
        }
    }
    Ok(Listed {
        sequences,
        spares,
        useless,
    })
}

/// Where the whole frames of a segment are.
#[derive(Clone, Copy)]
struct Whole {
    /// Where the last of them begins, if there is one.
    last: Option<u64>,
    /// Where they end.
    end: u64,
}

/// Goes through the frames in order.
struct Walk<'w> {
    shelf: &'w Shelf,
    settings: &'w Settings,
    replay: &'w mut dyn Replay,
    link: Link,
}

impl<'w> Walk<'w> {
    fn new(shelf: &'w Shelf, settings: &'w Settings, replay: &'w mut dyn Replay) -> Self {
        Self {
            shelf,
            settings,
            replay,
            link: Link::default(),
        }
    }

    /// Opens a segment that must continue the one before.
    fn open(
        &mut self,
        sequence: u64,
        before: Option<&(Segment, Whole)>,
    ) -> Result<Segment, LogError> {
        let segment = Segment::open(self.shelf, sequence)?;
        let header = &segment.header;
        sector::check_shard(&segment.file, header.shard, self.settings.shard)?;
        match before {
            Some((before, whole)) if header.link != self.link => {
                let damage = Damage::Gap {
                    turn: self.link.turns + 1,
                    after: header.link.turns,
                };
                Err(before.file.damaged(whole.end, damage))
            }
            Some(_) => Ok(segment),
            None => self.begin_with(segment),
        }
    }

    fn begin_with(&mut self, segment: Segment) -> Result<Segment, LogError> {
        self.link = segment.header.link;
        let covered = self.settings.covered.0;
        if self.link.turns > covered {
            return Err(LogError::BeginsLate {
                path: segment.file.path(),
                begins: self.link.turns,
                covered,
            });
        }
        Ok(segment)
    }

    /// Reads the whole frames of a segment.
    fn frames(&mut self, segment: &Segment) -> Result<Whole, LogError> {
        let mut window = Window::new(segment);
        let mut whole = Whole {
            last: None,
            end: FRAMES_START,
        };
        while let Some(len) = self.frame(&mut window, whole.end)? {
            whole.last = Some(whole.end);
            whole.end += len;
        }
        Ok(whole)
    }

    /// Reads the frame at `offset` and says how long it is, if there is one that is whole.
    fn frame(&mut self, window: &mut Window<'_>, offset: u64) -> Result<Option<u64>, LogError> {
        let segment = window.segment();
        let salt = segment.header.salt;
        let header = window
            .chunk(offset)?
            .and_then(|it| frame::Header::read(it, salt));
        let Some(header) = header.filter(|header| header.link == self.link) else {
            return Ok(None);
        };
        let body = window.bytes(offset + frame::HEADER_LEN as u64, header.body_len.into())?;
        let Some(body) = body.filter(|body| header.is_of(body)) else {
            return Ok(None);
        };
        let read = Read {
            frame: Frame { header, body },
            segment: number_of(segment.header.sequence),
            offset: offset + frame::HEADER_LEN as u64,
            covered: self.settings.covered,
        };
        let link = header.end(salt);
        if link.turns > read.covered.0 {
            self.replay.frame(&read).map_err(|malformed| {
                let turn = header.link.turns + 1;
                segment
                    .file
                    .damaged(offset, Damage::Meaning { turn, malformed })
            })?;
        }
        self.link = link;
        Ok(Some(header.frame_len()))
    }

    fn check_end(&self) -> Result<(), LogError> {
        let (ends, covered) = (self.link.turns, self.settings.covered.0);
        if ends < covered {
            return Err(LogError::EndsEarly {
                path: self.shelf.path(""),
                ends,
                covered,
            });
        }
        Ok(())
    }
}

/// What a part of a segment looks like that was never written.
static BLANK: [u8; 4096] = [0; 4096];

/// What is behind the last whole frame: a torn tail, or nothing.
///
/// # Errors
/// If there was more: a frame that was written after the sync of one that is not whole.
fn judge_tail(segment: &Segment, end: u64, link: Link) -> Result<Option<Torn>, LogError> {
    let salt = segment.header.salt;
    let mut window = Window::new(segment);
    let mut torn_end = window.chunk(end)?.and_then(|it| begun_len(it, salt, link));
    let mut offset = end + ALIGNMENT as u64;
    loop {
        // Most of a segment that is new is zeros, and no frame begins with eight of them.
        let blank_len = BLANK.len() as u64;
        let is_blank = offset.is_multiple_of(blank_len)
            && window.bytes(offset, blank_len)? == Some(BLANK.as_slice());
        if is_blank {
            offset += blank_len;
            continue;
        }
        let Some(bytes) = window.chunk(offset)? else {
            break;
        };
        if let Some(header) = later_frame(bytes, salt, link) {
            if header.promise == Promise::Synced {
                let turn = link.turns + 1;
                return Err(segment.file.damaged(end, Damage::Frame { turn }));
            }
            torn_end = Some(offset + header.frame_len() - end);
        }
        offset += ALIGNMENT as u64;
    }
    Ok(torn_end.map(|len| Torn {
        path: segment.file.path(),
        offset: end,
        len: len.min(segment.header.size - end),
    }))
}

/// How long the frame would be that was begun here. Most of a header is enough to know that one
/// was: what the segment held in an earlier life continues something else.
fn begun_len(bytes: &[u8; frame::HEADER_LEN], salt: u64, link: Link) -> Option<u64> {
    let is_whole = frame::Header::read(bytes, salt).is_some();
    let claimed = frame::Header::claimed(bytes);
    let is_next = claimed.link.turns == link.turns || claimed.link.check == link.check;
    let is_empty = bytes.iter().all(|byte| *byte == 0);
    (is_whole || (is_next && !is_empty)).then(|| claimed.frame_len())
}

/// A frame that follows the end, though not at once.
fn later_frame(bytes: &[u8; frame::HEADER_LEN], salt: u64, link: Link) -> Option<frame::Header> {
    // Almost all of what is behind the end is told from a header by its number alone.
    let claimed = frame::Header::claimed(bytes);
    let ahead = claimed.link.turns.checked_sub(link.turns)?;
    let may_be = u32::try_from(ahead).is_ok() && claimed.body_len > 0;
    may_be.then(|| frame::Header::read(bytes, salt)).flatten()
}

/// Writes the last frame once more and clears what is behind: it may have been read from a cache
/// that the disk knows nothing of, and from here on it counts as durable.
fn settle(segment: &Segment, whole: &Whole, torn: Option<&Torn>) -> Result<(), LogError> {
    if let Some(last) = whole.last {
        let mut window = Window::new(segment);
        let frame = window.bytes(last, whole.end - last)?.unwrap_or_default();
        segment.write_at(frame, last)?;
    }
    if torn.is_some() {
        segment.clear_from(whole.end)?;
    }
    segment.sync()
}
