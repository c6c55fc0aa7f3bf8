//! Time as the engine knows it: an argument, in milliseconds of Unix time, never falling.
//!
//! Wall time, because a session's and a message's expiry go on while the broker is down.

use std::time::Duration;

/// A moment: milliseconds since the Unix epoch. The shard hands out moments that never fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The moment this many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; nothing if it is yet to come.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment that is `seconds` later.
    #[must_use]
    pub const fn after_seconds(self, seconds: u32) -> Self {
        self.after_millis(seconds as u64 * 1000)
    }

    /// The moment that is `millis` later.
    #[must_use]
    pub const fn after_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// The moment that was `seconds` earlier.
    #[must_use]
    pub const fn before_seconds(self, seconds: u32) -> Self {
        Self(self.0.saturating_sub(seconds as u64 * 1000))
    }
}
