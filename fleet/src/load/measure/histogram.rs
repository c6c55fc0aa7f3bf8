//! How long things took, kept in buckets that are never wider than 1/64 of their value.
//!
//! Recording costs a few nanoseconds and no memory beyond the buckets.

use std::time::Duration;

/// Buckets of one power of two.
const PER_OCTAVE: u64 = 64;
const OCTAVE_BITS: u32 = PER_OCTAVE.trailing_zeros();

/// Counts of durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// Grows to the longest duration that was seen: 3,776 buckets reach 584 years.
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        let index = index(nanos);
        if index >= self.buckets.len() {
            self.buckets.resize(index + 1, 0);
        }
        if let Some(bucket) = self.buckets.get_mut(index) {
            *bucket += 1;
        }
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += more;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// The duration that `per_mille` of 1,000 did not exceed; nothing where nothing was recorded.
    pub(crate) fn quantile(&self, per_mille: u64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, index) in self.buckets.iter().zip(0..) {
            seen += bucket;
            if seen >= rank {
                return Some(Duration::from_nanos(highest(index).min(self.max)));
            }
        }
        Some(Duration::from_nanos(self.max))
    }
}

/// Small values have a bucket each; above, the leading bits choose.
#[inline]
fn index(nanos: u64) -> usize {
    let octave = (u64::BITS - nanos.leading_zeros()).saturating_sub(OCTAVE_BITS + 1);
    let index = u64::from(octave) * PER_OCTAVE + (nanos >> octave);
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The highest value of a bucket.
fn highest(index: u64) -> u64 {
    let octave = (index / PER_OCTAVE).saturating_sub(1);
    let lead = index - octave * PER_OCTAVE;
    (lead << octave) + ((1 << octave) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_that_ends_at_most_a_64th_above_it() {
        for shift in 0..64 {
            for value in [
                1_u64 << shift,
                (1 << shift) + (1 << shift) / 3,
                u64::MAX >> (63 - shift),
            ] {
                let top = highest(index(value) as u64);
                assert!(top >= value, "{value} is above its bucket, {top}");
                assert!(
                    top - value <= value / PER_OCTAVE,
                    "{value} lies far below {top}"
                );
            }
        }
    }

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for bucket in 0..3_775 {
            assert_eq!(index(highest(bucket)) as u64, bucket);
            assert_eq!(index(highest(bucket) + 1) as u64, bucket + 1);
        }
    }

    #[test]
    fn quantiles_are_ranks() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(500), None);
        (1..=100).for_each(|nanos| histogram.record(nanos));
        let mut other = Histogram::default();
        other.record(1_000_000);
        histogram.merge(&other);
        for (per_mille, nanos) in [(0, 1), (10, 2), (500, 51), (990, 100), (999, 1_000_000)] {
            assert_eq!(
                histogram.quantile(per_mille),
                Some(Duration::from_nanos(nanos))
            );
        }
    }
}
