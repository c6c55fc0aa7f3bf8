//! Which packet identifiers are in use, and which is the next.
//!
//! In whatever order a peer gives them back, the next one is found without a search through those
//! in use: they are kept as runs.

use crate::packet::PacketId;
use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The packet identifiers we give out in one session.
#[derive(Debug)]
pub(super) struct PacketIds {
    /// First and last of each run in use. Two runs never touch, so behind each one is free.
    runs: BTreeMap<PacketId, PacketId>,
    /// Where to look for the next one.
    next: PacketId,
}

impl PacketIds {
    pub(super) fn new() -> Self {
        Self {
            runs: BTreeMap::new(),
            next: PacketId::MIN,
        }
    }

    /// Takes the next one that is not in use: 1, 2, 3, … 65,535, 1, … `None` if all are.
    pub(super) fn take(&mut self) -> Option<PacketId> {
        let id = self
            .free_from(self.next)
            .or_else(|| self.free_from(PacketId::MIN))?;
        self.claim(id);
        self.next = id.checked_add(1).unwrap_or(PacketId::MIN);
        Some(id)
    }

    /// Marks one as in use.
    pub(super) fn claim(&mut self, id: PacketId) {
        if self.run_with(id).is_some() {
            return;
        }
        let behind = id.checked_add(1).and_then(|next| self.runs.remove(&next));
        let last = behind.unwrap_or(id);
        match self.runs.range_mut(..id).next_back() {
            Some((_, before)) if before.checked_add(1) == Some(id) => *before = last,
            _ => {
                self.runs.insert(id, last);
            }
        }
    }

    /// Marks one as free.
    pub(super) fn release(&mut self, id: PacketId) {
        let Some((first, last)) = self.run_with(id) else {
            return;
        };
        match PacketId::new(id.get() - 1) {
            Some(before) if first < id => self.runs.insert(first, before),
            _ => self.runs.remove(&first),
        };
        if let Some(behind) = id.checked_add(1)
            && id < last
        {
            self.runs.insert(behind, last);
        }
    }

    /// Marks all as free; the counting goes on where it was.
    pub(super) fn release_all(&mut self) {
        self.runs.clear();
    }

    fn free_from(&self, start: PacketId) -> Option<PacketId> {
        match self.run_with(start) {
            Some((_, last)) => last.checked_add(1),
            None => Some(start),
        }
    }

    fn run_with(&self, id: PacketId) -> Option<(PacketId, PacketId)> {
        let (first, last) = self.runs.range(..=id).next_back()?;
        (id <= *last).then_some((*first, *last))
    }
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
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn id(id: u16) -> PacketId {
        PacketId::new(id).unwrap()
    }

    #[test]
    fn mqtt_2_2_1_ids_count_from_1_and_wrap_past_0() {
        let mut ids = PacketIds::new();
        for expected in 1..=u16::MAX {
            assert_eq!(ids.take(), Some(id(expected)));
        }
        assert_eq!(ids.take(), None);
        ids.release(id(7));
        assert_eq!(ids.take(), Some(id(7)));
        ids.release(id(65_535));
        ids.release(id(1));
        assert_eq!(ids.take(), Some(id(65_535)));
        assert_eq!(ids.take(), Some(id(1)));
        assert_eq!(ids.runs.len(), 1);
    }

    proptest! {
        #[test]
        fn runs_are_the_set_they_stand_for(steps in prop::collection::vec((any::<bool>(), 1..40_u16), 0..200)) {
            let mut ids = PacketIds::new();
            let mut set = BTreeSet::new();
            for (claim, number) in steps {
                if claim {
                    ids.claim(id(number));
                    set.insert(number);
                } else {
                    ids.release(id(number));
                    set.remove(&number);
                }
                let all = ids.runs.iter().flat_map(|(first, last)| first.get()..=last.get());
                prop_assert_eq!(all.collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
                prop_assert!(ids.runs.values().all(|last| !set.contains(&(last.get() + 1))));
            }
        }
    }
}
