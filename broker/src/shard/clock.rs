//! The clock of a shard: wall time that never falls, so that the engine need not fear it.

use crate::engine::Time;
use std::time::SystemTime;

/// Hands out moments of wall time, each no earlier than the one before.
pub(super) struct Clock {
    read: Box<dyn FnMut() -> Time + Send>,
    last: Time,
}

impl Clock {
    /// A clock that asks `read`.
    pub(super) fn of(read: impl FnMut() -> Time + Send + 'static) -> Self {
        Self {
            read: Box::new(read),
            last: Time::default(),
        }
    }

    /// The present moment. A clock that was set back stands still until time has caught up.
    pub(super) fn now(&mut self) -> Time {
        self.last = self.last.max((self.read)());
        self.last
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::of(wall_time)
    }
}

/// The time of the system.
pub(crate) fn wall_time() -> Time {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Time::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
