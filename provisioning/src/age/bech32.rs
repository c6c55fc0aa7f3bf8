//! Bech32 (BIP 173) as age uses it for keys, which are longer than an address may be.

/// The digits, each for five bits.
const DIGITS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM_LEN: usize = 6;
const GENERATOR: [u32; 5] = [
    0x3b6a_57b2,
    0x2650_8e6d,
    0x1ea1_19fa,
    0x3d42_33dd,
    0x2a14_62b3,
];

/// Reads the 32 octets in `text`, which must begin with `prefix` and be all in one case.
pub(super) fn decode(text: &str, prefix: &str) -> Option<[u8; 32]> {
    let lower = text.to_ascii_lowercase();
    if lower != text && text.to_ascii_uppercase() != text {
        return None;
    }
    let digits = lower.strip_prefix(prefix)?.strip_prefix('1')?;
    let value = |digit: u8| DIGITS.iter().position(|it| *it == digit);
    let values = digits
        .bytes()
        .map(|it| value(it).and_then(|it| u8::try_from(it).ok()));
    let values = values.collect::<Option<Vec<_>>>()?;
    let expanded = prefix
        .bytes()
        .map(|it| it >> 5)
        .chain([0])
        .chain(prefix.bytes().map(|it| it & 31));
    if polymod(expanded.chain(values.iter().copied())) != 1 {
        return None;
    }
    let data = values.get(..values.len().checked_sub(CHECKSUM_LEN)?)?;
    octets(data)?.try_into().ok()
}

fn polymod(values: impl Iterator<Item = u8>) -> u32 {
    values.fold(1, |sum, value| {
        let top = sum >> 25;
        let sum = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        let terms = GENERATOR.iter().enumerate();
        let terms = terms.filter(|(bit, _)| top >> bit & 1 == 1);
        terms.fold(sum, |sum, (_, term)| sum ^ term)
    })
}

/// Puts fives of bits together to octets; what is left over must be zeros, and less than five.
fn octets(fives: &[u8]) -> Option<Vec<u8>> {
    let (mut bits, mut len, mut found) = (0u32, 0, Vec::new());
    for five in fives {
        bits = bits << 5 | u32::from(*five);
        len += 5;
        if len >= 8 {
            len -= 8;
            found.push(u8::try_from(bits >> len).ok()?);
            bits &= (1 << len) - 1;
        }
    }
    (len < 5 && bits == 0).then_some(found)
}
