//! Turns: how strangers share the threads with those who are in.
//!
//! The runtime gives every task that can go on its turn, and hundreds of strangers who come or go
//! at once would all have theirs before the next message. So strangers have a few turns in a round,
//! and the next round begins when all others that can go on have had theirs.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::ready;
use std::thread::available_parallelism;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio_util::sync::PollSemaphore;

/// So many turns strangers have in a round, for each processor: one costs ten microseconds, or a
/// few hundred if it is that of a key exchange.
const TURNS_PER_PROCESSOR: usize = 2;

/// The strangers' turns.
#[derive(Debug)]
pub(in crate::net) struct Turns {
    in_a_round: usize,
    left: Arc<Semaphore>,
    /// Whether the next round is about to begin.
    ending: AtomicBool,
}

impl Default for Turns {
    fn default() -> Self {
        Self::new(TURNS_PER_PROCESSOR * available_parallelism().map_or(1, usize::from))
    }
}

impl Turns {
    fn new(in_a_round: usize) -> Self {
        Self {
            in_a_round,
            left: Arc::new(Semaphore::new(in_a_round)),
            ending: AtomicBool::new(false),
        }
    }

    /// What a stranger does: it goes on when it has a turn. Who has waited longest, is next.
    pub(in crate::net) async fn share<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        let mut turns = PollSemaphore::new(Arc::clone(&self.left));
        let mut future = pin!(future);
        poll_fn(|cx| {
            // Never closed.
            if let Some(turn) = ready!(turns.poll_acquire(cx)) {
                turn.forget();
            }
            self.end_round_if_none_is_left();
            future.as_mut().poll(cx)
        })
        .await
    }

    fn end_round_if_none_is_left(self: &Arc<Self>) {
        if self.left.available_permits() > 0 || self.ending.swap(true, Ordering::AcqRel) {
            return;
        }
        let turns = Arc::clone(self);
        tokio::spawn(async move {
            // All others have had their turn when this goes on.
            yield_now().await;
            // First, so that whoever takes the last of the new ones ends their round.
            turns.ending.store(false, Ordering::Release);
            let left = turns.left.available_permits();
            turns
                .left
                .add_permits(turns.in_a_round.saturating_sub(left));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter::repeat_n;
    use std::sync::Mutex;
    use tokio_util::task::TaskTracker;

    /// Who went on, in turn: `len` strangers who can all go on at once, and somebody who is in and
    /// always has something to do. On one thread, so that there is an order.
    async fn order(len: usize, turns: usize) -> Vec<&'static str> {
        let order: Arc<Mutex<Vec<_>>> = Arc::default();
        let turns = Arc::new(Turns::new(turns));
        let tasks = TaskTracker::new();
        for _ in 0..len {
            let order = Arc::clone(&order);
            let stranger = async move { order.lock().unwrap().push("stranger") };
            tasks.spawn(Arc::clone(&turns).share(stranger));
        }
        let told = Arc::clone(&order);
        let strangers = tasks.clone();
        tasks.spawn(async move {
            while strangers.len() > 1 {
                told.lock().unwrap().push("who is in");
                yield_now().await;
            }
        });
        tasks.close();
        tasks.wait().await;
        order.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn who_is_in_waits_for_a_few_strangers_at_most() {
        let order = order(1000, 8).await;
        let strangers_in_a_row = order.split(|who| *who == "who is in").map(<[_]>::len);
        // The end of a round and the beginning of the next may follow each other.
        assert!(strangers_in_a_row.max().unwrap() <= 16, "{order:?}");
        assert_eq!(order.iter().filter(|who| **who == "stranger").count(), 1000);
    }

    #[tokio::test]
    async fn a_stranger_goes_on_as_often_as_it_has_to() {
        let turns = Arc::new(Turns::new(1));
        let tasks = TaskTracker::new();
        let gone_on: Arc<Mutex<Vec<_>>> = Arc::default();
        for number in 0..3 {
            let gone_on = Arc::clone(&gone_on);
            let stranger = async move {
                for _ in 0..100 {
                    gone_on.lock().unwrap().push(number);
                    yield_now().await;
                }
            };
            tasks.spawn(Arc::clone(&turns).share(stranger));
        }
        tasks.close();
        tasks.wait().await;
        let in_turn: Vec<_> = repeat_n([0, 1, 2], 100).flatten().collect();
        assert_eq!(*gone_on.lock().unwrap(), in_turn);
    }
}
