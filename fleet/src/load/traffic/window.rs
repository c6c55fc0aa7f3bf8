//! How much a publisher may have on its way.
//!
//! What is on its way is bounded from the publisher to the last subscriber, not only up to the
//! broker: a broker that drops where it is flooded is measured by what it can carry, and nothing
//! needs to be lost.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// A window moves on in this many steps, so that subscribers seldom touch what they share.
const STEPS: u64 = 4;

/// What one publisher may send.
#[derive(Debug)]
pub(crate) struct Window {
    limit: AtomicU64,
    raised: Notify,
    step: u64,
    receivers: u32,
    /// For each step under way, how many receivers have passed it.
    passed: Box<[AtomicU32]>,
}

impl Window {
    /// At most `size` messages that not all of `receivers` have.
    pub(crate) fn closed(size: u64, receivers: u32) -> Self {
        let size = size.max(1);
        let step = (size / STEPS).max(1);
        let steps = (0..size / step + 2).map(|_| AtomicU32::new(0)).collect();
        Self {
            limit: size.into(),
            raised: Notify::new(),
            step,
            receivers,
            passed: steps,
        }
    }

    /// As many as are [allowed](Self::allow), whatever becomes of them.
    pub(crate) fn open() -> Self {
        Self {
            limit: 0.into(),
            ..Self::closed(u64::MAX, 1)
        }
    }

    /// How many messages may be sent in all.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Acquire)
    }

    /// How many messages make a step.
    pub(crate) fn step(&self) -> u64 {
        self.step
    }

    /// One receiver has step `index` and everything before it. Each receiver passes every step
    /// once, in order.
    pub(crate) fn pass(&self, index: u64) {
        let slot = usize::try_from(index).unwrap_or(0) % self.passed.len();
        let Some(slot) = self.passed.get(slot) else {
            return;
        };
        if slot.fetch_add(1, Ordering::AcqRel) + 1 == self.receivers {
            slot.store(0, Ordering::Release);
            self.allow(self.step);
        }
    }

    /// Allows `more` messages.
    pub(crate) fn allow(&self, more: u64) {
        self.limit.fetch_add(more, Ordering::AcqRel);
        self.wake();
    }

    /// Lets the publisher look again.
    pub(crate) fn wake(&self) {
        self.raised.notify_one();
    }

    /// Ready when the limit was raised since this was last ready.
    pub(crate) fn raised(&self) -> Notified<'_> {
        self.raised.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_moves_when_the_last_receiver_has_passed_a_step() {
        let window = Window::closed(8, 2);
        assert_eq!((window.limit(), window.step()), (8, 2));
        window.pass(0);
        window.pass(1);
        assert_eq!(window.limit(), 8);
        window.pass(0);
        assert_eq!(window.limit(), 10);
        for index in 1..1000 {
            window.pass(index + 1);
            window.pass(index);
            assert_eq!(window.limit(), 10 + 2 * index);
        }
    }

    #[test]
    fn a_window_of_one_moves_with_every_message() {
        let window = Window::closed(1, 1);
        for index in 0..100 {
            assert_eq!(window.limit(), index + 1);
            window.pass(index);
        }
    }

    #[tokio::test]
    async fn an_open_window_allows_what_it_is_told() {
        let window = Window::open();
        assert_eq!(window.limit(), 0);
        window.allow(3);
        window.raised().await;
        assert_eq!(window.limit(), 3);
    }
}
