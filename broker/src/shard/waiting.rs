//! What waits for the log, served by the log's own thread.
//!
//! Whoever has been promised to be told at a position is told once it is durable: who comes late
//! finds it reached, under the same lock.

use super::outbox::{Durable, Outbox};
use super::{Input, StorageError};
use crate::engine::Room;
use crate::storage::{Position, Progress};
use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// Stands between the threads of a log and those that take turns.
#[derive(Debug)]
pub struct Waiting {
    durable: Durable,
    /// The connections that have something to hear at a position, in the order of these.
    listeners: Mutex<VecDeque<(Position, Arc<Outbox>)>>,
    /// What storage has to say to the engine.
    inputs: Mutex<Vec<Input>>,
    /// Whether a turn is to be taken once there is progress.
    wants_turn: AtomicBool,
    /// Told when a turn is to be taken, whether or not something waits in the mailbox.
    turn: Notify,
    failed: watch::Sender<Option<Arc<StorageError>>>,
}

impl Default for Waiting {
    /// Nothing waits, and nothing is durable yet.
    fn default() -> Self {
        Self {
            durable: Durable::default(),
            listeners: Mutex::default(),
            inputs: Mutex::default(),
            wants_turn: AtomicBool::new(false),
            turn: Notify::new(),
            failed: watch::Sender::new(None),
        }
    }
}

impl Waiting {
    /// Hears what storage has to tell, on a thread of its own.
    pub fn hear(&self, progress: Progress) {
        match progress {
            Progress::Durable(position) => {
                self.reach(position);
                if self.wants_turn.swap(false, Ordering::SeqCst) {
                    self.turn.notify_one();
                }
            }
            Progress::Failed(error) => self.fail(StorageError::Log(error)),
            Progress::Loaded { session, messages } => {
                self.tell(Input::Loaded { session, messages });
            }
            Progress::Room(room) => self.tell_room(room),
        }
    }

    /// How far the log is durable.
    pub(super) fn durable(&self) -> &Durable {
        &self.durable
    }

    /// The log is durable up to here: those who waited for it are woken.
    pub(super) fn reach(&self, position: Position) {
        self.durable.reach(position);
        let mut listeners = lock(&self.listeners);
        while let Some((_, outbox)) = listeners.pop_front_if(|(at, _)| *at <= position) {
            outbox.wake();
        }
    }

    /// Wakes `outboxes` when the log is durable up to here.
    pub(super) fn wake_at(&self, position: Position, outboxes: &mut Vec<Arc<Outbox>>) {
        if outboxes.is_empty() {
            return;
        }
        let mut listeners = lock(&self.listeners);
        if self.durable.position() < position {
            listeners.extend(outboxes.drain(..).map(|outbox| (position, outbox)));
            return;
        }
        drop(listeners);
        outboxes.drain(..).for_each(|outbox| outbox.wake());
    }

    /// A turn is to be taken once there is progress. Who finds that there was some while this was
    /// said need not wait.
    pub(super) fn want_turn(&self) {
        self.wants_turn.store(true, Ordering::SeqCst);
    }

    /// A turn is to be taken: something was left in the mailbox.
    pub(super) fn ask_turn(&self) {
        self.turn.notify_one();
    }

    /// Resolves when a turn is to be taken.
    pub(super) async fn turn_wanted(&self) {
        self.turn.notified().await;
    }

    /// Takes what storage has said to the engine.
    pub(super) fn take_inputs(&self) -> Vec<Input> {
        mem::take(&mut *lock(&self.inputs))
    }

    /// The shard is at its end.
    pub(super) fn fail(&self, error: StorageError) {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the log failed: stopping"
        );
        self.failed.send_replace(Some(Arc::new(error)));
    }

    /// The error that ended the shard, once there is one.
    pub(super) fn failure(&self) -> watch::Receiver<Option<Arc<StorageError>>> {
        self.failed.subscribe()
    }

    pub(super) fn is_failed(&self) -> bool {
        self.failed.borrow().is_some()
    }

    fn tell_room(&self, room: Room) {
        match room {
            Room::Full => {
                tracing::warn!("the disk is nearly full: what would have to be stored is refused");
            }
            Room::Exhausted => {
                tracing::warn!("the reserve is nearly used up: no session is made that lasts");
            }
            Room::Enough => tracing::info!("there is room on the disk again"),
        }
        self.tell(Input::Storage(room));
    }

    fn tell(&self, input: Input) {
        lock(&self.inputs).push(input);
        self.turn.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
