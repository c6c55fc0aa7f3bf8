//! A ring of refusals: the latest, each peer and reason once.
//!
//! Noting one costs the same whatever is remembered.

use super::{Code, Outcome, Refusal, Whom};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// The latest refusals of different peers or for different reasons.
#[derive(Debug)]
pub(super) struct Ring {
    len_max: usize,
    next: u64,
    /// In the order in which they happened last.
    entries: BTreeMap<u64, Refusal>,
    places: HashMap<Key, u64>,
}

/// What makes two refusals the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    address: IpAddr,
    whom: Whom,
    outcome: Outcome,
    code: Code,
}

impl Ring {
    pub(super) fn new(len_max: usize) -> Self {
        Self {
            len_max,
            next: 0,
            entries: BTreeMap::new(),
            places: HashMap::new(),
        }
    }

    pub(super) fn note(&mut self, mut refusal: Refusal) {
        let key = Key::of(&refusal);
        let place = self.next;
        self.next += 1;
        let before = self.places.insert(key, place);
        if let Some(before) = before.and_then(|place| self.entries.remove(&place)) {
            refusal.count += before.count;
            refusal.first_at_ms = before.first_at_ms;
        }
        self.entries.insert(place, refusal);
        if self.entries.len() > self.len_max
            && let Some((_, oldest)) = self.entries.pop_first()
        {
            self.places.remove(&Key::of(&oldest));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Refusal> {
        self.entries.values()
    }
}

impl Key {
    fn of(refusal: &Refusal) -> Self {
        Self {
            address: refusal.peer.ip(),
            whom: refusal.whom.clone(),
            outcome: refusal.outcome,
            code: refusal.reason.code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reason;
    use super::*;

    fn refusal(at_ms: u64, last_octet: u8, code: Code) -> Refusal {
        Refusal {
            at_ms,
            first_at_ms: at_ms,
            count: 1,
            outcome: Outcome::Refused,
            peer: ([192, 0, 2, last_octet], 7).into(),
            whom: Whom::default(),
            reason: Reason::new(code, format!("at {at_ms}")),
        }
    }

    fn times(ring: &Ring) -> Vec<(u64, u64, u64)> {
        let times = |it: &Refusal| (it.first_at_ms, it.at_ms, it.count);
        ring.iter().map(times).collect()
    }

    #[test]
    fn what_happens_again_is_counted_and_the_latest_again() {
        let mut ring = Ring::new(10);
        ring.note(refusal(1, 1, Code::NotTls));
        ring.note(refusal(2, 1, Code::NoClientHello));
        ring.note(refusal(3, 2, Code::NotTls));
        ring.note(refusal(4, 1, Code::NotTls));
        assert_eq!(times(&ring), [(2, 2, 1), (3, 3, 1), (1, 4, 2)]);
        let last = ring.iter().last().unwrap();
        assert_eq!(&*last.reason.words, "at 4");
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut ring = Ring::new(3);
        for at in 0..100 {
            ring.note(refusal(at, u8::try_from(at % 5).unwrap(), Code::NotTls));
        }
        assert_eq!(times(&ring), [(97, 97, 1), (98, 98, 1), (99, 99, 1)]);
        assert_eq!(ring.places.len(), 3);
    }
}
