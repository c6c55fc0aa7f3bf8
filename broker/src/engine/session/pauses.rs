//! Pauses: when a device may come again whose 3.1.1 client was closed for what it published.
//!
//! 3.1.1 has no way to refuse a message but to close. A client that comes back at once with the
//! same message would go round and round: a few times are free, then it comes once in a while.

use crate::engine::time::Time;
use ahash::RandomState;
use certs::Subject;
use std::collections::HashMap;
use std::time::Duration;

/// One closure is forgiven in this time.
const INTERVAL_SECONDS: u32 = 10;
/// So many at once are free.
const FREE: u32 = 3;
/// Of more devices than this, the newcomers are not noted: they may come again at once.
const DEVICES_MAX: usize = 10_000;

/// The devices that were closed lately.
#[derive(Debug)]
pub(in crate::engine) struct Pauses {
    /// When all is forgiven.
    forgiven: HashMap<Subject, Time, RandomState>,
}

impl Pauses {
    pub(in crate::engine) fn new(hasher: RandomState) -> Self {
        Self {
            forgiven: HashMap::with_hasher(hasher),
        }
    }

    /// A client of this device was closed.
    pub(in crate::engine) fn closed(&mut self, device: &Subject, now: Time) {
        if self.forgiven.len() >= DEVICES_MAX {
            self.forgiven.retain(|_, forgiven| *forgiven > now);
        }
        let known = self.forgiven.get(device).copied();
        if known.is_some() || self.forgiven.len() < DEVICES_MAX {
            let from = known.unwrap_or(now).max(now);
            let forgiven = from.after_seconds(INTERVAL_SECONDS);
            self.forgiven.insert(device.clone(), forgiven);
        }
    }

    /// How long this device is still to stay away, if at all.
    pub(in crate::engine) fn rest(&self, device: &Subject, now: Time) -> Option<Duration> {
        let forgiven = self.forgiven.get(device)?;
        let admitted = now.after_seconds(INTERVAL_SECONDS * (FREE - 1));
        let rest = forgiven.since(admitted);
        (!rest.is_zero()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test_world::subject;

    #[test]
    fn a_few_closures_are_free_and_then_one_in_a_while() {
        let mut pauses = Pauses::new(RandomState::with_seeds(1, 2, 3, 4));
        let (device, other) = (subject("dev-1"), subject("dev-2"));
        let at = |seconds| Time::default().after_seconds(seconds);
        for _ in 0..FREE {
            assert_eq!(pauses.rest(&device, at(100)), None);
            pauses.closed(&device, at(100));
        }
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(pauses.rest(&device, at(100)), seconds(10));
        assert_eq!(pauses.rest(&device, at(109)), seconds(1));
        assert_eq!(pauses.rest(&device, at(110)), None);
        pauses.closed(&device, at(110));
        assert_eq!(pauses.rest(&device, at(110)), seconds(10));
        assert_eq!(pauses.rest(&other, at(110)), None);
        assert_eq!(pauses.rest(&device, at(140)), None);
    }

    #[test]
    fn of_too_many_devices_those_are_forgotten_that_are_forgiven() {
        let mut pauses = Pauses::new(RandomState::with_seeds(1, 2, 3, 4));
        let now = Time::from_millis(1);
        for number in 0..DEVICES_MAX + 10 {
            pauses.closed(&subject(&format!("dev-{number}")), now);
        }
        assert_eq!(pauses.forgiven.len(), DEVICES_MAX);
        pauses.closed(&subject("late"), now.after_seconds(INTERVAL_SECONDS));
        assert_eq!(pauses.forgiven.len(), 1);
    }
}
