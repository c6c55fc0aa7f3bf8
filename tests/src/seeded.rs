//! Randomness that comes out the same again: a test that fails names its seed.

/// `SplitMix64`: small, fast, and good enough to spoil packets.
pub struct Seeded(u64);

impl Seeded {
    /// From this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// One of these.
    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// One of these, to be changed.
    pub fn choose_mut<'a, T>(&mut self, from: &'a mut [T]) -> &'a mut T {
        let place = self.below(from.len());
        &mut from[place]
    }
}

/// Spoils a packet: bits turned over, bytes put in, cut out, repeated, lengths lied about.
pub fn mutate(packet: &[u8], random: &mut Seeded) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len().max(1));
        match random.below(7) {
            _ if bytes.is_empty() => bytes.push(random.number() as u8),
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = *random.choose(&[0, 1, 0x7f, 0x80, 0xff]),
            2 => bytes.insert(at, random.number() as u8),
            3 => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            5 => bytes.extend_from_within(at..),
            _ => bytes.extend((0..random.below(20)).map(|_| random.number() as u8)),
        }
    }
    // Half of the time the remaining length is put right again, to get past the framing.
    if random.below(2) == 0 && bytes.len() > 1 {
        let body = bytes.split_off(2.min(bytes.len()));
        return crate::mqtt::request::packet(bytes[0], &body);
    }
    bytes
}
