//! The ledger: which messages somebody still needs, where they are, and which segments there are.
//!
//! It says of a message that it is needed as long as it may be, and never less: what a session
//! leaves behind when it ends is taken out only by the checkpoint that sees it. So no segment is
//! let go that has something somebody waits for.

use super::Position;
use super::by_number::ByNumber;
use super::log::{Mark, Marked};
use crate::engine::{MessageNumber, Reach};
use std::collections::{BTreeMap, VecDeque};

/// Where the content of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The number of the segment.
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) len: u32,
}

/// A message that is needed.
#[derive(Clone, Copy, Debug)]
struct Needed {
    place: Place,
    /// How many sessions are still to get it; the other shards together count as one.
    receivers: u32,
}

/// All of one shard.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    messages: ByNumber<Needed>,
    /// Messages that nobody needs any more: gone once the frame is entered, for until the end of a
    /// turn others may get their content.
    unneeded: Vec<MessageNumber>,
    /// Those that other shards are still to get, in the order of their numbers.
    pub(super) forwards: VecDeque<MessageNumber>,
    segments: BTreeMap<u32, Segment>,
    /// Up to which turn it has seen what became durable.
    pub(super) position: Position,
    /// Up to which turn there is a checkpoint, and how long its file is.
    pub(super) covered: Position,
    pub(super) checkpoint_len: u64,
    /// Whether room should be made.
    pub(super) is_tight: bool,
}

