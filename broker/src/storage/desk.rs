//! The desk: where the threads of one shard's storage find the ledger and wait for each other.
//!
//! The ledger is locked for moments only, and never while the disk is waited for.

use super::Position;
use super::ledger::Ledger;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The ledger and those who wait for a change in it.
#[derive(Debug, Default)]
pub(super) struct Desk {
    inner: Mutex<Inner>,
    /// Who waits for a turn waits here, and who waits for segments there.
    turns: Condvar,
    segments: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) ledger: Ledger,
    /// Whether anybody waits for a turn.
    is_awaited: bool,
    is_closed: bool,
}

/// Storage ends: nothing more is to be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl Desk {
    /// A desk with the ledger that recovery has made.
    pub(super) fn new(ledger: Ledger) -> Self {
        let inner = Inner {
            ledger,
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
            ..Self::default()
        }
    }

    /// Looks into the ledger or changes it.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.lock().ledger)
    }

    /// The ledger knows all up to this turn.
    pub(super) fn reach(&self, position: Position) {
        let mut inner = self.lock();
        inner.ledger.position = position;
        if std::mem::take(&mut inner.is_awaited) {
            self.turns.notify_all();
        }
    }

    /// Waits until the ledger knows all up to this turn.
    pub(super) fn wait_for(&self, position: Position) -> Result<(), Closed> {
        let mut inner = self.lock();
        while inner.ledger.position < position {
            if inner.is_closed {
                return Err(Closed);
            }
            inner.is_awaited = true;
            inner = wait(&self.turns, inner);
        }
        Ok(())
    }

    /// A segment was begun, completed or let go.
    pub(super) fn tell_of_segments(&self) {
        self.segments.notify_all();
    }

    /// Waits until there is something to do.
    pub(super) fn wait_for_work<T>(
        &self,
        mut find: impl FnMut(&mut Ledger) -> Option<T>,
    ) -> Result<T, Closed> {
        let mut inner = self.lock();
        loop {
            if inner.is_closed {
                return Err(Closed);
            }
            if let Some(work) = find(&mut inner.ledger) {
                return Ok(work);
            }
            inner = wait(&self.segments, inner);
        }
    }

    /// Nobody waits any more, and nothing more is begun.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.turns.notify_all();
        self.segments.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'g>(at: &Condvar, inner: MutexGuard<'g, Inner>) -> MutexGuard<'g, Inner> {
    at.wait(inner).unwrap_or_else(PoisonError::into_inner)
}
