//! What the slots say after a start: which messages are not settled, and how far each had come.
//!
//! The last whole frame says which segments are needed. From the oldest of them on, segments and
//! frames must follow each other without a gap; behind the last one there may be the rest of a
//! write that a power loss cut short.

use std::collections::BTreeMap;

use bytes::Bytes;
use tracing::warn;

use super::error::{OutboxError, WhenDamaged};
use super::frame::{self, Frame, SEGMENT_HEADER_LEN};
use super::record::{Accepted, Record};
use super::slots::Slots;

/// A message that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) accepted: Accepted,
    pub(crate) stage: Stage,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not sent in this session.
    Waiting,
    /// Sent under this packet id.
    Sent(u16),
    /// A PUBREC came for it.
    Received(u16),
}

impl Stage {
    fn holds(self, packet_id: u16) -> bool {
        match self {
            Self::Waiting => false,
            Self::Sent(held) | Self::Received(held) => held == packet_id,
        }
    }
}

/// Which message was sent last under each packet id.
///
/// A packet id is used again once its exchange is complete. Whoever held it until then is settled,
/// though the record of that may be written after the next one's, or never.
#[derive(Debug, Default)]
pub(super) struct Holders(BTreeMap<u16, u64>);

impl Holders {
    /// Passes a packet id on to this message. Yields who held it until now, by the stage that
    /// each message is at, if it is not settled.
    pub(super) fn pass_on(
        &mut self,
        (packet_id, id): (u16, u64),
        stage_of: impl FnOnce(u64) -> Option<Stage>,
    ) -> Option<u64> {
        let before = self.0.insert(packet_id, id);
        let before = before.filter(|before| *before != id)?;
        stage_of(before)?.holds(packet_id).then_some(before)
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) kept: BTreeMap<u64, Kept>,
    /// In which segment a message that is kept was accepted.
    pub(super) places: BTreeMap<u64, u32>,
    pub(super) holders: Holders,
    /// The slot of each segment that is needed.
    pub(super) segments: BTreeMap<u32, u32>,
    /// Where the last segment goes on.
    pub(super) end: usize,
    pub(super) last_frame: u64,
    pub(super) last_id: u64,
    /// Something could not be read.
    pub(super) is_damaged: bool,
}

/// One segment with its slot.
#[derive(Clone)]
struct Segment {
    slot: u32,
    number: u32,
    /// Up to the first place where none begins.
    frames: Vec<Frame>,
    /// All that are sound, whatever lies between them.
    all_frames: Vec<Frame>,
}

impl Segment {
    fn end(&self) -> usize {
        self.frames
            .last()
            .map_or(SEGMENT_HEADER_LEN, |last| last.end)
    }
}

pub(super) fn recover(
    files: BTreeMap<u32, Vec<u8>>,
    slots: &impl Slots,
    when_damaged: WhenDamaged,
) -> Result<Found, OutboxError> {
    let no_header = files.iter().find(|(_, file)| lost_header(file));
    let no_header = no_header.map(|(slot, _)| (*slot, 0, "its header is not sound"));
    let segments = segments(files);
    let result = no_header.map_or_else(|| check(&segments), Err);
    let result = result.map_err(|(slot, offset, what)| OutboxError::Damaged {
        path: slots.path(slot),
        offset: u32::try_from(offset).unwrap_or(u32::MAX),
        what,
    });
    let mut found = Found::default();
    let segments = match (result, when_damaged) {
        (Ok(needed), _) => needed,
        (Err(error), WhenDamaged::Stop) => return Err(error),
        (Err(error), WhenDamaged::SetAside) => {
            warn!(%error, "going on with what can be read");
            found.is_damaged = true;
            all_readable(&segments)
        }
    };
    for segment in &segments {
        found.segments.insert(segment.number, segment.slot);
        for frame in &segment.frames {
            let Some(records) = Record::read_all(frame.records.clone()) else {
                let error = OutboxError::Damaged {
                    path: slots.path(segment.slot),
                    offset: u32::try_from(frame.begin).unwrap_or(u32::MAX),
                    what: "it was written by another version of this library",
                };
                return Err(error);
            };
            found.last_frame = found.last_frame.max(frame.number);
            for record in records {
                found.apply(record, segment.number);
            }
        }
    }
    if let Some(last) = segments.last() {
        found.end = last.end();
    }
    Ok(found)
}

