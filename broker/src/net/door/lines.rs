//! Lines: of how many refusals the log tells.
//!
//! In a flood a line costs more than the refusal it tells of, and fills the disk. All refusals are
//! counted, and the last ones remembered; the log tells of so many in a second, and then how many
//! it has left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Of so many refusals the log tells in a second.
const LINES_PER_SECOND_MAX: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// What the log has told of in this second.
#[derive(Debug, Default)]
pub(in crate::net) struct Lines {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    since: Option<Instant>,
    told: u32,
    left_out: u64,
}

impl Lines {
    /// Whether the log tells of one more refusal: then, how many it has left out before.
    pub(in crate::net) fn take(&self, now: Instant) -> Option<u64> {
        // Nothing panics while it is held.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |since| now.saturating_duration_since(since) >= SECOND;
        if inner.since.is_none_or(is_over) {
            inner.since = Some(now);
            inner.told = 0;
        }
        if inner.told >= LINES_PER_SECOND_MAX {
            inner.left_out += 1;
            return None;
        }
        inner.told += 1;
        Some(std::mem::take(&mut inner.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_of_so_many_in_a_second_and_then_how_many_it_left_out() {
        let lines = Lines::default();
        let start = Instant::now();
        for _ in 0..LINES_PER_SECOND_MAX {
            assert_eq!(lines.take(start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(lines.take(start + SECOND / 2), None);
        }
        assert_eq!(lines.take(start + SECOND), Some(7));
        assert_eq!(lines.take(start + SECOND), Some(0));
    }
}
