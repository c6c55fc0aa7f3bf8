//! The log: one frame and one sync for each batch of records, in slots that are used in turn.
//!
//! A slot is used again once a durable frame says that its segment is not needed. One free slot is
//! always left: into it goes what is still needed of the oldest segment, when a message that waits
//! for long holds it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::error::{OutboxError, WhenDamaged};
use super::frame::{self, FRAME_HEADER_LEN, SEGMENT_HEADER_LEN};
use super::record::{Accepted, Record};
use super::recovery::{self, Found, Holders, Kept, Stage};
use super::slots::Slots;

/// Segments that the largest outbox consists of, twice: the rest of a segment may be too short for
/// the next frame, so that half of it may lie idle.
const SEGMENTS_OF_MESSAGES: u32 = 8;

/// One that is written, one that is free, and two for what is settled and not given back yet.
const SEGMENTS_BESIDE: u32 = 4;

const SLOTS: u32 = SEGMENTS_OF_MESSAGES + SEGMENTS_BESIDE;

const SEGMENT_LEN_MIN: u32 = 64 * 1024;

/// The end of a segment is kept for the packet ids that messages have, which were recorded
/// elsewhere: it must be possible to write all that is needed of one segment into another.
const SEGMENT_RESERVE: usize = 4 * 1024;

/// How much a log can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of the messages that are not settled.
    pub(crate) bytes_max: u32,
}

impl Limits {
    pub(super) fn segment_len(self) -> u32 {
        let len = self.bytes_max.div_ceil(SEGMENTS_OF_MESSAGES / 2);
        len.max(SEGMENT_LEN_MIN).next_multiple_of(4096)
    }

    /// The records that fit into one frame.
    pub(crate) fn batch_len_max(self) -> usize {
        let segment = usize::try_from(self.segment_len()).unwrap_or(usize::MAX);
        segment - SEGMENT_HEADER_LEN - FRAME_HEADER_LEN - SEGMENT_RESERVE
    }
}

/// A log that is open for writing.
#[derive(Debug)]
pub(super) struct Log<S> {
    slots: S,
    limits: Limits,
    /// The slot of each segment that is needed, and of the one that is written.
    segments: BTreeMap<u32, u32>,
    /// The one that was used longest ago comes first: all wear alike.
    free: VecDeque<u32>,
    /// Where the last segment goes on.
    end: usize,
    last_frame: u64,
    live: BTreeMap<u64, Live>,
    holders: Holders,
}

/// What has to be written again when its segment is given back.
#[derive(Clone, Copy, Debug)]
struct Live {
    segment: u32,
    stage: Stage,
}

/// The messages that were found, and the highest id there has been.
pub(super) type Recovered = (Vec<Kept>, u64);

impl<S: Slots> Log<S> {
    pub(super) fn open(
        mut slots: S,
        limits: Limits,
        when_damaged: WhenDamaged,
    ) -> Result<(Self, Recovered), OutboxError> {
        let files = slots.read_all();
        let files = files.map_err(|source| failed(slots.path(0), "read", source))?;
        let lens = files
            .iter()
            .map(|(slot, file)| (*slot, file.len()))
            .collect();
        let found = recovery::recover(files, &slots, when_damaged)?;
        let recovered = (found.kept.values().cloned().collect(), found.last_id);
        let log = if found.is_damaged {
            Self::begin_again(slots, limits, found, &lens)?
        } else {
            Self::go_on(slots, limits, found, &lens)?
        };
        Ok((log, recovered))
    }

    fn go_on(
        slots: S,
        limits: Limits,
        found: Found,
        lens: &BTreeMap<u32, usize>,
    ) -> Result<Self, OutboxError> {
        let live = found.kept.iter().filter_map(|(id, kept)| {
            let (segment, stage) = (*found.places.get(id)?, kept.stage);
            Some((*id, Live { segment, stage }))
        });
        let mut log = Self {
            slots,
            limits,
            live: live.collect(),
            holders: found.holders,
            segments: found.segments,
            free: VecDeque::new(),
            end: found.end,
            last_frame: found.last_frame,
        };
        log.furnish(lens)?;
        Ok(log)
    }

