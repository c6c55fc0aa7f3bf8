//! Deadlines: what the engine has to do when time has passed, and for whom.
//!
//! An idle session costs nothing here: only what will happen has an entry, and an entry is taken
//! out when it is not going to happen after all.

use super::session::SessionId;
use super::time::Time;
use std::collections::BTreeSet;

/// Something that happens when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// The delay of this session's will is over.
    Will(SessionId),
    /// This session, left by its client, ends.
    SessionEnd(SessionId),
    /// The certificate behind this session's connection has expired.
    Proof(SessionId),
    /// The broker's own figures are published.
    Statistics,
}

/// All deadlines, the next one first.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Time, Deadline)>);

impl Deadlines {
    pub(super) fn add(&mut self, at: Time, deadline: Deadline) {
        self.0.insert((at, deadline));
    }

    pub(super) fn remove(&mut self, at: Time, deadline: Deadline) {
        self.0.remove(&(at, deadline));
    }

    #[cfg(test)]
    pub(super) fn contains(&self, at: Time, deadline: Deadline) -> bool {
        self.0.contains(&(at, deadline))
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes out one that is due.
    pub(super) fn take_due(&mut self, now: Time) -> Option<Deadline> {
        self.0.first().filter(|(at, _)| *at <= now)?;
        self.0.pop_first().map(|(_, deadline)| deadline)
    }
}