/// A header is zeros or whole: it lies in one sector, which a disk writes whole or not at all.
fn lost_header(file: &[u8]) -> bool {
    let header = file.get(..SEGMENT_HEADER_LEN).unwrap_or_default();
    header.iter().any(|byte| *byte != 0) && frame::segment_of(file).is_none()
}

/// The segments of all slots, in order.
fn segments(files: BTreeMap<u32, Vec<u8>>) -> Vec<Segment> {
    let mut segments = Vec::new();
    for (slot, file) in files {
        let file = Bytes::from(file);
        if let Some(number) = frame::segment_of(&file) {
            segments.push(Segment {
                slot,
                number,
                frames: frame::read_frames(&file, number),
                all_frames: frame::find_frames(&file, number, SEGMENT_HEADER_LEN),
            });
        }
    }
    segments.sort_by_key(|segment| segment.number);
    segments
}

/// The segments that are needed, or where and how they are damaged.
fn check(all: &[Segment]) -> Result<Vec<Segment>, (u32, usize, &'static str)> {
    let all_frames = all.iter().flat_map(|segment| &segment.all_frames);
    let Some(last) = all_frames.max_by_key(|frame| frame.number) else {
        return Ok(Vec::new());
    };
    // One whose first write was cut short is none.
    let needed = all.iter().filter(|segment| segment.number >= last.oldest);
    let needed: Vec<_> = needed
        .filter(|segment| !segment.all_frames.is_empty())
        .collect();
    let mut expected = (last.oldest, None);
    for segment in &needed {
        if segment.all_frames.len() != segment.frames.len() {
            return Err((segment.slot, segment.end(), "frames behind it are sound"));
        }
        if segment.number != expected.0 {
            return Err((segment.slot, 0, "the segment before it is missing"));
        }
        for frame in &segment.frames {
            if expected.1.is_some_and(|number| number != frame.number) {
                return Err((segment.slot, frame.begin, "frames before it are missing"));
            }
            expected.1 = Some(frame.number + 1);
        }
        expected.0 = segment.number.wrapping_add(1);
    }
    Ok(needed.into_iter().cloned().collect())
}

/// Whatever can be read, in order, with gaps.
fn all_readable(all: &[Segment]) -> Vec<Segment> {
    let mut segments: Vec<_> = all.to_vec();
    for segment in &mut segments {
        segment.frames = segment.all_frames.clone();
    }
    let frames = segments.iter().flat_map(|segment| &segment.frames);
    let oldest = frames.map(|frame| frame.oldest).max().unwrap_or(0);
    segments.retain(|segment| segment.number >= oldest);
    segments
}

impl Found {
    fn apply(&mut self, record: Record, segment: u32) {
        match record {
            Record::Accepted(accepted) => {
                let id = accepted.id;
                self.last_id = self.last_id.max(id);
                self.places.insert(id, segment);
                let (accepted, stage) = (*accepted, Stage::Waiting);
                self.kept.insert(id, Kept { accepted, stage });
            }
            Record::Sent { id, packet_id } => {
                let stage_of = |id| Some(self.kept.get(&id)?.stage);
                if let Some(before) = self.holders.pass_on((packet_id, id), stage_of) {
                    self.settle(before);
                }
                self.advance(id, |_| Stage::Sent(packet_id));
            }
            Record::Received { id } => self.advance(id, |stage| match stage {
                Stage::Sent(packet_id) | Stage::Received(packet_id) => Stage::Received(packet_id),
                Stage::Waiting => Stage::Waiting,
            }),
            Record::Settled { id } => self.settle(id),
            Record::SessionLost => {
                for kept in self.kept.values_mut() {
                    kept.stage = Stage::Waiting;
                }
            }
        }
    }

    fn settle(&mut self, id: u64) {
        self.kept.remove(&id);
        self.places.remove(&id);
    }

    fn advance(&mut self, id: u64, stage: impl FnOnce(Stage) -> Stage) {
        if let Some(kept) = self.kept.get_mut(&id) {
            kept.stage = stage(kept.stage);
        }
    }
}
