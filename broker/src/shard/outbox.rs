//! The outbox: what the shard has said to one connection and its socket has not yet taken.
//!
//! Bounded: QoS 1 and 2 by the in-flight window of the session, acknowledgements by the receive
//! maximum, and QoS 0 here, by bytes: what does not fit is dropped and counted.

use crate::engine::{Delivery, Outgoing};
use protocol::packet::QoS;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// As many words may wait before the connection stops listening: answers to what it hears.
const CROWD: usize = 16 * 1024;
/// What a delivery takes besides its payload and topic.
const DELIVERY_LEN: usize = 64;

/// What waits for one connection. The shard fills it, the connection's task empties it.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes_max: usize,
    /// The cost of what is said and not yet encoded for the socket, in bytes.
    bytes: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    said: Vec<Outgoing>,
    waker: Option<Waker>,
}

impl Outbox {
    /// An empty outbox that holds about `bytes_max` bytes before it drops QoS 0.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: AtomicUsize::new(0),
            inner: Mutex::default(),
        }
    }

    /// Adds to what is to be said; the connection's task is woken by [`Self::wake`].
    ///
    /// # Errors
    /// [`Dropped`] if it was a QoS 0 message and there was no room for it.
    pub(crate) fn say(&self, outgoing: Outgoing) -> Result<(), Dropped> {
        if let Outgoing::Deliver(delivery) = &outgoing {
            let size = cost(delivery);
            let waiting = self.bytes.load(Ordering::Relaxed);
            if delivery.qos == QoS::AtMostOnce && waiting.saturating_add(size) > self.bytes_max {
                return Err(Dropped);
            }
            self.bytes.fetch_add(size, Ordering::Relaxed);
        }
        self.lock().said.push(outgoing);
        Ok(())
    }

    /// Wakes the connection's task, if it waits.
    pub(crate) fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes all that was said. Pending while there is nothing; `into` must be empty.
    pub(crate) fn poll_take(&self, into: &mut Vec<Outgoing>, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.said.is_empty() {
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        mem::swap(&mut inner.said, into);
        Poll::Ready(())
    }

    /// Tells that this delivery no longer waits.
    pub(crate) fn encoded(&self, delivery: &Delivery) {
        self.bytes.fetch_sub(cost(delivery), Ordering::Relaxed);
    }

    /// Whether a peer that does not read has let so much gather that we read no more from it.
    pub(crate) fn is_crowded(&self) -> bool {
        self.lock().said.len() > CROWD
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(delivery: &Delivery) -> usize {
    DELIVERY_LEN + delivery.message.topic().as_str().len() + delivery.message.payload().len()
}

/// There was no room for a QoS 0 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped;
