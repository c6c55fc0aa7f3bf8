//! A round: one life of a broker, and what all who talk to it must know of it.
//!
//! It counts what was acknowledged, so that the end comes at some number of it and not at a time
//! that a slow machine never reaches.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

pub(super) struct Round {
    pub(super) number: u32,
    pub(super) address: SocketAddr,
    acknowledged: Mutex<u32>,
    more: Condvar,
    /// Nothing new is begun; what was begun is brought to its end.
    is_last: AtomicBool,
}

impl Round {
    pub(super) fn new(number: u32, address: SocketAddr) -> Self {
        Self {
            number,
            address,
            acknowledged: Mutex::default(),
            more: Condvar::new(),
            is_last: AtomicBool::new(false),
        }
    }

    /// Something was acknowledged.
    pub(super) fn note(&self) {
        *self.acknowledged.lock().unwrap() += 1;
        self.more.notify_all();
    }

    /// Waits until so much was acknowledged, but no longer than this. Whether it was.
    pub(super) fn wait_for(&self, count: u32, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut acknowledged = self.acknowledged.lock().unwrap();
        while *acknowledged < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            acknowledged = self.more.wait_timeout(acknowledged, left).unwrap().0;
        }
        true
    }

    /// Lets all end in good order.
    pub(super) fn wind_up(&self) {
        self.is_last.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_winding_up(&self) -> bool {
        self.is_last.load(Ordering::SeqCst)
    }
}
