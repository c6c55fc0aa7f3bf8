//! A shard: one engine and one log, run by one thread at a time: decide, persist, speak.
//!
//! Nothing is said before the records it depends on are durable. Whoever brings inputs takes the
//! turn when the shard is free and leaves them for the holder when it is not: a hand-over to a
//! thread of its own would cost more than the decision.

mod clock;
mod mailbox;
mod outbox;
mod shards;
mod speech;
#[cfg(test)]
mod tests;
mod timer;

pub(crate) use outbox::{Durable, Outbox, Said};
pub(crate) use shards::Shards;
pub(crate) use timer::keep_time;

use crate::engine::{ConnectionId, Counters, Effects, Engine, Forward, Input, Time};
use crate::storage::{Storage, StorageError};
use clock::Clock;
use mailbox::Mailbox;
use speech::{Held, Outboxes};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, ready};
use tokio::sync::watch;

/// How many inputs may wait for a turn before connections stop reading.
const MAILBOX_LEN_MAX: usize = 16 * 1024;
/// How many turns one thread takes in a row before the rest goes to a task of its own, so that
/// no connection decides for all the others.
const TURNS_IN_A_ROW_MAX: usize = 8;

/// One engine with its log and its mailbox.
pub(crate) struct Shard {
    mailbox: Mailbox,
    outboxes: Outboxes,
    durable: Durable,
    core: Mutex<Core>,
    deadline: watch::Sender<Option<Time>>,
    failed: watch::Sender<Option<Arc<StorageError>>>,
    others: OnceLock<Vec<Weak<Self>>>,
}

/// What only the thread that has the turn may touch.
struct Core {
    engine: Engine,
    storage: Box<dyn Storage>,
    clock: Clock,
    inputs: Vec<Input>,
    effects: Effects,
    held: Held,
}

/// The shard takes no more inputs: its log failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

impl Shard {
    /// A shard that begins with this engine and this log.
    pub(crate) fn new(engine: Engine, storage: Box<dyn Storage>) -> Self {
        let core = Core {
            engine,
            storage,
            clock: Clock::default(),
            inputs: Vec::new(),
            effects: Effects::default(),
            held: Held::default(),
        };
        Self {
            mailbox: Mailbox::new(MAILBOX_LEN_MAX),
            outboxes: Outboxes::new(),
            durable: Durable::default(),
            core: Mutex::new(core),
            deadline: watch::Sender::new(None),
            failed: watch::Sender::new(None),
            others: OnceLock::new(),
        }
    }

    /// Lets the connection be spoken to, from before its first input on.
    pub(crate) fn open(&self, connection: ConnectionId, outbox: Arc<Outbox>) {
        self.outboxes.open(connection, outbox);
    }

    /// The connection is gone: nothing more is said to it, and the engine hears so.
    pub(crate) fn close(self: &Arc<Self>, connection: ConnectionId) {
        self.outboxes.close(connection);
        self.tell(Input::Lost { connection });
    }

    /// Hands over a batch of inputs, which are decided before this returns or by whoever has the
    /// turn. Pending while the mailbox is full.
    pub(crate) fn poll_hand_over(
        self: &Arc<Self>,
        inputs: &mut Vec<Input>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failed>> {
        if self.failed.borrow().is_some() {
            return Poll::Ready(Err(Failed));
        }
        ready!(self.mailbox.poll_leave(inputs, cx));
        self.take_turns();
        Poll::Ready(Ok(()))
    }

    /// Hands over one input of our own, whatever waits.
    pub(crate) fn tell(self: &Arc<Self>, input: Input) {
        self.mailbox.leave(input);
        self.take_turns();
    }

    /// The error that ended this shard, once there is one.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<Arc<StorageError>>> {
        self.failed.subscribe()
    }

    /// What the engine has counted so far. Waits for the end of a turn.
    pub(crate) fn counters(&self) -> Counters {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        *core.engine.counters()
    }

    /// How far the log is durable: what is said waits for it.
    pub(crate) fn durable(&self) -> &Durable {
        &self.durable
    }

    /// How many QoS 0 messages found no room in an outbox.
    pub(crate) fn dropped_at_outboxes(&self) -> u64 {
        self.outboxes.dropped()
    }

    /// Takes turns while something waits and the shard is free.
    ///
    /// Whoever finds it taken may go: the holder looks into the mailbox once more after letting
    /// go of the core.
    fn take_turns(self: &Arc<Self>) {
        for _ in 0..TURNS_IN_A_ROW_MAX {
            if self.mailbox.is_empty() || !self.take_turn() {
                return;
            }
        }
        let shard = Arc::clone(self);
        tokio::spawn(async move { shard.take_turns() });
    }

    /// One turn. False if the shard is taken or failed.
    fn take_turn(&self) -> bool {
        let mut core = match self.core.try_lock() {
            Ok(core) => core,
            // A turn that panicked leaves an engine that nobody can trust.
            Err(TryLockError::Poisoned(_)) => {
                self.fail(StorageError::TurnPanicked);
                return false;
            }
            Err(TryLockError::WouldBlock) => return false,
        };
        if self.failed.borrow().is_some() {
            return false;
        }
        let outcome = core.turn(self);
        let deadline = core.engine.deadline();
        drop(core);
        self.deadline.send_if_modified(|known| {
            let changed = *known != deadline;
            *known = deadline;
            changed
        });
        let forwards = outcome.map_err(|error| self.fail(error));
        forwards.map(|forwards| self.forward(&forwards)).is_ok()
    }

    fn forward(&self, forwards: &[Forward]) {
        if forwards.is_empty() {
            return;
        }
        let others = self.others.get().into_iter().flatten();
        for other in others.filter_map(Weak::upgrade) {
            for forward in forwards {
                other.mailbox.leave(Input::Forward(forward.clone()));
            }
            other.take_turns();
        }
    }

    fn fail(&self, error: StorageError) {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the log failed: stopping"
        );
        self.failed.send_replace(Some(Arc::new(error)));
    }
}

impl Core {
    /// Decides all that waits, persists what must last, and speaks.
    fn turn(&mut self, shard: &Shard) -> Result<Vec<Forward>, StorageError> {
        shard.mailbox.take(&mut self.inputs);
        let now = self.clock.now();
        for input in self.inputs.drain(..) {
            self.engine.handle(now, input);
        }
        self.engine.take_effects(&mut self.effects);
        let Effects {
            records,
            speech,
            forwards,
            loads: _,
        } = &mut self.effects;
        if !records.is_empty() {
            self.held.wait_for(self.storage.append(records)?);
        }
        shard.durable.reach(self.storage.durable());
        self.held.speak(speech, &shard.durable, &shard.outboxes);
        Ok(self.held.forward(forwards, shard.durable.position()))
    }
}
