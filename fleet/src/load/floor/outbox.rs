//! What is on its way to one subscriber: chunks of whole frames, taken all at once.
//!
//! It has an end. A load that is paced never comes near it.

use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// No more than this waits for one subscriber.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// The frames that wait for one subscriber.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    chunks: Vec<bytes::Bytes>,
    len: usize,
    overflowed: bool,
}

/// More was sent than a subscriber took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overflowed;

impl Outbox {
    /// Adds a chunk, and wakes the subscriber's task if it had nothing to do.
    pub(super) fn push(&self, chunk: bytes::Bytes) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = waiting.chunks.is_empty();
        waiting.len += chunk.len();
        if waiting.len > BYTES_MAX {
            waiting.overflowed = true;
        } else {
            waiting.chunks.push(chunk);
        }
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Moves all chunks to the end of `out`.
    pub(super) fn take(&self, out: &mut Vec<u8>) -> Result<(), Overflowed> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let chunks = std::mem::take(&mut waiting.chunks);
        waiting.len = 0;
        let overflowed = waiting.overflowed;
        drop(waiting);
        for chunk in chunks {
            out.extend_from_slice(&chunk);
        }
        if overflowed { Err(Overflowed) } else { Ok(()) }
    }

    /// Ready when chunks were added since this was last ready.
    pub(super) fn filled(&self) -> Notified<'_> {
        self.filled.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[tokio::test]
    async fn chunks_come_out_in_order_and_once() {
        let outbox = Outbox::default();
        outbox.push(Bytes::from_static(b"ab"));
        outbox.push(Bytes::from_static(b"c"));
        outbox.filled().await;
        let mut out = vec![b'-'];
        outbox.take(&mut out).unwrap();
        outbox.take(&mut out).unwrap();
        assert_eq!(out, b"-abc");
    }

    #[test]
    fn an_outbox_that_nobody_empties_overflows() {
        let outbox = Outbox::default();
        let chunk = Bytes::from(vec![0; 1024 * 1024]);
        for _ in 0..64 {
            outbox.push(chunk.clone());
        }
        outbox.push(Bytes::from_static(b"x"));
        assert!(outbox.take(&mut Vec::new()).is_err());
    }
}
