//! The speech of a turn: said at once, or held until the log has what it depends on.

use super::outbox::{Durable, Outbox};
use crate::engine::{After, ConnectionId, Forward, Speech};
use crate::storage::Position;
use ahash::RandomState;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The outboxes of a shard's connections.
#[derive(Debug)]
pub(super) struct Outboxes {
    by_connection: Mutex<ByConnection>,
    dropped: AtomicU64,
}

type ByConnection = HashMap<ConnectionId, Arc<Outbox>, RandomState>;

impl Outboxes {
    pub(super) fn new() -> Self {
        // The numbers hashed are our own: nobody can choose them to collide.
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        Self {
            by_connection: Mutex::new(HashMap::with_hasher(hasher)),
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn open(&self, connection: ConnectionId, outbox: Arc<Outbox>) {
        self.lock().insert(connection, outbox);
    }

    pub(super) fn close(&self, connection: ConnectionId) {
        self.lock().remove(&connection);
    }

    /// How many QoS 0 messages found no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, ByConnection> {
        self.by_connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits for the log. Touched only by whoever has the turn.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The connections that have something to hear at a position, in the order of these.
    listeners: VecDeque<(Position, Arc<Outbox>)>,
    /// What goes to the other shards, in the order in which it was decided.
    forwards: VecDeque<(Position, Forward)>,
    /// What the latest turn with records depends on.
    position: Position,
    /// Kept for its room.
    wakers: Vec<Waker>,
}

impl Held {
    /// The log has taken records: what waits, waits for these too.
    pub(super) fn wait_for(&mut self, position: Position) {
        self.position = position;
    }

    /// Hands what is said to those whom it concerns, and wakes those who may say more now.
    pub(super) fn speak(&mut self, new: &mut Vec<Speech>, durable: &Durable, outboxes: &Outboxes) {
        let reached = durable.position();
        while let Some((_, outbox)) = self.listeners.pop_front_if(|(at, _)| *at <= reached) {
            outbox.wake();
        }
        if new.is_empty() {
            return;
        }
        let by_connection = outboxes.lock();
        let mut all_dropped = 0;
        for speech in new.drain(..) {
            // A connection that is gone needs no words.
            let Some(outbox) = by_connection.get(&speech.connection) else {
                continue;
            };
            if speech.waits() && self.position > reached {
                self.listeners
                    .push_back((self.position, Arc::clone(outbox)));
            }
            let (dropped, waker) = outbox.hear(speech, self.position);
            all_dropped += dropped;
            self.wakers.extend(waker);
        }
        drop(by_connection);
        if all_dropped > 0 {
            outboxes.dropped.fetch_add(all_dropped, Ordering::Relaxed);
        }
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// Those of `new`, and of what was held, that the other shards may have now.
    pub(super) fn forward(&mut self, new: &mut Vec<Forward>, durable: Position) -> Vec<Forward> {
        self.forwards
            .extend(new.drain(..).map(|forward| match forward.after {
                After::Sync => (self.position, forward),
                After::Nothing => (Position::default(), forward),
            }));
        // In their order, whatever each waits for: messages of one publisher keep theirs.
        let mut free = Vec::new();
        while let Some((_, forward)) = self
            .forwards
            .pop_front_if(|(position, _)| *position <= durable)
        {
            free.push(forward);
        }
        free
    }
}
