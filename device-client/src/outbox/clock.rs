//! How much time messages have left after a restart.
//!
//! Within one life of the device time is counted by a clock that does not jump. Over a restart only
//! the clock on the wall can tell, as far as it can be believed: one that went backwards, or had
//! not been set when the message was accepted, shortens no message's time.

use std::time::{Duration, SystemTime};

/// A clock before this time, in 2025, has not been set.
const SET_AFTER: u64 = 1_735_689_600_000;

/// Milliseconds since 1970, by the clock on the wall.
pub(crate) fn wall_now() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let since_1970 = since_1970.unwrap_or(Duration::ZERO).as_millis();
    u64::try_from(since_1970).unwrap_or(u64::MAX)
}

/// What is left of `expiry` at `now` for a message accepted at `at`.
pub(crate) fn left(expiry: Duration, at: u64, now: u64) -> Duration {
    let passed = if at < SET_AFTER {
        0
    } else {
        now.saturating_sub(at)
    };
    expiry.saturating_sub(Duration::from_millis(passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_can_be_believed_shortens_the_time() {
        let at = SET_AFTER + 5_000;
        for (at, now, expected) in [
            (at, at, 60),
            (at, at + 20_000, 40),
            (at, at + 60_000, 0),
            (at, at + 600_000, 0),
            (at, at - 1_000, 60),
            (at, 3_000, 60),
            (3_000, at, 60),
        ] {
            let left = left(Duration::from_mins(1), at, now);
            assert_eq!(left, Duration::from_secs(expected), "{at} {now}");
        }
    }
}