    /// With what could be read, written anew, and all else set aside.
    fn begin_again(
        mut slots: S,
        limits: Limits,
        found: Found,
        lens: &BTreeMap<u32, usize>,
    ) -> Result<Self, OutboxError> {
        for slot in lens.keys() {
            let path = slots.path(*slot);
            let aside = slots.set_aside(*slot);
            aside.map_err(|source| failed(path, "set aside", source))?;
        }
        let last_segment = found.segments.keys().last().copied().unwrap_or(0);
        let mut log = Self {
            slots,
            limits,
            live: BTreeMap::new(),
            holders: Holders::default(),
            segments: BTreeMap::new(),
            free: VecDeque::new(),
            end: 0,
            last_frame: found.last_frame,
        };
        log.furnish(&BTreeMap::new())?;
        log.begin_segment(last_segment.wrapping_add(1))?;
        for kept in found.kept.into_values() {
            log.commit(&again(kept.accepted, kept.stage))?;
        }
        Ok(log)
    }

    /// Makes the slots what the limits ask for, as far as they are not in use.
    fn furnish(&mut self, lens: &BTreeMap<u32, usize>) -> Result<(), OutboxError> {
        let len = self.limits.segment_len();
        for (slot, slot_len) in lens {
            if self.segments.values().any(|used| used == slot) {
                continue;
            }
            if usize::try_from(len) == Ok(*slot_len) {
                self.free.push_back(*slot);
            } else {
                let path = self.slots.path(*slot);
                let removed = self.slots.remove(*slot);
                removed.map_err(|source| failed(path, "removed", source))?;
            }
        }
        let count = usize::try_from(SLOTS).unwrap_or(usize::MAX);
        for slot in 0.. {
            if self.free.len() >= 2 && self.free.len() + self.segments.len() >= count {
                break;
            }
            let is_used = self.segments.values().any(|used| *used == slot);
            if !is_used && !self.free.contains(&slot) {
                let made = self.slots.create(slot, len);
                made.map_err(|source| failed(self.slots.path(slot), "made", source))?;
                self.free.push_back(slot);
            }
        }
        Ok(())
    }

    /// Makes these records durable, all or none of them. After an error nothing more may be
    /// written: nobody knows what the disk holds.
    pub(super) fn commit(&mut self, records: &[Record]) -> Result<(), OutboxError> {
        let bytes = bytes_of(records);
        if !self.fits(bytes.len()) {
            self.make_room(bytes.len())?;
        }
        self.append(records, &bytes)
    }

    fn fits(&self, records_len: usize) -> bool {
        self.fits_before(records_len, self.segment_len() - SEGMENT_RESERVE)
    }

    fn fits_before(&self, records_len: usize, end: usize) -> bool {
        let begin = self.end.max(SEGMENT_HEADER_LEN);
        !self.segments.is_empty() && begin + frame::frame_len(records_len) <= end
    }

    /// Makes room in the last segment, and leaves one slot free.
    fn make_room(&mut self, records_len: usize) -> Result<(), OutboxError> {
        // Taking every segment to pieces once leaves its messages in half as many.
        for _ in 0..SLOTS * 2 {
            if self.fits(records_len) && !self.free.is_empty() {
                return Ok(());
            }
            if self.free.len() >= 2 {
                self.begin_next()?;
            } else {
                self.carry_oldest()?;
            }
        }
        Err(self.full())
    }

    fn begin_next(&mut self) -> Result<(), OutboxError> {
        let next = self
            .segments
            .keys()
            .last()
            .map_or(1, |last| last.wrapping_add(1));
        self.begin_segment(next)
    }

    fn begin_segment(&mut self, segment: u32) -> Result<(), OutboxError> {
        let slot = self.free.pop_front().ok_or_else(|| self.full())?;
        self.segments.insert(segment, slot);
        self.end = 0;
        Ok(())
    }

    fn full(&self) -> OutboxError {
        let full = io::Error::other("more is kept than the limits allow");
        failed(self.slots.path(0), "written", full)
    }

    /// Writes what is needed of the oldest segment once more, so that it is not needed.
    fn carry_oldest(&mut self) -> Result<(), OutboxError> {
        let Some((&oldest, &slot)) = self.segments.first_key_value() else {
            return Ok(());
        };
        let file = self.slots.read(slot);
        let file = file.map_err(|source| failed(self.slots.path(slot), "read", source))?;
        let mut carried = Vec::new();
        for frame in frame::read_frames(&Bytes::from(file), oldest) {
            let records = Record::read_all(frame.records).unwrap_or_default();
            for accepted in records.into_iter().filter_map(Record::accepted) {
                let live = self.live.get(&accepted.id);
                if let Some(live) = live.filter(|live| live.segment == oldest) {
                    self.carry(&mut carried, again(accepted, live.stage))?;
                }
            }
        }
        self.append(&carried, &bytes_of(&carried))
    }

