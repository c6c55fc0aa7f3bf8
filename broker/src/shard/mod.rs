//! A shard: one engine and one log, run by one thread at a time: decide, persist, speak.
//!
//! Nothing is said before the records it depends on are durable. Whoever brings inputs takes the
//! turn when the shard is free and leaves them for the holder when it is not: a hand-over to a
//! thread of its own would cost more than the decision. So a shard needs no thread, and where its
//! storage needs none and its clock is given, all that it does follows from what it is told.

mod clock;
mod judgement;
mod mailbox;
mod outbox;
mod outgoing;
mod shards;
mod speech;
#[cfg(test)]
mod tests;
mod timer;
mod waiting;

pub(crate) use clock::wall_time;
pub use outbox::{Durable, Outbox, Said, Told};
pub use shards::Shards;
pub(crate) use timer::keep_time;
pub use waiting::Waiting;

use crate::engine::{ConnectionId, Counters, Effects, Engine, Input, Time};
use crate::storage::{Storage, StorageError};
use clock::Clock;
use judgement::Judgements;
use mailbox::Mailbox;
use outgoing::{Other, Outgoing};
use speech::{Held, Outboxes};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::task::{Context, Poll, ready};
use tokio::sync::watch;

/// How many inputs may wait for a turn before connections stop reading.
const MAILBOX_LEN_MAX: usize = 16 * 1024;
/// How many turns one thread takes in a row before the rest goes to a task of its own, so that
/// no connection decides for all the others.
const TURNS_IN_A_ROW_MAX: usize = 8;

/// One engine with its log and its mailbox.
pub struct Shard {
    mailbox: Mailbox,
    outboxes: Outboxes,
    /// What waits for the log.
    waiting: Arc<Waiting>,
    core: Mutex<Core>,
    deadline: watch::Sender<Option<Time>>,
    others: OnceLock<Vec<Other>>,
    judgements: Judgements,
}

/// What only the thread that has the turn may touch.
struct Core {
    engine: Engine,
    storage: Box<dyn Storage>,
    clock: Clock,
    inputs: Vec<Input>,
    effects: Effects,
    held: Held,
    outgoing: Outgoing,
}

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Taken,
    /// Somebody else has it.
    Busy,
    /// The shard has failed, or its log is behind: who sees to that lets it go on.
    Stopped,
}

/// The shard takes no more inputs: its log failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

impl Shard {
    /// A shard that begins with this engine and this log, which tells `waiting` how it gets on.
    pub fn new(engine: Engine, storage: Box<dyn Storage>, waiting: Arc<Waiting>) -> Self {
        let deadline = watch::Sender::new(engine.deadline());
        let core = Core {
            engine,
            storage,
            clock: Clock::default(),
            inputs: Vec::new(),
            effects: Effects::default(),
            held: Held::default(),
            outgoing: Outgoing::default(),
        };
        Self {
            mailbox: Mailbox::new(MAILBOX_LEN_MAX),
            outboxes: Outboxes::new(),
            waiting,
            core: Mutex::new(core),
            deadline,
            others: OnceLock::new(),
            judgements: Judgements::default(),
        }
    }

    /// The same with a clock that asks `read`.
    #[must_use]
    pub fn timed_by(mut self, read: impl FnMut() -> Time + Send + 'static) -> Self {
        let core = self.core.get_mut().unwrap_or_else(PoisonError::into_inner);
        core.clock = Clock::of(read);
        self
    }

    /// Lets the connection be spoken to, from before its first input on.
    pub fn open(&self, connection: ConnectionId, outbox: Arc<Outbox>) {
        self.outboxes.open(connection, outbox);
    }

    /// The connection is gone: nothing more is said to it, and the engine hears so.
    pub fn close(self: &Arc<Self>, connection: ConnectionId) {
        self.outboxes.close(connection);
        self.tell(Input::Lost { connection });
    }

