//! Pace: how often something may happen to one of many, a few times at once and then now and then.
//!
//! What happened is forgiven after a while, one after the other. Of more than are remembered, the
//! newcomers are not noted.

use crate::engine::time::Time;
use ahash::RandomState;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// So many are remembered.
const KNOWN_MAX: usize = 10_000;

/// How often.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Steps {
    /// One is forgiven in this time.
    interval_millis: u64,
    /// So many at once are free.
    free: u32,
}

/// Those to whom it happened lately.
#[derive(Debug)]
pub(in crate::engine) struct Pace<K> {
    steps: Steps,
    /// When all is forgiven.
    forgiven: HashMap<K, Time, RandomState>,
}

impl Steps {
    /// A 3.1.1 client is closed for what it published: there is no other way to refuse a message,
    /// and one that comes back at once with the same message would go round and round.
    pub(in crate::engine) const CLOSED: Self = Self {
        interval_millis: 10_000,
        free: 3,
    };

    /// So many in a minute, all of them at once.
    pub(in crate::engine) fn in_a_minute(count: u32) -> Self {
        Self {
            interval_millis: 60_000 / u64::from(count.max(1)),
            free: count.max(1),
        }
    }
}

impl<K: Eq + Hash + Clone> Pace<K> {
    /// Goes by these from here on.
    pub(in crate::engine) fn change_steps(&mut self, steps: Steps) {
        self.steps = steps;
    }

    pub(in crate::engine) fn new(steps: Steps, hasher: RandomState) -> Self {
        Self {
            steps,
            forgiven: HashMap::with_hasher(hasher),
        }
    }

    /// It has happened to `whom`.
    pub(in crate::engine) fn note(&mut self, whom: &K, now: Time) {
        if self.forgiven.len() >= KNOWN_MAX {
            self.forgiven.retain(|_, forgiven| *forgiven > now);
        }
        let known = self.forgiven.get(whom).copied();
        if known.is_some() || self.forgiven.len() < KNOWN_MAX {
            let from = known.unwrap_or(now).max(now);
            let forgiven = from.after_millis(self.steps.interval_millis);
            self.forgiven.insert(whom.clone(), forgiven);
        }
    }

    /// How long until it may happen to `whom` again, if not now.
    pub(in crate::engine) fn rest(&self, whom: &K, now: Time) -> Option<Duration> {
        let forgiven = self.forgiven.get(whom)?;
        let free = self.steps.interval_millis * u64::from(self.steps.free - 1);
        let rest = forgiven.since(now.after_millis(free));
        (!rest.is_zero()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test_world::subject;
    use certs::Subject;

    fn pace(steps: Steps) -> Pace<Subject> {
        Pace::new(steps, RandomState::with_seeds(1, 2, 3, 4))
    }

    #[test]
    fn a_few_are_free_and_then_one_in_a_while() {
        let mut pauses = pace(Steps::CLOSED);
        let (device, other) = (subject("dev-1"), subject("dev-2"));
        let at = |seconds| Time::default().after_seconds(seconds);
        for _ in 0..3 {
            assert_eq!(pauses.rest(&device, at(100)), None);
            pauses.note(&device, at(100));
        }
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(pauses.rest(&device, at(100)), seconds(10));
        assert_eq!(pauses.rest(&device, at(109)), seconds(1));
        assert_eq!(pauses.rest(&device, at(110)), None);
        pauses.note(&device, at(110));
        assert_eq!(pauses.rest(&device, at(110)), seconds(10));
        assert_eq!(pauses.rest(&other, at(110)), None);
        assert_eq!(pauses.rest(&device, at(140)), None);
    }

    #[test]
    fn so_many_in_a_minute_are_so_many_in_the_long_run() {
        let mut pace = pace(Steps::in_a_minute(20));
        let device = subject("dev-1");
        let mut happened = 0;
        for millis in (0..600_000).step_by(20) {
            let now = Time::from_millis(millis);
            if pace.rest(&device, now).is_none() {
                pace.note(&device, now);
                happened += 1;
            }
        }
        assert!((219..=221).contains(&happened), "{happened} in ten minutes");
    }

    #[test]
    fn of_too_many_those_are_forgotten_that_are_forgiven() {
        let mut pauses = pace(Steps::CLOSED);
        let now = Time::from_millis(1);
        for number in 0..KNOWN_MAX + 10 {
            pauses.note(&subject(&format!("dev-{number}")), now);
        }
        assert_eq!(pauses.forgiven.len(), KNOWN_MAX);
        pauses.note(&subject("late"), now.after_seconds(10));
        assert_eq!(pauses.forgiven.len(), 1);
    }
}
