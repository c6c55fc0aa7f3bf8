//! The outbox: what the shard has said to one connection and its socket has not yet taken.
//!
//! Bounded: QoS 1 and 2 by the in-flight window of the session, answers by reading no more from a
//! peer that does not take them, and QoS 0 here, by bytes: what does not fit is dropped and
//! counted.

use crate::engine::{CloseReason, Greeting, Speech};
use crate::storage::Position;
use bytes::BytesMut;
use protocol::wire;
use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Packets said in several turns are joined up to this many bytes, a full TLS record.
const JOINED_LEN_MAX: usize = 16 * 1024;

/// Whether a connection has been told something that concerns its reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing of the sort.
    Nothing,
    /// There is a rest to be taken.
    ToRest,
}

/// What waits for one connection. The shard fills it, the connection's task empties it.
#[derive(Debug)]
pub struct Outbox {
    /// As many bytes may wait before QoS 0 is dropped.
    bytes_max: usize,
    /// As many bytes may wait before the connection stops listening.
    crowd: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    chunks: VecDeque<Chunk>,
    /// The bytes in `chunks` and in the one that was taken last.
    len: usize,
    taken_len: usize,
    greeting: Option<Greeting>,
    asks_drained: bool,
    rest: Option<Duration>,
    close: Option<CloseReason>,
    waker: Option<Waker>,
    /// The socket takes nothing: only that it is to be closed concerns the connection's task.
    is_blocked: bool,
}

/// Whole packets.
#[derive(Debug)]
struct Chunk {
    packets: BytesMut,
    /// They may be sent once the log has come to here.
    after: Position,
}

/// What a connection is to do next.
#[derive(Debug)]
pub enum Said {
    /// Write these packets, which begin with a CONNACK where there is a greeting.
    Packets(BytesMut, Option<Greeting>),
    /// All is written: tell the engine that it is drained.
    AskDrained,
    /// All is written: close.
    Close(CloseReason),
}

/// How far a log is durable, as all who wait for it see it.
#[derive(Debug, Default)]
pub struct Durable(AtomicU64);

impl Durable {
    pub(crate) fn reach(&self, position: Position) {
        self.0.fetch_max(position.0, Ordering::SeqCst);
    }

    /// Everything up to here is durable.
    pub fn position(&self) -> Position {
        Position(self.0.load(Ordering::SeqCst))
    }
}

impl Outbox {
    /// An empty outbox that holds about `bytes_max` bytes before it drops QoS 0, and as many and
    /// `window_bytes_max` more before it is crowded.
    pub fn new(bytes_max: usize, window_bytes_max: usize) -> Self {
        Self {
            bytes_max,
            crowd: bytes_max.saturating_add(window_bytes_max),
            inner: Mutex::default(),
        }
    }

    /// Takes what is to be said; what of it waits, waits for `after`. How many QoS 0 messages
    /// found no room, and whom to wake.
    pub(super) fn hear(&self, mut speech: Speech, after: Position) -> (u64, Option<Waker>) {
        let mut inner = self.lock();
        let mut dropped = 0;
        let full = inner.len + speech.packets.len() > self.bytes_max;
        if full && !speech.is_needed {
            let room = self.bytes_max.saturating_sub(inner.len);
            dropped = speech.drop_qos0(room);
        }
        if speech.greeting.is_some() {
            inner.greeting = speech.greeting;
        }
        inner.asks_drained |= speech.asks_drained;
        inner.rest = speech.rest.or(inner.rest);
        if let Some(reason) = speech.close.take() {
            inner.close = Some(reason);
        }
        if speech.waits() {
            let free = speech.packets.split_to(speech.free_len);
            inner.push(free, Position::default());
            inner.push(speech.packets, after);
        } else {
            inner.push(speech.packets, Position::default());
        }
        let waker = inner.take_waker();
        (dropped, waker)
    }

    /// Takes what comes next. Pending while there is nothing that may be said.
    pub fn poll_next(&self, durable: &Durable, cx: &mut Context<'_>) -> Poll<Said> {
        let mut inner = self.lock();
        inner.is_blocked = false;
        inner.len -= mem::take(&mut inner.taken_len);
        if let Some(said) = inner.next(durable.position()) {
            return Poll::Ready(said);
        }
        inner.wait(cx);
        Poll::Pending
    }

    /// Why the connection is to be closed, once that is said. For a connection whose socket takes
    /// nothing, and that therefore asks for nothing else.
    pub fn poll_close(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let mut inner = self.lock();
        if let Some(reason) = &inner.close {
            return Poll::Ready(reason.clone());
        }
        inner.is_blocked = true;
        inner.wait(cx);
        Poll::Pending
    }

    /// How long the connection is not to be heard, once that is said of its last batch.
    pub fn take_rest(&self) -> Option<Duration> {
        self.lock().rest.take()
    }

    /// Whether [`Self::take_rest`] has something.
    pub fn has_rest(&self) -> bool {
        self.lock().rest.is_some()
    }

    /// The connection's task is about to look by itself: it need not be woken. Whether it has been
    /// told to rest.
    pub fn look_soon(&self) -> Told {
        let mut inner = self.lock();
        inner.waker = None;
        match inner.rest {
            Some(_) => Told::ToRest,
            None => Told::Nothing,
        }
    }

    /// Wakes the connection's task, if it waits.
    pub(super) fn wake(&self) {
        let waker = self.lock().take_waker();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether a peer that does not read has let so much gather that we read no more from it.
    pub fn is_crowded(&self) -> bool {
        self.lock().len > self.crowd
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn wait(&mut self, cx: &Context<'_>) {
        let known = self.waker.as_ref();
        if !known.is_some_and(|it| it.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    fn take_waker(&mut self) -> Option<Waker> {
        if self.is_blocked && self.close.is_none() {
            return None;
        }
        self.waker.take()
    }

    fn push(&mut self, packets: BytesMut, after: Position) {
        if packets.is_empty() {
            return;
        }
        self.len += packets.len();
        match self.chunks.back_mut() {
            Some(last)
                if last.after >= after && last.packets.len() + packets.len() <= JOINED_LEN_MAX =>
            {
                last.packets.extend_from_slice(&packets);
            }
            _ => self.chunks.push_back(Chunk { packets, after }),
        }
    }

    fn next(&mut self, durable: Position) -> Option<Said> {
        if let Some(chunk) = self.chunks.pop_front_if(|chunk| chunk.after <= durable) {
            self.taken_len = chunk.packets.len();
            return Some(Said::Packets(chunk.packets, self.greeting.take()));
        }
        if !self.chunks.is_empty() {
            return None;
        }
        if mem::take(&mut self.asks_drained) {
            return Some(Said::AskDrained);
        }
        self.close.take().map(Said::Close)
    }
}

impl Speech {
    /// Drops the QoS 0 messages for which `room` is too small. How many.
    fn drop_qos0(&mut self, room: usize) -> u64 {
        let said = mem::take(&mut self.packets);
        let free_len = mem::replace(&mut self.free_len, usize::MAX);
        let (mut dropped, mut begin) = (0, 0);
        for packet in wire::packets(&said) {
            if begin == free_len {
                self.free_len = self.packets.len();
            }
            begin += packet.len();
            if wire::is_publish_qos0(packet) && self.packets.len() + packet.len() > room {
                dropped += 1;
            } else {
                self.packets.extend_from_slice(packet);
            }
        }
        dropped
    }
}
