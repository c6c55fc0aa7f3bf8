//! A set of rules, by their places in the policy.

/// Some of the rules of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine::policy) struct RuleSet(Box<[u64]>);

impl RuleSet {
    /// None of `len` rules.
    pub(super) fn none_of(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)].into())
    }

    pub(super) fn insert(&mut self, rule: usize) {
        if let Some(word) = self.0.get_mut(rule / 64) {
            *word |= 1 << (rule % 64);
        }
    }

    pub(super) fn remove(&mut self, rule: usize) {
        if let Some(word) = self.0.get_mut(rule / 64) {
            *word &= !(1 << (rule % 64));
        }
    }

    #[inline]
    pub(in crate::engine::policy) fn contains(&self, rule: usize) -> bool {
        self.0
            .get(rule / 64)
            .is_some_and(|word| word >> (rule % 64) & 1 == 1)
    }
}
