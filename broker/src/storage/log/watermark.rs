//! The watermark: how much of the disk a log may take before nothing more is taken in.
//!
//! What is left behind it is the reserve, for acknowledgements, for checkpoints, and for what is
//! carried along: all that makes room again.

use crate::engine::Room;
use crate::storage::ledger::Ledger;

/// Judges how much room there is.
#[derive(Debug)]
pub(super) struct Watermark {
    /// As many bytes may be taken in all.
    bytes_max: u64,
    segment_bytes: u64,
    room: Room,
    is_tight: bool,
}

impl Watermark {
    pub(super) fn new(bytes_max: u64, segment_bytes: u64) -> Self {
        Self {
            bytes_max,
            segment_bytes,
            room: Room::Enough,
            is_tight: false,
        }
    }

    /// What is to be told, where as many bytes as `free` are not taken by anybody.
    pub(super) fn judge(&mut self, ledger: &Ledger, free: u64) -> Option<Room> {
        let used = ledger.bytes();
        let whole = self.bytes_max.min(used.saturating_add(free));
        // A checkpoint is written beside the one before, and the log goes on meanwhile.
        let reserve = (self.segment_bytes * 2).saturating_add(ledger.checkpoint_len);
        let full = (whole / 10 * 9).min(whole.saturating_sub(reserve));
        // The next segment must have its place.
        let last = whole.saturating_sub(self.segment_bytes);
        let exhausted = (whole - whole / 100 * 3).min(last).max(full);
        self.is_tight = used >= full / 10 * 8;
        let is_over =
            |mark: u64, below: u64, room| used >= if self.room >= room { below } else { mark };
        let room = if is_over(exhausted, exhausted / 97 * 95, Room::Exhausted) {
            Room::Exhausted
        } else if is_over(full, full / 90 * 85, Room::Full) {
            Room::Full
        } else {
            Room::Enough
        };
        let is_news = room != self.room;
        self.room = room;
        is_news.then_some(room)
    }

    /// Whether room should be made before it is needed.
    pub(super) fn is_tight(&self) -> bool {
        self.is_tight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_nine_tenths_it_is_full_and_at_97_percent_exhausted_until_there_is_room_again() {
        let mut watermark = Watermark::new(1000, 10);
        let mut judge = |used, free| {
            let mut ledger = Ledger::default();
            ledger.begin_segment(1, used);
            (watermark.judge(&ledger, free), watermark.is_tight())
        };
        assert_eq!(judge(719, 9999), (None, false));
        assert_eq!(judge(720, 9999), (None, true));
        assert_eq!(judge(899, 9999), (None, true));
        assert_eq!(judge(900, 9999), (Some(Room::Full), true));
        assert_eq!(judge(969, 9999), (None, true));
        assert_eq!(judge(970, 9999), (Some(Room::Exhausted), true));
        assert_eq!(judge(950, 9999), (None, true));
        assert_eq!(judge(949, 9999), (Some(Room::Full), true));
        assert_eq!(judge(850, 9999), (None, true));
        assert_eq!(judge(849, 9999), (Some(Room::Enough), true));
        // The disk has less than may be taken, and two segments are kept back.
        assert_eq!(judge(100, 20), (Some(Room::Full), true));
        // The next one has no place.
        assert_eq!(judge(100, 9), (Some(Room::Exhausted), true));
        assert_eq!(judge(100, 9999), (Some(Room::Enough), false));
    }
}
