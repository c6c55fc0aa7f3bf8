//! Which packet identifier is the next.
//!
//! In whatever order a peer gives them back, looking for it takes a bounded number of steps on
//! average: through those in use where they are few, from a list of the free where they are many.

use crate::packet::PacketId;
use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, Hasher};

/// From how many in use on the free ones are listed; below, every second step finds one.
const CROWDED: usize = 1 << 15;

/// Below how many in use the list is given up; that far from [`CROWDED`], it is not made often.
const CALM: usize = CROWDED / 2;

/// Counts the packet identifiers that we give out in one session; which of them are in use is
/// known to the caller.
#[derive(Debug)]
pub(super) struct PacketIds {
    /// Where to look for the next one.
    next: PacketId,
    /// Where many are in use: the free ones, in the order in which they are given out; at most
    /// three times as many as are in use.
    free: Option<VecDeque<PacketId>>,
}

impl PacketIds {
    pub(super) fn new() -> Self {
        Self {
            next: PacketId::MIN,
            free: None,
        }
    }

    /// The next one is looked for behind this.
    pub(super) fn count_from(&mut self, last: PacketId) {
        self.next = after(last);
    }

    /// The next one that is not in use: 1, 2, 3, … 65,535, 1, … `None` if all are.
    pub(super) fn take(
        &mut self,
        in_use_len: usize,
        is_in_use: impl Fn(PacketId) -> bool,
    ) -> Option<PacketId> {
        let id = if in_use_len < CROWDED && self.free.is_none() {
            ring_from(self.next).find(|id| !is_in_use(*id))
        } else {
            let next = self.next;
            let list = || ring_from(next).filter(|id| !is_in_use(*id)).collect();
            let free = self.free.get_or_insert_with(list);
            std::iter::from_fn(|| free.pop_front()).find(|id| !is_in_use(*id))
        }?;
        self.next = after(id);
        Some(id)
    }

    /// One is free again, and so many are still in use.
    pub(super) fn release(&mut self, id: PacketId, in_use_len: usize) {
        if in_use_len < CALM {
            self.free = None;
        }
        if let Some(free) = &mut self.free {
            free.push_back(id);
        }
    }

    /// All are free again; the counting goes on where it was.
    pub(super) fn release_all(&mut self) {
        self.free = None;
    }
}

fn after(id: PacketId) -> PacketId {
    id.checked_add(1).unwrap_or(PacketId::MIN)
}

/// All there are, once around.
fn ring_from(first: PacketId) -> impl Iterator<Item = PacketId> {
    let all = usize::from(u16::MAX);
    std::iter::successors(Some(first), |id| Some(after(*id))).take(all)
}

/// Hashes packet identifiers: there are so few that nobody can make many of them collide.
pub(super) type PacketIdHash = BuildHasherDefault<PacketIdHasher>;

/// Multiplicative hashing. Following identifiers fall into following buckets.
#[derive(Default)]
pub(super) struct PacketIdHasher(u64);

impl Hasher for PacketIdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u16(u16::from(*byte));
        }
    }

    fn write_u16(&mut self, id: u16) {
        // 2^64 divided by the golden ratio.
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn id(id: u16) -> PacketId {
        PacketId::new(id).unwrap()
    }

    /// The identifiers with those in use, as a session has them.
    struct Session {
        ids: PacketIds,
        in_use: HashSet<PacketId, PacketIdHash>,
    }

    impl Session {
        fn new() -> Self {
            Self {
                ids: PacketIds::new(),
                in_use: HashSet::default(),
            }
        }

        fn take(&mut self) -> Option<u16> {
            let in_use = &self.in_use;
            let id = self.ids.take(in_use.len(), |id| in_use.contains(&id))?;
            assert!(self.in_use.insert(id), "{id} is in use");
            Some(id.get())
        }

        fn release(&mut self, number: u16) {
            assert!(self.in_use.remove(&id(number)));
            self.ids.release(id(number), self.in_use.len());
        }
    }

    #[test]
    fn mqtt_2_2_1_ids_count_from_1_and_wrap_past_0() {
        let mut session = Session::new();
        for expected in 1..=u16::MAX {
            assert_eq!(session.take(), Some(expected));
            session.release(expected);
        }
        assert_eq!(session.take(), Some(1));
    }

    #[test]
    fn ids_in_use_are_passed_over() {
        let mut session = Session::new();
        for _ in 0..3 {
            session.take();
        }
        for number in 4..=u16::MAX {
            assert_eq!(session.take(), Some(number));
            session.release(number);
        }
        session.release(2);
        assert_eq!(session.take(), Some(2));
        assert_eq!(session.take(), Some(4));
    }

    #[test]
    fn all_ids_can_be_in_use_and_each_is_found_when_it_is_free() {
        let mut session = Session::new();
        for expected in 1..=u16::MAX {
            assert_eq!(session.take(), Some(expected));
        }
        assert_eq!(session.take(), None);
        for number in [7, 65_535, 1] {
            session.release(number);
        }
        let taken = [(); 4].map(|()| session.take());
        assert_eq!(taken, [Some(7), Some(65_535), Some(1), None]);
        for number in 2..=u16::MAX {
            session.release(number);
        }
        assert!(session.ids.free.is_none());
        assert_eq!([session.take(), session.take()], [Some(2), Some(3)]);
    }
}
