//! Looks for bytes that must not be there, eight at a time.
//!
//! Strings of MQTT are short and in every packet, so that this is most of what reading one costs.

/// Whether any of the `wanted` bytes is among these.
#[inline]
pub(crate) fn has_any<const N: usize>(bytes: &[u8], wanted: [u8; N]) -> bool {
    let words = bytes.chunks_exact(8);
    let Some(last) = bytes.last_chunk().copied() else {
        return bytes.iter().any(|byte| wanted.contains(byte));
    };
    let in_words = words
        .filter_map(|word| word.first_chunk().copied())
        .fold(0, |found, word| found | marks(word, wanted));
    // The last word overlaps the one before it, unless it is that one.
    in_words | marks(last, wanted) != 0
}

/// Something other than 0 if and only if one of the eight bytes is wanted.
#[inline]
fn marks<const N: usize>(word: [u8; 8], wanted: [u8; N]) -> u64 {
    let word = u64::from_ne_bytes(word);
    wanted.iter().fold(0, |found, byte| {
        // A byte is 0 here where it was wanted; taking 1 from it then sets its upper bit.
        let zero_where_found = word ^ repeated(*byte);
        let borrowed = zero_where_found.wrapping_sub(repeated(1));
        found | (borrowed & !zero_where_found & repeated(0x80))
    })
}

const fn repeated(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes that are looked for, their neighbours, and those with the high bit.
    fn telling_byte() -> impl Strategy<Value = u8> {
        let some = prop::sample::select(vec![0, 1, b'+', b'#', b'"', 0x80, 0xFF]);
        prop_oneof![7 => some, 1 => any::<u8>()]
    }

    proptest! {
        #[test]
        fn it_finds_what_a_plain_search_finds(
            bytes in prop::collection::vec(telling_byte(), 0..40),
        ) {
            let plain = |wanted: &[u8]| bytes.iter().any(|byte| wanted.contains(byte));
            prop_assert_eq!(has_any(&bytes, [0]), plain(&[0]));
            prop_assert_eq!(has_any(&bytes, [b'+', b'#']), plain(b"+#"));
        }

        #[test]
        fn it_finds_one_byte_wherever_it_is(
            len in 1..40_usize,
            at in any::<prop::sample::Index>(),
        ) {
            let mut bytes = vec![b'*'; len];
            prop_assert!(!has_any(&bytes, [b'+', b'#']));
            bytes[at.index(len)] = b'+';
            prop_assert!(has_any(&bytes, [b'+', b'#']));
        }
    }
}
