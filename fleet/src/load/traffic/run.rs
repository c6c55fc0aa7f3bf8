//! What the tasks of one run share: the clock, the counters and when to stop.
//!
//! A counter is written by one task and read by the watch, so that nobody waits for anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::sync::Notify;

/// One run.
#[derive(Debug)]
pub(crate) struct Run {
    /// Marks its messages.
    pub(crate) nonce: u32,
    began: Instant,
    measuring: AtomicBool,
    stopping: AtomicBool,
}

impl Run {
    pub(crate) fn new(nonce: u32) -> Self {
        let (measuring, stopping) = (AtomicBool::new(false), AtomicBool::new(false));
        Self {
            nonce,
            began: Instant::now(),
            measuring,
            stopping,
        }
    }

    /// Nanoseconds since the run began.
    pub(crate) fn nanos(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether latencies count.
    pub(crate) fn is_measuring(&self) -> bool {
        self.measuring.load(Relaxed)
    }

    pub(crate) fn set_measuring(&self, measuring: bool) {
        self.measuring.store(measuring, Relaxed);
    }

    /// Whether nothing more is to be begun.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }
}

/// What one task counts, and how it is told that its work is over.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    count: AtomicU64,
    pub(crate) done: Notify,
}

impl Counter {
    pub(crate) fn set(&self, count: u64) {
        self.count.store(count, Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.count.load(Relaxed)
    }
}

/// The sum of counters.
pub(crate) fn sum(counters: &[Arc<Counter>]) -> u64 {
    counters.iter().map(|counter| counter.read()).sum()
}
