//! How much an outbox takes, and what happens when it is full.
//!
//! A message has its place from before it is accepted until it is settled, so that there are never
//! more than was allowed, however many publish at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a full outbox does with another message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Its publisher waits until there is room.
    #[default]
    Wait,
    /// Its publisher is told at once.
    Refuse,
    /// It is accepted and dropped, as its receipt says.
    DropNewest,
    /// It takes the place of those that have waited longest and are not under way, as their
    /// receipts say; where all are under way, its publisher is told.
    DropOldest,
}

/// What became of messages for want of room, or of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxCounts {
    /// Not accepted, because the outbox was full.
    pub refused: u32,
    /// Dropped, because the outbox was full.
    pub dropped: u32,
    /// Dropped, because their time was over before they could be sent.
    pub expired: u32,
}

/// The room of one outbox.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) when_full: WhenFull,
    /// The largest message that can be taken.
    pub(crate) len_max: u32,
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    refused: AtomicU32,
    dropped: AtomicU32,
    expired: AtomicU32,
}

/// What a message takes up as long as this is held.
#[derive(Debug)]
pub(crate) struct Place {
    _message: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Room {
    pub(crate) fn new(messages: usize, bytes: u32, when_full: WhenFull) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self {
            when_full,
            len_max: u32::try_from(bytes).unwrap_or(u32::MAX),
            messages: Semaphore::new(messages).into(),
            bytes: Semaphore::new(bytes).into(),
            refused: AtomicU32::new(0),
            dropped: AtomicU32::new(0),
            expired: AtomicU32::new(0),
        }
    }

    /// Waits for a place. `None` never: the room is not closed.
    pub(crate) async fn take(&self, len: u32) -> Option<Place> {
        let message = Arc::clone(&self.messages).acquire_owned().await.ok()?;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(len).await.ok()?;
        Some(Place {
            _message: message,
            _bytes: bytes,
        })
    }

    /// A place, if there is one now.
    pub(crate) fn try_take(&self, len: u32) -> Option<Place> {
        let message = Arc::clone(&self.messages).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(len).ok()?;
        Some(Place {
            _message: message,
            _bytes: bytes,
        })
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_expired(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> OutboxCounts {
        OutboxCounts {
            refused: self.refused.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
        }
    }
}
