//! Whether attempts to come back were spread as full jitter spreads them.
//!
//! Each wait is noted as a part of the longest it may be. By the law these parts are even from 0
//! to 1; how far they are from it is the Kolmogorov-Smirnov distance.

/// Into so many parts a wait is sorted.
const BINS: usize = 50;

/// With fewer attempts nothing can be said.
const ATTEMPTS_MIN: u64 = 20;

/// At this multiple of 1/√n one law in a thousand is called broken that was kept.
const CRITICAL: f64 = 1.95;

/// What a busy machine may add to a wait, as a part of it: every attempt comes late, none early.
const LATE: f64 = 0.1;

/// Attempts by the part of their longest wait that they waited.
#[derive(Clone, Debug)]
pub(super) struct Law {
    /// The last one is for all beyond the longest wait.
    bins: [u64; BINS + 1],
}

/// How far attempts were from the law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Distance {
    pub(super) attempts: u64,
    pub(super) is: f64,
    pub(super) max: f64,
}

impl Default for Law {
    fn default() -> Self {
        let bins = [0; BINS + 1];
        Self { bins }
    }
}

impl Law {
    /// Notes an attempt that came after this many thousandths of its longest wait.
    pub(super) fn note(&mut self, per_mille: u64) {
        let bin = usize::try_from(per_mille).unwrap_or(usize::MAX) / (1000 / BINS);
        if let Some(count) = self.bins.get_mut(bin.min(BINS)) {
            *count += 1;
        }
    }

    /// Nothing where there were too few attempts.
    pub(super) fn distance(&self) -> Option<Distance> {
        let attempts: u64 = self.bins.iter().sum();
        if attempts < ATTEMPTS_MIN {
            return None;
        }
        let all = crate::load::float(attempts);
        let (mut seen, mut distance) = (0, 0.0_f64);
        for (count, end) in self.bins.iter().zip(1_u32..) {
            seen += count;
            let is = crate::load::float(seen) / all;
            let must = (f64::from(end) / crate::load::float(BINS as u64)).min(1.0);
            distance = distance.max((is - must).abs());
        }
        Some(Distance {
            attempts,
            is: distance,
            max: CRITICAL / all.sqrt() + LATE,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Chance;

    fn distance(wait: impl Fn(u64) -> u64) -> Distance {
        let (mut law, mut chance) = (Law::default(), Chance::of(1, 0));
        for _ in 0..500 {
            law.note(wait(chance.number() % 1000));
        }
        law.distance().unwrap()
    }

    #[test]
    fn full_jitter_is_told_from_other_laws() {
        type Wait = fn(u64) -> u64;
        let waits: [(&str, Wait, bool); 6] = [
            ("full jitter", |even| even, true),
            ("full jitter, a little late", |even| even + 20, true),
            ("no jitter", |_| 999, false),
            ("all at once", |_| 3, false),
            ("equal jitter", |even| 500 + even / 2, false),
            ("twice as long", |even| 2 * even, false),
        ];
        for (name, wait, holds) in waits {
            let Distance { is, max, .. } = distance(wait);
            assert_eq!(is <= max, holds, "{name}: {is}");
        }
    }

    #[test]
    fn of_few_attempts_nothing_is_said() {
        let mut law = Law::default();
        for _ in 1..ATTEMPTS_MIN {
            law.note(1);
        }
        assert_eq!(law.distance(), None);
        law.note(1);
        assert!(law.distance().is_some());
    }
}
