//! The speech of a turn: said at once, or held until the log has what it depends on.
//!
//! Speech of one connection keeps its order: once something is held, all behind it is held too.

use super::outbox::Outbox;
use crate::engine::{After, ConnectionId, Forward, Speech};
use crate::storage::Position;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The outboxes of a shard's connections.
#[derive(Debug, Default)]
pub(super) struct Outboxes {
    by_connection: Mutex<HashMap<ConnectionId, Arc<Outbox>>>,
    dropped: AtomicU64,
}

impl Outboxes {
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

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, Arc<Outbox>>> {
        self.by_connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits for the log. Touched only by whoever has the turn.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// In the order it was decided; positions never fall.
    speech: VecDeque<(Position, Speech)>,
    /// How many of them each connection has.
    by_connection: HashMap<ConnectionId, usize>,
    /// What goes to the other shards, likewise.
    forwards: VecDeque<(Position, Forward)>,
    /// What the latest turn with records depends on.
    position: Position,
}

impl Held {
    /// The log has taken records: what waits, waits for these too.
    pub(super) fn wait_for(&mut self, position: Position) {
        self.position = position;
    }

    /// Says what may be said, holds the rest, and wakes whom it concerns.
    pub(super) fn speak(&mut self, new: &mut Vec<Speech>, durable: Position, outboxes: &Outboxes) {
        let mut round = Round {
            outboxes: outboxes.lock(),
            spoken_to: Vec::new(),
            dropped: 0,
        };
        while let Some((_, speech)) = self
            .speech
            .pop_front_if(|(position, _)| *position <= durable)
        {
            self.release(speech.connection);
            round.say(speech);
        }
        for speech in new.drain(..) {
            let waits = self.waits(speech.after, durable);
            if waits || self.by_connection.contains_key(&speech.connection) {
                *self.by_connection.entry(speech.connection).or_default() += 1;
                self.speech.push_back((self.position, speech));
            } else {
                round.say(speech);
            }
        }
        let Round {
            outboxes: lock,
            spoken_to,
            dropped,
        } = round;
        drop(lock);
        outboxes.dropped.fetch_add(dropped, Ordering::Relaxed);
        for outbox in spoken_to {
            outbox.wake();
        }
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

    fn waits(&self, after: After, durable: Position) -> bool {
        after == After::Sync && self.position > durable
    }

    fn release(&mut self, connection: ConnectionId) {
        if let Some(count) = self.by_connection.get_mut(&connection) {
            *count -= 1;
            if *count == 0 {
                self.by_connection.remove(&connection);
            }
        }
    }
}

/// One round of speaking, under the lock of the outboxes.
struct Round<'a> {
    outboxes: MutexGuard<'a, HashMap<ConnectionId, Arc<Outbox>>>,
    spoken_to: Vec<Arc<Outbox>>,
    dropped: u64,
}

impl Round<'_> {
    fn say(&mut self, speech: Speech) {
        // A connection that is gone needs no words.
        let Some(outbox) = self.outboxes.get(&speech.connection) else {
            return;
        };
        if outbox.say(speech.outgoing).is_err() {
            self.dropped += 1;
        }
        if !self
            .spoken_to
            .last()
            .is_some_and(|last| Arc::ptr_eq(last, outbox))
        {
            self.spoken_to.push(Arc::clone(outbox));
        }
    }
}
