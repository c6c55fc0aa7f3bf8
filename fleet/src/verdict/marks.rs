//! A set of sequence numbers: a bit for each, as far as they go.

/// Numbers from 0 on; the few of one device need a word or two.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(Vec<u64>);

impl Marks {
    /// Marks a number; false where it was marked before.
    pub(super) fn mark(&mut self, number: u32) -> bool {
        let (word, bit) = place(number);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let Some(bits) = self.0.get_mut(word) else {
            return false;
        };
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }

    pub(super) fn holds(&self, number: u32) -> bool {
        let (word, bit) = place(number);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|bits| u64::from(bits.count_ones())).sum()
    }

    /// Those that are here and not there, the smallest first.
    pub(super) fn without(&self, other: &Self) -> impl Iterator<Item = u32> {
        let end = u32::try_from(self.0.len() * 64).unwrap_or(u32::MAX);
        (0..end).filter(|number| self.holds(*number) && !other.holds(*number))
    }
}

fn place(number: u32) -> (usize, u64) {
    let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
    (word, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once_and_found_again() {
        let mut marks = Marks::default();
        for number in [0, 63, 64, 1000] {
            assert!(!marks.holds(number));
            assert!(marks.mark(number), "{number}");
            assert!(!marks.mark(number), "{number}");
            assert!(marks.holds(number));
        }
        assert_eq!(marks.len(), 4);
        let mut other = Marks::default();
        other.mark(63);
        other.mark(7);
        assert_eq!(marks.without(&other).collect::<Vec<_>>(), [0, 64, 1000]);
    }
}
