//! The brake of a connection: whether its client is heard, where publishing has a rate.
//!
//! What was handed over is looked at before more is read, so that a client that publishes too fast
//! finds its own socket full, and nothing else gathers anywhere.

use crate::shard::Outbox;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Who publishes at its rate, or above it, is heard so often in a second: what it says comes to
/// those who hear it in small batches, and nobody else waits behind a large one.
const BATCHES_PER_SECOND: usize = 20;

/// Whether a client is heard.
#[derive(Debug)]
pub(super) enum Brake {
    /// Publishing has no rate.
    None,
    /// It is heard.
    Off,
    /// The engine has yet to say what it thinks of the last batch.
    Waiting,
    /// Not for a while.
    On(Pin<Box<Sleep>>),
}

/// Whether the client was braked until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Released {
    Now,
    Before,
}

impl Brake {
    /// How many packets may be handed over at once, of a client that may publish so many messages
    /// and bytes in a second; 0 is any number.
    pub(super) fn of(messages: u32, bytes: u64) -> (Self, usize) {
        if messages == 0 && bytes == 0 {
            return (Self::None, usize::MAX);
        }
        let in_a_second = usize::try_from(messages).unwrap_or(usize::MAX);
        let batch = match in_a_second {
            0 => usize::MAX,
            in_a_second => in_a_second.div_ceil(BATCHES_PER_SECOND),
        };
        (Self::Off, batch)
    }

    /// Publishing has a rate since the connection was opened.
    pub(super) fn fit(&mut self) {
        if matches!(self, Self::None) {
            *self = Self::Off;
        }
    }

    /// A batch of packets was handed over.
    pub(super) fn handed_over(&mut self) {
        match self {
            Self::None => {}
            Self::Off | Self::Waiting | Self::On(_) => *self = Self::Waiting,
        }
    }

    /// Ready when the client may be heard. While that waits for the engine, the outbox wakes.
    pub(super) fn poll_release(&mut self, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<Released> {
        loop {
            match self {
                Self::None | Self::Off => return Poll::Ready(Released::Before),
                Self::Waiting => match outbox.take_rest() {
                    None => return Poll::Pending,
                    Some(Duration::ZERO) => *self = Self::Off,
                    Some(rest) => *self = Self::On(Box::pin(sleep(rest))),
                },
                Self::On(alarm) => {
                    ready!(alarm.as_mut().poll(cx));
                    *self = Self::Off;
                    return Poll::Ready(Released::Now);
                }
            }
        }
    }

    /// Whether the client is not heard, and its silence therefore none of its own.
    pub(super) fn is_on(&self) -> bool {
        match self {
            Self::None | Self::Off => false,
            Self::Waiting | Self::On(_) => true,
        }
    }

    /// Whether it waits for what the engine has said meanwhile.
    pub(super) fn is_answered(&self, outbox: &Outbox) -> bool {
        matches!(self, Self::Waiting) && outbox.has_rest()
    }
}
