//! Chance that comes out the same again from the same seed.

use std::time::Duration;

/// `SplitMix64`: small, fast, and even enough to spread devices over time.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// For one part of what the seed is for: what is drawn there changes nothing elsewhere.
    pub(crate) fn of(seed: u64, part: u64) -> Self {
        let mut chance = Self(seed);
        Self(chance.number() ^ part.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A place below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % end).unwrap_or_default()
    }

    /// Evenly from zero to `most`, in microseconds.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.number() % micros.saturating_add(1))
    }

    /// Evenly from `most` before `middle` to `most` after it.
    pub(crate) fn around(&mut self, middle: Duration, most: Duration) -> Duration {
        (middle + self.up_to(2 * most)).saturating_sub(most)
    }

    /// Puts `things` into any order.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for end in (2..=things.len()).rev() {
            let place = self.below(end);
            things.swap(end - 1, place);
        }
    }
}
