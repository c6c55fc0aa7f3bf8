//! When to renew, and when to try again.
//!
//! Time and chance are arguments. A certificate is renewed when two thirds of its lifetime are over
//! at the latest, so that an enrolment server may be away for a whole third of it. When the
//! certificate is due the clock on the wall says, which may jump; a second reckoning by the clock
//! that does not bounds how late a jump backwards can make us. Waits are counted by the latter
//! alone.

use std::time::Duration;

use tokio::time::Instant;

use crate::chance::drawn;
use crate::reconnect::Backoff;

/// A wait is never longer than this: the clock on the wall may be set meanwhile.
const LOOK_AFTER: Duration = Duration::from_mins(1);

/// What both clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Since 1970, by the clock on the wall.
    pub(crate) wall: Duration,
    /// By the one that does not jump.
    pub(crate) steady: Instant,
}

/// From when to when a certificate is valid, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) not_before: Duration,
    pub(crate) not_after: Duration,
}

/// How far into its lifetime a certificate is renewed, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// At the latest.
    pub(crate) latest: u32,
    /// So much earlier at most.
    pub(crate) jitter: u32,
}

/// Why an attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setback {
    /// It may be over soon.
    Passing,
    /// We were told when to come again.
    ComeAgain(Duration),
    /// We were refused: somebody must change something.
    Refused,
}

/// When the certificate of one device is renewed.
#[derive(Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    term: Term,
    due: Now,
    retry: Option<Retry>,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    attempts: u32,
    at: Instant,
}

impl Schedule {
    /// For a certificate that is used from `now` on. `chance` is drawn evenly from all numbers.
    pub(crate) fn new(pace: Pace, term: Term, now: Now, chance: u32) -> Self {
        let wall = term.not_before + term.share(pace.share(chance));
        let due = Now {
            wall,
            steady: now.steady + wall.saturating_sub(now.wall),
        };
        Self {
            pace,
            term,
            due,
            retry: None,
        }
    }

    /// How long to wait before there is anything to do, or to be looked at again; zero when the
    /// certificate is to be renewed now.
    pub(crate) fn wait(&self, now: Now) -> Duration {
        self.until_next(now).min(LOOK_AFTER)
    }

    /// When the next attempt is due, since 1970, as far as is known `now`.
    pub(crate) fn next(&self, now: Now) -> Duration {
        now.wall + self.until_next(now)
    }

    /// An attempt came to nothing. `chance` is drawn evenly from all numbers.
    pub(crate) fn failed(&mut self, now: Now, setback: Setback, chance: u32) {
        let attempts = self.retry.map_or(0, |retry| retry.attempts);
        let wait = match setback {
            Setback::Passing => drawn(self.ceiling(now, attempts), chance),
            // Spread over a tenth more: others were told the same.
            Setback::ComeAgain(after) => {
                let after = after.clamp(self.term.floor(), self.patience(now));
                after + drawn(after / 10, chance)
            }
            Setback::Refused => self.term.cap() / 2 + drawn(self.term.cap() / 2, chance),
        };
        self.retry = Some(Retry {
            attempts: attempts.saturating_add(1),
            at: now.steady + wait,
        });
    }

    /// The certificate was replaced by one of this term, which began now for all that matters: an
    /// authority that lets it begin in the past would have it renewed at once.
    pub(crate) fn renewed(&mut self, mut term: Term, now: Now, chance: u32) {
        term.not_before = term.not_before.max(now.wall).min(term.not_after);
        *self = Self::new(self.pace, term, now, chance);
    }

    fn until_next(&self, now: Now) -> Duration {
        let until_due = self.until_due(now);
        match self.retry {
            // A clock that ran ahead and was set right makes the certificate a good one again.
            Some(retry) if until_due.is_zero() => retry.at.duration_since(now.steady),
            Some(_) | None => until_due,
        }
    }

    fn until_due(&self, now: Now) -> Duration {
        let by_wall = self.due.wall.saturating_sub(now.wall);
        let steady = self.due.steady.duration_since(now.steady);
        by_wall.min(steady)
    }

    /// The longest wait after so many attempts: it doubles up to a cap, and does not take more than
    /// a tenth of the time that is left.
    fn ceiling(&self, now: Now, attempts: u32) -> Duration {
        let backoff = Backoff {
            base: self.term.floor(),
            cap: self.term.cap(),
        };
        let ceiling = backoff.ceiling(attempts);
        match self.term.not_after.saturating_sub(now.wall) {
            // There is no hurry any more.
            Duration::ZERO => ceiling,
            left => ceiling.min((left / 10).max(backoff.base)),
        }
    }

    /// The longest that we let ourselves be told to wait.
    fn patience(&self, now: Now) -> Duration {
        let left = self.term.not_after.saturating_sub(now.wall);
        (left / 2).max(self.term.cap())
    }
}

impl Pace {
    /// The share of its lifetime, in millionths, after which a certificate is due.
    fn share(self, chance: u32) -> u32 {
        let jitter = u64::from(self.jitter) * 1000;
        let earlier = jitter * u64::from(chance) / u64::from(u32::MAX);
        let earlier = u32::try_from(earlier).unwrap_or(u32::MAX);
        self.latest.saturating_mul(1000).saturating_sub(earlier)
    }
}

impl Term {
    /// So many millionths of the lifetime.
    fn share(self, millionths: u32) -> Duration {
        self.lifetime().saturating_mul(millionths) / 1_000_000
    }

    fn lifetime(self) -> Duration {
        self.not_after.saturating_sub(self.not_before)
    }

    /// The longest wait after a first failure.
    fn floor(self) -> Duration {
        let (shortest, longest) = (Duration::from_millis(50), Duration::from_secs(30));
        (self.lifetime() / 200).clamp(shortest, longest)
    }

    /// The longest wait of all.
    fn cap(self) -> Duration {
        (self.lifetime() / 24).clamp(self.floor(), Duration::from_hours(1))
    }
}

#[cfg(test)]
mod tests;
