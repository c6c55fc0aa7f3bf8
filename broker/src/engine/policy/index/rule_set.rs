//! A set of rules, by their places in the policy.
//!
//! It is as long as its rules are apart: few rules of a long policy take little room.

/// Some of the rules of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine::policy) struct RuleSet {
    /// The number of the first word; there is none below it.
    first: usize,
    words: Vec<u64>,
}

impl RuleSet {
    pub(super) fn insert(&mut self, rule: usize) {
        let (word, bit) = (rule / 64, 1 << (rule % 64));
        if self.words.is_empty() {
            self.first = word;
        }
        if word < self.first {
            let below = self.first - word;
            self.words.splice(0..0, std::iter::repeat_n(0, below));
            self.first = word;
        }
        let place = word - self.first;
        if place >= self.words.len() {
            self.words.resize(place + 1, 0);
        }
        if let Some(word) = self.words.get_mut(place) {
            *word |= bit;
        }
    }

    pub(super) fn remove(&mut self, rule: usize) {
        let place = (rule / 64).checked_sub(self.first);
        if let Some(word) = place.and_then(|place| self.words.get_mut(place)) {
            *word &= !(1 << (rule % 64));
        }
    }

    #[inline]
    pub(in crate::engine::policy) fn contains(&self, rule: usize) -> bool {
        let place = (rule / 64).checked_sub(self.first);
        let word = place.and_then(|place| self.words.get(place));
        word.is_some_and(|word| word >> (rule % 64) & 1 == 1)
    }

    /// Whether a rule is in both.
    #[inline]
    pub(super) fn meets(&self, other: &Self) -> bool {
        let (own, others) = if self.first < other.first {
            (
                self.words.get(other.first - self.first..),
                other.words.get(..),
            )
        } else {
            (
                self.words.get(..),
                other.words.get(self.first - other.first..),
            )
        };
        let (own, others) = (own.unwrap_or_default(), others.unwrap_or_default());
        own.iter().zip(others).any(|(own, other)| own & other != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(rules: &BTreeSet<usize>) -> RuleSet {
        let mut set = RuleSet::default();
        // The order of insertion is nobody's promise.
        for rule in rules.iter().rev().step_by(2) {
            set.insert(*rule);
        }
        for rule in rules {
            set.insert(*rule);
        }
        set
    }

    fn rules() -> impl Strategy<Value = BTreeSet<usize>> {
        prop::collection::btree_set(0..400_usize, 0..6)
    }

    proptest! {
        #[test]
        fn it_holds_what_was_inserted_and_not_removed(
            inserted in rules(),
            removed in rules(),
            other in rules(),
        ) {
            let mut own = set(&inserted);
            for rule in &removed {
                own.remove(*rule);
            }
            let left: BTreeSet<usize> = inserted.difference(&removed).copied().collect();
            for rule in 0..400 {
                prop_assert_eq!(own.contains(rule), left.contains(&rule));
            }
            prop_assert_eq!(own.meets(&set(&other)), !left.is_disjoint(&other));
            prop_assert_eq!(set(&other).meets(&own), !left.is_disjoint(&other));
        }
    }
}
