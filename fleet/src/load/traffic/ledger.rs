//! Which messages one subscriber has, and in which order they came.
//!
//! In the ordinary case a message is the next of its publisher and costs a comparison. What is
//! missing is remembered by number, so that a late message is told from a second one.

use crate::load::Fault;
use std::collections::BTreeSet;

/// The messages of some publishers, as one subscriber sees them.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// The publisher with the lowest number.
    first: u32,
    sources: Vec<Source>,
}

/// The messages of one publisher.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    /// All before it have come or are missing.
    next: u64,
    missing: BTreeSet<u64>,
    duplicated: u64,
    reordered: u64,
}

impl Ledger {
    /// Of the publishers `first` to `first + count`.
    pub(crate) fn new(first: u32, count: usize) -> Self {
        Self {
            first,
            sources: vec![Source::default(); count],
        }
    }

    /// The messages of this publisher, if it is one of ours.
    #[inline]
    pub(crate) fn source(&mut self, publisher: u32) -> Option<(usize, &mut Source)> {
        let index = usize::try_from(publisher.checked_sub(self.first)?).ok()?;
        self.sources.get_mut(index).map(|source| (index, source))
    }

    /// What went wrong, where each publisher has sent what `sent` says.
    pub(crate) fn fault(&self, sent: &[u64]) -> Fault {
        let mut fault = Fault::default();
        for (source, sent) in self.sources.iter().zip(sent) {
            fault.expected += sent;
            fault.lost += sent.saturating_sub(source.count());
            fault.duplicated += source.duplicated;
            fault.reordered += source.reordered;
        }
        fault
    }
}

impl Source {
    /// Notes a message; true when it had not come before.
    #[inline]
    pub(crate) fn note(&mut self, sequence: u64) -> bool {
        if sequence == self.next {
            self.next += 1;
            return true;
        }
        self.note_odd(sequence)
    }

    /// All messages before this number have come or are known to be missing.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    fn note_odd(&mut self, sequence: u64) -> bool {
        if sequence > self.next {
            self.missing.extend(self.next..sequence);
            self.next = sequence + 1;
            return true;
        }
        let late = self.missing.remove(&sequence);
        if late {
            self.reordered += 1;
        } else {
            self.duplicated += 1;
        }
        late
    }

    /// How many different messages came.
    fn count(&self) -> u64 {
        self.next - u64::try_from(self.missing.len()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(came: &[u64], sent: u64, [lost, duplicated, reordered]: [u64; 3]) {
        let mut ledger = Ledger::new(5, 1);
        let mut new = 0;
        for sequence in came {
            let (_, source) = ledger.source(5).unwrap();
            new += u64::from(source.note(*sequence));
        }
        let expected = Fault {
            expected: sent,
            lost,
            duplicated,
            reordered,
        };
        assert_eq!(ledger.fault(&[sent]), expected, "{came:?}");
        assert_eq!(new, sent - lost, "{came:?}");
    }

    #[test]
    fn what_is_lost_late_or_doubled_is_told_apart() {
        check(&[0, 1, 2], 3, [0, 0, 0]);
        check(&[0, 1], 3, [1, 0, 0]);
        check(&[], 3, [3, 0, 0]);
        check(&[0, 2], 3, [1, 0, 0]);
        check(&[0, 2, 1], 3, [0, 0, 1]);
        check(&[0, 1, 1, 2], 3, [0, 1, 0]);
        check(&[0, 1, 2, 0, 1, 2], 3, [0, 3, 0]);
        check(&[2, 1, 1, 0], 4, [1, 1, 2]);
    }

    #[test]
    fn a_publisher_of_somebody_else_has_no_place() {
        let mut ledger = Ledger::new(5, 2);
        assert!(ledger.source(4).is_none() && ledger.source(7).is_none());
        assert_eq!(ledger.source(6).map(|(index, _)| index), Some(1));
    }
}
