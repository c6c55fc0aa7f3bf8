//! What is known of each of many messages, found by its number.
//!
//! Numbers ascend and messages mostly go in the order in which they came: so they stand in order
//! in short runs, and each costs no more than what is known of it and four bytes.

use super::log::Malformed;
use crate::engine::MessageNumber;
use std::collections::{BTreeMap, VecDeque};

/// So many are in a run at the most.
const RUN_LEN_MAX: usize = 256;

/// Values by message number.
#[derive(Clone, Debug)]
pub(super) struct ByNumber<T> {
    /// By the first number that each had.
    runs: BTreeMap<u64, Run<T>>,
    len: usize,
}

/// Each with how much its number is above the first.
type Run<T> = VecDeque<(u32, T)>;

impl<T> Default for ByNumber<T> {
    fn default() -> Self {
        Self {
            runs: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<T> ByNumber<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds what is known of a message.
    ///
    /// # Errors
    /// If there is one with this number or a higher one.
    pub(super) fn push(&mut self, number: MessageNumber, value: T) -> Result<(), Malformed> {
        let number = number.0.get();
        if let Some(mut last) = self.runs.last_entry() {
            let above = number.checked_sub(*last.key()).ok_or(NOT_NEW)?;
            let run = last.get_mut();
            if run
                .back()
                .is_some_and(|(before, _)| u64::from(*before) >= above)
            {
                return Err(NOT_NEW);
            }
            if let Ok(above) = u32::try_from(above)
                && run.len() < RUN_LEN_MAX
            {
                self.len += 1;
                run.push_back((above, value));
                return Ok(());
            }
        }
        self.len += 1;
        self.runs.insert(number, VecDeque::from([(0, value)]));
        Ok(())
    }

    pub(super) fn get(&self, number: MessageNumber) -> Option<&T> {
        let (first, run) = self.runs.range(..=number.0.get()).next_back()?;
        let (_, value) = run.get(place(run, *first, number)?)?;
        Some(value)
    }

    pub(super) fn get_mut(&mut self, number: MessageNumber) -> Option<&mut T> {
        let (first, run) = self.runs.range_mut(..=number.0.get()).next_back()?;
        let place = place(run, *first, number)?;
        run.get_mut(place).map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, number: MessageNumber) -> Option<T> {
        let (first, run) = self.runs.range_mut(..=number.0.get()).next_back()?;
        let first = *first;
        let place = place(run, first, number)?;
        let (_, value) = run.remove(place)?;
        self.len -= 1;
        if run.is_empty() {
            self.runs.remove(&first);
        } else if run.len() * 4 <= run.capacity() {
            run.shrink_to(run.len() * 2);
        }
        Some(value)
    }

    /// Those from `number` on, in order.
    pub(super) fn from(&self, number: u64) -> impl Iterator<Item = (MessageNumber, &T)> {
        let begin = self.runs.range(..=number).next_back();
        let begin = begin.map_or(number, |(first, _)| *first);
        let all = self.runs.range(begin..).flat_map(|(first, run)| {
            run.iter()
                .map(move |(above, value)| (first + u64::from(*above), value))
        });
        all.skip_while(move |(it, _)| *it < number)
            .filter_map(|(number, value)| Some((MessageNumber(number.try_into().ok()?), value)))
    }
}

const NOT_NEW: Malformed = Malformed("the number of a message is not higher than those before");

fn place<T>(run: &Run<T>, first: u64, number: MessageNumber) -> Option<usize> {
    let above = u32::try_from(number.0.get().checked_sub(first)?).ok()?;
    run.binary_search_by_key(&above, |(it, _)| *it).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn number(number: u64) -> MessageNumber {
        MessageNumber(number.try_into().unwrap())
    }

    proptest! {
        #[test]
        fn it_is_a_map_of_ascending_numbers(steps in proptest::collection::vec((1_u64..700, any::<bool>(), any::<prop::sample::Index>()), 1..900)) {
            let (mut ours, mut map, mut next) = (ByNumber::default(), BTreeMap::new(), 0);
            for (step, adds, which) in steps {
                if adds || map.is_empty() {
                    next += if step == 699 { u64::from(u32::MAX) } else { step };
                    ours.push(number(next), step).unwrap();
                    prop_assert!(ours.push(number(next), step).is_err());
                    map.insert(next, step);
                } else {
                    let keys: Vec<u64> = map.keys().copied().collect();
                    let key = *which.get(&keys);
                    prop_assert_eq!(ours.remove(number(key)), map.remove(&key));
                    prop_assert_eq!(ours.get(number(key)), None);
                }
                prop_assert_eq!(ours.len(), map.len());
            }
            let all: Vec<_> = ours.from(0).map(|(number, value)| (number.0.get(), *value)).collect();
            let expected: Vec<_> = map.iter().map(|(number, value)| (*number, *value)).collect();
            prop_assert_eq!(&all, &expected);
            if let Some((middle, _)) = expected.get(expected.len() / 2) {
                let behind: Vec<_> = ours.from(*middle).map(|(it, _)| it.0.get()).collect();
                prop_assert_eq!(behind.first(), Some(middle));
                prop_assert_eq!(ours.get_mut(number(*middle)).copied(), map.get(middle).copied());
            }
        }
    }
}
