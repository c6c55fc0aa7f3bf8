//! Looks for bytes that must not be there, sixteen at a time.
//!
//! Strings of MQTT are short and in every packet, so that this is most of what reading one costs.

/// Whether any of the `wanted` bytes is among these.
#[inline]
pub(crate) fn has_any<const N: usize>(bytes: &[u8], wanted: [u8; N]) -> bool {
    if let Some(last) = bytes.last_chunk::<16>() {
        let blocks = bytes.chunks_exact(16).filter_map(|it| it.first_chunk());
        // The last block overlaps the one before it, unless it is that one.
        return blocks.fold(is_in(last, wanted), |found, it| {
            found | is_in::<16, N>(it, wanted)
        });
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return is_in(first, wanted) | is_in(last, wanted);
    }
    bytes.iter().any(|byte| wanted.contains(byte))
}

/// Looks at all bytes of a block at once: there is nothing to decide between them.
#[inline]
fn is_in<const LEN: usize, const N: usize>(block: &[u8; LEN], wanted: [u8; N]) -> bool {
    let found = block.iter().fold(0, |found, byte| {
        wanted
            .iter()
            .fold(found, |found, it| found | u8::from(byte == it))
    });
    found != 0
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
