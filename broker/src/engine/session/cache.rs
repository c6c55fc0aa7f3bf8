//! Cache: how much of what waits for sessions is in memory besides the log.
//!
//! One for all sessions of a shard. What it has no room for waits in the log alone.

use super::Pending;
use crate::engine::message::Message;

/// How many bytes the messages that are in the log and in queues take in memory.
#[derive(Debug)]
pub(in crate::engine) struct Cache {
    used: usize,
    max: usize,
}

/// Who is to get the message sooner or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Reader {
    /// A client that is connected.
    Here,
    /// One that is not. It may never come: half of the room is not for it.
    Away,
}

impl Cache {
    /// Where nothing could be loaded everything is kept here.
    pub(in crate::engine) fn unbounded() -> Self {
        Self::new(usize::MAX)
    }

    pub(in crate::engine) fn new(max: usize) -> Self {
        Self { used: 0, max }
    }

    /// Another maximum for what comes from here on, unless everything is kept.
    pub(in crate::engine) fn change_max(&mut self, max: usize) {
        if self.max != usize::MAX {
            self.max = max;
        }
    }

    /// Whether a message for this reader is kept here.
    pub(in crate::engine) fn has_room(&self, reader: Reader) -> bool {
        match reader {
            Reader::Here => self.used < self.max,
            Reader::Away => self.used < self.max / 2,
        }
    }

    pub(super) fn take_in(&mut self, pending: &Pending) {
        self.used += cost(pending);
    }

    pub(super) fn let_go(&mut self, pending: &Pending) {
        self.used -= cost(pending);
    }

    #[cfg(test)]
    pub(in crate::engine) fn used(&self) -> usize {
        self.used
    }

    /// What these take.
    #[cfg(test)]
    pub(in crate::engine) fn used_by<'a>(ready: impl Iterator<Item = &'a Pending>) -> usize {
        ready.map(cost).sum()
    }
}

/// What a waiting message takes. What is in no record cannot be loaded: it does not count.
fn cost(pending: &Pending) -> usize {
    let around = size_of::<Pending>() + size_of::<Message>();
    let len = pending.message.payload().len();
    pending.number.map_or(0, |_| around + len)
}
