//! The speech of a turn: said at once, or held until the log has what it depends on.

use super::outbox::Outbox;
use super::waiting::Waiting;
use crate::engine::{ConnectionId, Input, Speech};
use crate::storage::Position;
use ahash::RandomState;
use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::sync::watch;

/// The outboxes of a shard's connections.
#[derive(Debug)]
pub(super) struct Outboxes {
    by_connection: Mutex<ByConnection>,
    dropped: AtomicU64,
    /// Tells whenever one is closed.
    closed: watch::Sender<()>,
}

type ByConnection = HashMap<ConnectionId, Arc<Outbox>, RandomState>;

impl Outboxes {
    pub(super) fn new() -> Self {
        // The numbers hashed are our own: nobody can choose them to collide.
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        Self {
            by_connection: Mutex::new(HashMap::with_hasher(hasher)),
            dropped: AtomicU64::new(0),
            closed: watch::Sender::new(()),
        }
    }

    pub(super) fn open(&self, connection: ConnectionId, outbox: Arc<Outbox>) {
        self.lock().insert(connection, outbox);
    }

    pub(super) fn close(&self, connection: ConnectionId) {
        self.lock().remove(&connection);
        self.closed.send_replace(());
    }

    /// Resolves when none of these is open any more.
    pub(super) async fn all_gone(&self, connections: &[ConnectionId]) {
        let mut closed = self.closed.subscribe();
        let is_open = |it: &ConnectionId| self.lock().contains_key(it);
        for connection in connections {
            while is_open(connection) && closed.changed().await.is_ok() {}
        }
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
    /// What the latest turn with records depends on.
    position: Position,
    /// Kept for their room.
    wakers: Vec<Waker>,
    listeners: Vec<Arc<Outbox>>,
    /// Those who found no room for QoS 0 since this was last taken.
    full: Vec<Input>,
}

impl Held {
    /// The log has taken records: what waits, waits for these too.
    pub(super) fn wait_for(&mut self, position: Position) {
        self.position = position;
    }

    /// What the latest turn with records depends on.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// What the engine has to hear of those it spoke to.
    pub(super) fn take_full(&mut self) -> Vec<Input> {
        mem::take(&mut self.full)
    }

    /// Hands what is said to those whom it concerns, and sees to it that they are woken when they
    /// may say more.
    pub(super) fn speak(&mut self, new: &mut Vec<Speech>, waiting: &Waiting, outboxes: &Outboxes) {
        let reached = waiting.durable().position();
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
                self.listeners.push(Arc::clone(outbox));
            }
            let connection = speech.connection;
            let (dropped, waker) = outbox.hear(speech, self.position);
            if dropped > 0 {
                self.full.push(Input::Full { connection });
            }
            all_dropped += dropped;
            self.wakers.extend(waker);
        }
        drop(by_connection);
        if all_dropped > 0 {
            outboxes.dropped.fetch_add(all_dropped, Ordering::Relaxed);
        }
        self.wakers.drain(..).for_each(Waker::wake);
        waiting.wake_at(self.position, &mut self.listeners);
    }
}
