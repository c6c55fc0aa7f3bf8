//! Chance, by which devices that do the same do it at different times.

use std::time::Duration;

use rustls::crypto::aws_lc_rs;

/// Drawn evenly from all numbers, from the source that TLS draws from; without it, the highest,
/// which is the longest wait.
pub(crate) fn chance() -> u32 {
    let mut octets = [0xFF; 4];
    // On failure they stay as they are.
    let _ = aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut octets);
    u32::from_ne_bytes(octets)
}

/// A time from zero up to `ceiling`, drawn evenly if `chance` was.
pub(crate) fn drawn(ceiling: Duration, chance: u32) -> Duration {
    ceiling.saturating_mul(chance) / u32::MAX
}

#[cfg(test)]
pub(crate) mod tests {
    /// A source of chance that comes out the same again (`SplitMix64`).
    #[derive(Debug)]
    pub(crate) struct Seeded(pub(crate) u64);

    impl Seeded {
        pub(crate) fn draw(&mut self) -> u32 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            u32::try_from((mixed ^ mixed >> 31) >> 32).unwrap()
        }

        pub(crate) fn below(&mut self, end: u32) -> u32 {
            self.draw() % end
        }
    }
}
