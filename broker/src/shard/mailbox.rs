//! The mailbox: what happened and nobody has decided yet.
//!
//! Bounded: a connection that cannot leave its inputs stops reading its socket.

use crate::engine::Input;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Inputs that wait for a turn.
#[derive(Debug)]
pub(super) struct Mailbox {
    len_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    inputs: Vec<Input>,
    /// How many packets they hold, and how many they are besides.
    len: usize,
    waiting_for_room: Vec<Waker>,
}

impl Mailbox {
    /// An empty mailbox that takes a batch as long as fewer than `len_max` packets wait.
    pub(super) fn new(len_max: usize) -> Self {
        Self {
            len_max,
            inner: Mutex::default(),
        }
    }

    /// Leaves `inputs`, all or none. Pending while the mailbox is full.
    pub(super) fn poll_leave(&self, inputs: &mut Vec<Input>, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.len >= self.len_max {
            inner.waiting_for_room.push(cx.waker().clone());
            return Poll::Pending;
        }
        inner.len += inputs.iter().map(weight).sum::<usize>();
        inner.inputs.append(inputs);
        Poll::Ready(())
    }

    /// Leaves one input whether there is room or not: for our own few, which cannot wait.
    pub(super) fn leave(&self, input: Input) {
        let mut inner = self.lock();
        inner.len += weight(&input);
        inner.inputs.push(input);
    }

    /// The same with all of several.
    pub(super) fn leave_all(&self, mut inputs: Vec<Input>) {
        if inputs.is_empty() {
            return;
        }
        let mut inner = self.lock();
        inner.len += inputs.iter().map(weight).sum::<usize>();
        inner.inputs.append(&mut inputs);
    }

    /// Takes all that waits, and lets those who waited for room try again. `into` must be empty.
    pub(super) fn take(&self, into: &mut Vec<Input>) {
        let waiting = {
            let mut inner = self.lock();
            mem::swap(&mut inner.inputs, into);
            inner.len = 0;
            mem::take(&mut inner.waiting_for_room)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().inputs.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn weight(input: &Input) -> usize {
    match input {
        Input::Packets { packets, .. } => packets.len(),
        _ => 1,
    }
}
