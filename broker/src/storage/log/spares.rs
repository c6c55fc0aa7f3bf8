//! Spares: room on the disk that no segment has taken yet.
//!
//! A segment is made ahead of its time, or of one that is needed no more: a commit shall wait for
//! neither.

use super::error::LogError;
use super::segment::{self, spare_name};
use super::shelf::Shelf;
use std::collections::VecDeque;

/// What is needed no more is kept up to here; the rest is removed.
const LEN_MAX: usize = 2;

pub(super) struct Spares {
    shelf: Shelf,
    /// How long each is.
    size: u64,
    ready: VecDeque<String>,
    next: u64,
}

/// A spare that is yet to be made, by anybody.
pub(super) struct Order {
    shelf: Shelf,
    size: u64,
    name: String,
}

impl Spares {
    /// Begins with those that are there.
    pub(super) fn new(shelf: Shelf, size: u64, ready: &[u64]) -> Self {
        Self {
            shelf,
            size,
            ready: ready.iter().copied().map(spare_name).collect(),
            next: ready.last().map_or(0, |last| last + 1),
        }
    }

    /// One of at least this size, and its size. It is made where there is none.
    pub(super) fn take(&mut self, size_min: u64) -> Result<(String, u64), LogError> {
        if size_min <= self.size
            && let Some(name) = self.ready.pop_front()
        {
            return Ok((name, self.size));
        }
        let order = Order {
            size: self.size.max(size_min),
            ..self.order()
        };
        let size = order.size;
        Ok((order.make()?, size))
    }

    /// What is to be made so that the next [`Self::take`] finds something.
    pub(super) fn wanted(&mut self) -> Option<Order> {
        self.ready.is_empty().then(|| self.order())
    }

    /// How much room they are.
    pub(super) fn bytes(&self) -> u64 {
        self.size * self.ready.len() as u64
    }

    /// Takes one that was made.
    pub(super) fn add(&mut self, name: String) {
        self.ready.push_back(name);
    }

    /// Takes the room of a file that is needed no more.
    pub(super) fn recycle(&mut self, name: &str, size: u64) -> Result<(), LogError> {
        if size == self.size && self.ready.len() < LEN_MAX {
            let spare = self.order().name;
            self.shelf.rename(name, &spare)?;
            self.ready.push_back(spare);
        } else {
            self.shelf.remove(name)?;
        }
        // Each by itself: the segments must vanish from the oldest on.
        self.shelf.sync_names()
    }

    fn order(&mut self) -> Order {
        let name = spare_name(self.next);
        self.next += 1;
        Order {
            shelf: self.shelf.clone(),
            size: self.size,
            name,
        }
    }
}

impl Order {
    /// Makes it and says its name.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(super) fn make(self) -> Result<String, LogError> {
        segment::prepare(&self.shelf, &self.name, self.size)?;
        Ok(self.name)
    }
}