    /// Adds records to those that are carried, and writes those where they fill the segment.
    fn carry(&mut self, carried: &mut Vec<Record>, more: Vec<Record>) -> Result<(), OutboxError> {
        let (before, len) = (bytes_of(carried), bytes_of(&more).len());
        if !self.fits_before(before.len() + len, self.segment_len()) {
            if !carried.is_empty() {
                self.append(carried, &before)?;
                carried.clear();
            }
            if !self.fits_before(len, self.segment_len()) {
                self.begin_next()?;
            }
        }
        carried.extend(more);
        Ok(())
    }

    /// One write and one sync.
    fn append(&mut self, records: &[Record], bytes: &[u8]) -> Result<(), OutboxError> {
        let Some((&segment, &slot)) = self.segments.last_key_value() else {
            self.begin_next()?;
            return self.append(records, bytes);
        };
        for record in records {
            self.note(record, segment);
        }
        let mut out = match self.end {
            0 => frame::segment_header(segment),
            _ => Vec::new(),
        };
        let (number, oldest) = (self.last_frame + 1, self.oldest(segment));
        frame::write_frame(&mut out, segment, number, (oldest, bytes));
        let begin = u32::try_from(self.end).unwrap_or(u32::MAX);
        let written = self.slots.write(slot, begin, &out);
        written
            .and_then(|()| self.slots.sync(slot))
            .map_err(|source| failed(self.slots.path(slot), "written", source))?;
        self.last_frame = number;
        self.end += out.len();
        self.give_back();
        Ok(())
    }

    fn note(&mut self, record: &Record, segment: u32) {
        match record {
            Record::Accepted(accepted) => {
                let stage = Stage::Waiting;
                self.live.insert(accepted.id, Live { segment, stage });
            }
            Record::Sent { id, packet_id } => {
                let stage_of = |id| Some(self.live.get(&id)?.stage);
                if let Some(before) = self.holders.pass_on((*packet_id, *id), stage_of) {
                    self.live.remove(&before);
                }
                if let Some(live) = self.live.get_mut(id) {
                    live.stage = Stage::Sent(*packet_id);
                }
            }
            Record::Received { id } => {
                if let Some(live) = self.live.get_mut(id)
                    && let Stage::Sent(packet_id) = live.stage
                {
                    live.stage = Stage::Received(packet_id);
                }
            }
            Record::Settled { id } => drop(self.live.remove(id)),
            Record::SessionLost => {
                for live in self.live.values_mut() {
                    live.stage = Stage::Waiting;
                }
            }
        }
    }

    /// Gives back the segments that the frame just synced said are not needed.
    fn give_back(&mut self) {
        let Some((&current, _)) = self.segments.last_key_value() else {
            return;
        };
        let needed = self.segments.split_off(&self.oldest(current));
        self.free.extend(self.segments.values());
        self.segments = needed;
    }

    fn oldest(&self, current: u32) -> u32 {
        let oldest = self.live.values().map(|live| live.segment).min();
        oldest.map_or(current, |oldest| oldest.min(current))
    }

    fn segment_len(&self) -> usize {
        usize::try_from(self.limits.segment_len()).unwrap_or(usize::MAX)
    }
}

impl Record {
    fn accepted(self) -> Option<Accepted> {
        match self {
            Self::Accepted(accepted) => Some(*accepted),
            Self::Sent { .. }
            | Self::Received { .. }
            | Self::Settled { .. }
            | Self::SessionLost => None,
        }
    }
}

/// All that has to be known of a message.
fn again(accepted: Accepted, stage: Stage) -> Vec<Record> {
    let id = accepted.id;
    let mut records = vec![Record::Accepted(Box::new(accepted))];
    match stage {
        Stage::Waiting => {}
        Stage::Sent(packet_id) => records.push(Record::Sent { id, packet_id }),
        Stage::Received(packet_id) => {
            records.push(Record::Sent { id, packet_id });
            records.push(Record::Received { id });
        }
    }
    records
}

fn bytes_of(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        record.write(&mut bytes);
    }
    bytes
}

fn failed(path: std::path::PathBuf, verb: &'static str, source: io::Error) -> OutboxError {
    let source = Arc::new(source);
    OutboxError::File { path, verb, source }
}