/// What is known of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    /// The last turn in it, once nothing more is written there.
    pub(super) end: Option<Position>,
    /// How long the file is.
    pub(super) size: u64,
    /// How many messages in it are needed, and how many bytes they take.
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Ledger {
    /// A message in the log that sessions are to get.
    ///
    /// # Errors
    /// If its number is not higher than all before.
    pub(super) fn add(
        &mut self,
        number: MessageNumber,
        place: Place,
        receivers: u32,
    ) -> Result<(), super::log::Malformed> {
        let needed = Needed { place, receivers };
        if receivers > 0 {
            self.messages.push(number, needed)?;
            self.settle_in(place);
        }
        Ok(())
    }

    /// What a frame has brought that was written into `segment` at `offset`.
    ///
    /// # Errors
    /// If it does not fit to what was written before.
    pub(super) fn take(
        &mut self,
        (segment, offset): (u32, u64),
        marks: &[Mark],
    ) -> Result<(), super::log::Malformed> {
        let place = |content: &Marked| Place {
            segment,
            // A frame ends within 4 GiB of the beginning of its segment.
            offset: u32::try_from(offset + u64::from(content.offset)).unwrap_or(u32::MAX),
            len: content.len,
        };
        for mark in marks {
            match mark {
                Mark::Message {
                    number,
                    content,
                    receivers,
                    reach,
                } => {
                    let is_forwarded = *reach == Reach::Everywhere;
                    let receivers = receivers.saturating_add(is_forwarded.into());
                    self.add(*number, place(content), receivers)?;
                    self.forwards.extend(is_forwarded.then_some(*number));
                }
                Mark::Carried { number, content } => self.carry(*number, place(content)),
                Mark::Copy { number, of } => {
                    if let Some(place) = self.place(*of) {
                        self.add(*number, place, 1)?;
                    }
                }
                Mark::Out(number) => self.take_out(*number),
                Mark::Forwarded(up_to) => {
                    while let Some(number) = self.forwards.pop_front_if(|it| *it <= *up_to) {
                        self.take_out(number);
                    }
                }
            }
        }
        Ok(())
    }

    /// One session needs a message no more.
    pub(super) fn take_out(&mut self, number: MessageNumber) {
        let Some(needed) = self.messages.get_mut(number) else {
            return;
        };
        needed.receivers = needed.receivers.saturating_sub(1);
        if needed.receivers == 0 {
            self.unneeded.push(number);
        }
    }

    /// A frame has been entered.
    pub(super) fn sweep(&mut self) {
        for number in std::mem::take(&mut self.unneeded) {
            if let Some(needed) = self.messages.remove(number) {
                self.move_out(needed.place);
            }
        }
    }

    /// Where a message is that is needed.
    pub(super) fn place(&self, number: MessageNumber) -> Option<Place> {
        self.messages.get(number).map(|needed| needed.place)
    }

    /// How many messages are needed.
    #[cfg(test)]
    pub(super) fn messages_len(&self) -> usize {
        self.messages.len()
    }

    /// Of `looked_max` messages from `from` on those that are in a segment, and where to go on.
    pub(super) fn in_segment(
        &self,
        segment: u32,
        from: u64,
        looked_max: usize,
    ) -> (Vec<(MessageNumber, Place)>, Option<u64>) {
        let mut all = self.messages.from(from);
        let looked = all.by_ref().take(looked_max);
        let found = looked
            .filter(|(_, needed)| needed.place.segment == segment)
            .map(|(number, needed)| (number, needed.place))
            .collect();
        (found, all.next().map(|(number, _)| number.0.get()))
    }

    /// There is a segment of this size, in which nothing is needed yet.
    pub(super) fn begin_segment(&mut self, number: u32, size: u64) {
        self.segments.entry(number).or_default().size = size;
    }

    /// Nothing more is written into a segment.
    pub(super) fn end_segment(&mut self, number: u32, end: Position) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.end = Some(end);
        }
    }

    /// A segment was let go.
    pub(super) fn forget_segment(&mut self, number: u32) {
        self.segments.remove(&number);
    }

    /// All segments, the oldest first.
    pub(super) fn segments(&self) -> impl Iterator<Item = (u32, Segment)> {
        self.segments
            .iter()
            .map(|(number, segment)| (*number, *segment))
    }

    /// Whether nobody needs the records of a segment, nor anything that is in it.
    pub(super) fn is_free(&self, number: u32) -> bool {
        self.segments
            .get(&number)
            .is_some_and(|it| it.messages == 0 && it.end.is_some_and(|end| end <= self.covered))
    }

    /// How many bytes of the complete segments no checkpoint covers.
    pub(super) fn uncovered_bytes(&self) -> u64 {
        let complete = self
            .segments
            .values()
            .filter(|it| it.end > Some(self.covered));
        complete.map(|it| it.size).sum()
    }

    /// How many bytes are taken by segments and checkpoint.
    pub(super) fn bytes(&self) -> u64 {
        let segments: u64 = self.segments.values().map(|it| it.size).sum();
        segments + self.checkpoint_len
    }

    fn carry(&mut self, number: MessageNumber, place: Place) {
        let Some(needed) = self.messages.get_mut(number) else {
            return;
        };
        let before = std::mem::replace(&mut needed.place, place);
        self.move_out(before);
        self.settle_in(place);
    }

    fn settle_in(&mut self, place: Place) {
        let segment = self.segments.entry(place.segment).or_default();
        segment.messages += 1;
        segment.bytes += u64::from(place.len);
    }

    fn move_out(&mut self, place: Place) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.messages -= 1;
            segment.bytes -= u64::from(place.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u64) -> MessageNumber {
        MessageNumber(number.try_into().unwrap())
    }

    #[test]
    fn what_is_known_of_a_message_takes_no_more_than_24_bytes() {
        assert!(size_of::<(u32, Needed)>() <= 24);
    }

    #[test]
    fn a_segment_is_free_once_it_is_covered_and_nothing_in_it_is_needed() {
        let mut ledger = Ledger::default();
        ledger.begin_segment(1, 100);
        let content = |offset| Marked { offset, len: 10 };
        let marks = [
            Mark::Message {
                number: number(1),
                content: content(5),
                receivers: 1,
                reach: Reach::Everywhere,
            },
            Mark::Copy {
                number: number(2),
                of: number(1),
            },
        ];
        ledger.take((1, 512), &marks).unwrap();
        let place = Place {
            segment: 1,
            offset: 517,
            len: 10,
        };
        assert_eq!(ledger.place(number(1)), Some(place));
        assert_eq!(ledger.place(number(2)), Some(place));
        ledger.end_segment(1, Position(7));
        assert_eq!((ledger.uncovered_bytes(), ledger.is_free(1)), (100, false));
        ledger.covered = Position(7);
        assert_eq!((ledger.uncovered_bytes(), ledger.is_free(1)), (0, false));
        ledger.begin_segment(2, 100);
        let carried = Mark::Carried {
            number: number(2),
            content: content(0),
        };
        let marks = [Mark::Out(number(1)), carried];
        ledger.take((2, 512), &marks).unwrap();
        ledger.sweep();
        assert!(!ledger.is_free(1), "other shards are to get it");
        assert_eq!(ledger.in_segment(1, 0, 9), (vec![(number(1), place)], None));
        assert_eq!(ledger.in_segment(2, 0, 1), (vec![], Some(2)));
        ledger
            .take((2, 600), &[Mark::Forwarded(number(2))])
            .unwrap();
        ledger.sweep();
        assert!(ledger.is_free(1));
        assert_eq!(ledger.messages_len(), 1);
        assert!(!ledger.is_free(2), "it is not complete");
    }
}
