//! Exact filters: those without a wildcard, looked up whole.
//!
//! A filter without subscribers is not kept.

use super::Subscribers;
use ahash::RandomState;
use hashbrown::HashTable;
use slab::Slab;

/// Filters without wildcards and who subscribes to them.
#[derive(Debug)]
pub(super) struct ExactFilters {
    filters: Slab<Filter>,
    by_pattern: HashTable<usize>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Filter {
    pattern: Box<str>,
    subscribers: Subscribers,
}

impl ExactFilters {
    pub(super) fn new(hasher: RandomState) -> Self {
        Self {
            filters: Slab::new(),
            by_pattern: HashTable::new(),
            hasher,
        }
    }

    /// Who subscribes to exactly this.
    pub(super) fn find_mut(&mut self, pattern: &str) -> Option<&mut Subscribers> {
        let id = *self
            .by_pattern
            .find(self.hasher.hash_one(pattern), self.is(pattern))?;
        Some(&mut self.filters.get_mut(id)?.subscribers)
    }

    /// Lets `add` put somebody into a filter, which is made if need be.
    pub(super) fn add(
        &mut self,
        pattern: &str,
        add: impl FnOnce(&mut Subscribers) -> bool,
    ) -> bool {
        let hash = self.hasher.hash_one(pattern);
        let found = self.by_pattern.find(hash, self.is(pattern)).copied();
        let id = found.unwrap_or_else(|| self.insert(hash, pattern));
        let filter = self.filters.get_mut(id);
        filter.is_some_and(|filter| add(&mut filter.subscribers))
    }

    /// Lets `remove` take somebody out of a filter, and drops the filter when it was the last.
    pub(super) fn remove(
        &mut self,
        pattern: &str,
        remove: impl FnOnce(&mut Subscribers) -> bool,
    ) -> bool {
        let hash = self.hasher.hash_one(pattern);
        let Some(id) = self.by_pattern.find(hash, self.is(pattern)).copied() else {
            return false;
        };
        let Some(filter) = self.filters.get_mut(id) else {
            return false;
        };
        let removed = remove(&mut filter.subscribers);
        if filter.subscribers.is_empty() {
            if let Ok(entry) = self.by_pattern.find_entry(hash, |other| *other == id) {
                entry.remove();
            }
            self.filters.try_remove(id);
        }
        removed
    }

    fn insert(&mut self, hash: u64, pattern: &str) -> usize {
        let filter = Filter {
            pattern: pattern.into(),
            subscribers: Subscribers::default(),
        };
        let id = self.filters.insert(filter);
        let (filters, hasher) = (&self.filters, &self.hasher);
        let rehash = |id: &usize| {
            filters
                .get(*id)
                .map_or(0, |filter| hasher.hash_one(&*filter.pattern))
        };
        self.by_pattern.insert_unique(hash, id, rehash);
        id
    }

    fn is<'a>(&'a self, pattern: &'a str) -> impl Fn(&usize) -> bool + 'a {
        move |id| {
            self.filters
                .get(*id)
                .is_some_and(|filter| &*filter.pattern == pattern)
        }
    }
}

#[cfg(test)]
impl ExactFilters {
    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.filters.is_empty() && self.by_pattern.is_empty()
    }
}
