//! What is known of each of many messages, found by its number.
//!
//! Numbers ascend and messages mostly go in the order in which they came: so they stand in order
//! in short runs, and each costs no more than what is known of it and four bytes.

use super::log::Malformed;
use crate::engine::MessageNumber;
use std::collections::VecDeque;

/// So many are in a run at the most.
const RUN_LEN_MAX: usize = 256;

/// Values by message number.
#[derive(Clone, Debug)]
pub(super) struct ByNumber<T> {
    /// In order, none empty.
    runs: VecDeque<Run<T>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Run<T> {
    /// The first number that it had.
    first: u64,
    /// Each with how much its number is above that.
    values: VecDeque<(u32, T)>,
}

impl<T> Default for ByNumber<T> {
    fn default() -> Self {
        Self {
            runs: VecDeque::new(),
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
        let pushed = match self.runs.back_mut() {
            Some(last) => last.push(number, value)?,
            None => Some(value),
        };
        if let Some(value) = pushed {
            self.runs.push_back(Run {
                first: number,
                values: VecDeque::from([(0, value)]),
            });
        }
        self.len += 1;
        Ok(())
    }

    pub(super) fn get(&self, number: MessageNumber) -> Option<&T> {
        let run = self.runs.get(self.run_of(number.0.get())?)?;
        let (_, value) = run.values.get(run.place(number)?)?;
        Some(value)
    }

    pub(super) fn get_mut(&mut self, number: MessageNumber) -> Option<&mut T> {
        let run = self.run_of(number.0.get())?;
        let run = self.runs.get_mut(run)?;
        let place = run.place(number)?;
        run.values.get_mut(place).map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, number: MessageNumber) -> Option<T> {
        let at = self.run_of(number.0.get())?;
        let run = self.runs.get_mut(at)?;
        let (_, value) = run.values.remove(run.place(number)?)?;
        self.len -= 1;
        let left = run.values.len();
        if left == 0 {
            self.runs.remove(at);
        } else if left * 4 <= run.values.capacity() {
            run.values.shrink_to(left * 2);
        }
        Some(value)
    }

    /// Those from `number` on, in order.
    pub(super) fn from(&self, number: u64) -> impl Iterator<Item = (MessageNumber, &T)> {
        let runs = self.runs.range(self.run_of(number).unwrap_or_default()..);
        let all = runs.flat_map(|run| {
            let values = run.values.iter();
            values.map(|(above, value)| (run.first + u64::from(*above), value))
        });
        all.skip_while(move |(it, _)| *it < number)
            .filter_map(|(number, value)| Some((MessageNumber(number.try_into().ok()?), value)))
    }

    /// The run that has a number if any has.
    fn run_of(&self, number: u64) -> Option<usize> {
        let behind = self.runs.partition_point(|run| run.first <= number);
        behind.checked_sub(1)
    }
}

impl<T> Run<T> {
    /// Adds a value, or gives it back where there is no room for it.
    fn push(&mut self, number: u64, value: T) -> Result<Option<T>, Malformed> {
        let above = number.checked_sub(self.first).ok_or(NOT_NEW)?;
        let last = self.values.back();
        if last.is_some_and(|(last, _)| u64::from(*last) >= above) {
            return Err(NOT_NEW);
        }
        match u32::try_from(above) {
            Ok(above) if self.values.len() < RUN_LEN_MAX => {
                self.values.push_back((above, value));
                Ok(None)
            }
            _ => Ok(Some(value)),
        }
    }

    fn place(&self, number: MessageNumber) -> Option<usize> {
        let above = u32::try_from(number.0.get().checked_sub(self.first)?).ok()?;
        self.values.binary_search_by_key(&above, |(it, _)| *it).ok()
    }
}

const NOT_NEW: Malformed = Malformed("the number of a message is not higher than those before");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn number(number: u64) -> MessageNumber {
        MessageNumber(number.try_into().unwrap())
    }

    /// A message is added, so much above the last one, or one that is there is removed.
    fn steps() -> impl Strategy<Value = Vec<(u64, bool, prop::sample::Index)>> {
        let step = (1_u64..700, any::<bool>(), any::<prop::sample::Index>());
        proptest::collection::vec(step, 1..900)
    }

    proptest! {
        #[test]
        fn it_is_a_map_of_ascending_numbers(steps in steps()) {
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
            let all: Vec<_> = ours.from(0).map(|(it, value)| (it.0.get(), *value)).collect();
            let expected: Vec<_> = map.iter().map(|(it, value)| (*it, *value)).collect();
            prop_assert_eq!(&all, &expected);
            if let Some((middle, _)) = expected.get(expected.len() / 2) {
                let behind: Vec<_> = ours.from(*middle).map(|(it, _)| it.0.get()).collect();
                prop_assert_eq!(behind.first(), Some(middle));
                let value = ours.get_mut(number(*middle)).copied();
                prop_assert_eq!(value, map.get(middle).copied());
            }
        }
    }
}