    /// Hands over a batch of inputs, which are decided before this returns or by whoever has the
    /// turn. Pending while the mailbox is full.
    ///
    /// # Errors
    /// If the shard has failed.
    pub fn poll_hand_over(
        self: &Arc<Self>,
        inputs: &mut Vec<Input>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failed>> {
        if self.waiting.is_failed() {
            return Poll::Ready(Err(Failed));
        }
        ready!(self.mailbox.poll_leave(inputs, cx));
        self.take_turns();
        Poll::Ready(Ok(()))
    }

    /// Hands over one input of our own, whatever waits.
    pub fn tell(self: &Arc<Self>, input: Input) {
        self.mailbox.leave(input);
        self.take_turns();
    }

    /// The error that ended this shard, once there is one.
    pub fn failure(&self) -> watch::Receiver<Option<Arc<StorageError>>> {
        self.waiting.failure()
    }

    /// What the engine has counted so far. Waits for the end of a turn.
    pub fn counters(&self) -> Counters {
        self.look(|engine| *engine.counters())
    }

    /// Looks into the engine. Waits for the end of a turn.
    pub fn look<T>(&self, look: impl FnOnce(&Engine) -> T) -> T {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        look(&core.engine)
    }

    /// When [`Input::Tick`] is due, if nothing else happens.
    pub fn deadline(&self) -> Option<Time> {
        *self.deadline.borrow()
    }

    /// How far the log is durable: what is said waits for it.
    pub fn durable(&self) -> &Durable {
        self.waiting.durable()
    }

    /// How many QoS 0 messages found no room in an outbox.
    pub fn dropped_at_outboxes(&self) -> u64 {
        self.outboxes.dropped() + self.counters().dropped_outbox_full
    }

    /// Takes turns while something waits and the shard is free.
    ///
    /// Whoever finds it taken may go: the holder looks into the mailbox once more after letting
    /// go of the core.
    fn take_turns(self: &Arc<Self>) {
        for _ in 0..TURNS_IN_A_ROW_MAX {
            if self.mailbox.is_empty() || self.take_turn() != Turn::Taken {
                return;
            }
        }
        let shard = Arc::clone(self);
        tokio::spawn(async move { shard.take_turns() });
    }

    /// Goes on wherever the log was waited for, for as long as the shard lives.
    pub async fn follow(self: Arc<Self>) {
        loop {
            self.waiting.turn_wanted().await;
            for input in self.waiting.take_inputs() {
                self.mailbox.leave(input);
            }
            // Whoever has the turn may have looked at the log too early.
            while self.take_turn() == Turn::Busy {
                tokio::task::yield_now().await;
            }
            self.take_turns();
        }
    }

    /// One turn, if it can be taken.
    fn take_turn(&self) -> Turn {
        let mut core = match self.core.try_lock() {
            Ok(core) => core,
            // A turn that panicked leaves an engine that nobody can trust.
            Err(TryLockError::Poisoned(_)) => {
                self.waiting.fail(StorageError::TurnPanicked);
                return Turn::Stopped;
            }
            Err(TryLockError::WouldBlock) => return Turn::Busy,
        };
        if self.waiting.is_failed() || self.is_behind(&core) {
            return Turn::Stopped;
        }
        let outcome = core.turn(self);
        let deadline = core.engine.deadline();
        drop(core);
        self.deadline.send_if_modified(|known| {
            let changed = *known != deadline;
            *known = deadline;
            changed
        });
        if let Err(error) = outcome {
            self.waiting.fail(error);
        }
        Turn::Taken
    }

    /// Takes what another shard has for this one, in a turn of its own: two that wait for each
    /// other's turns would not come to an end.
    fn leave_all(&self, inputs: Vec<Input>) {
        if !inputs.is_empty() {
            self.mailbox.leave_all(inputs);
            self.waiting.ask_turn();
        }
    }

    /// Whether the log has so much to write that the next turn has to wait.
    fn is_behind(&self, core: &Core) -> bool {
        if !core.storage.is_behind() {
            return false;
        }
        self.waiting.want_turn();
        // There may have been progress before that was said.
        core.storage.is_behind()
    }
}

impl Core {
    /// Decides all that waits, persists what must last, and speaks.
    fn turn(&mut self, shard: &Shard) -> Result<(), StorageError> {
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
            forwards_taken,
            judged,
            loads,
        } = &mut self.effects;
        if !records.is_empty() {
            self.held.wait_for(self.storage.append(records)?);
        }
        if !loads.is_empty() {
            self.storage.load(loads);
        }
        let waiting = &shard.waiting;
        waiting.reach(self.storage.durable());
        self.held.speak(speech, waiting, &shard.outboxes);
        shard.mailbox.leave_all(self.held.take_full());
        judged.drain(..).for_each(|it| shard.judgements.tell(it));
        if let Some(others) = shard.others.get() {
            let position = self.held.position();
            self.outgoing.add(forwards, forwards_taken, position);
            self.outgoing.hand_over(waiting, others);
        }
        Ok(())
    }
}
