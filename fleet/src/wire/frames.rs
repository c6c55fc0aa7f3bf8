//! Frames in what was read: the fixed header and nothing else [MQTT 5.0 §2.1].
//!
//! A frame is a part of the bytes it was found in; nothing is copied.

/// One whole packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Packet type and flags.
    pub(crate) first: u8,
    /// What follows the remaining length.
    pub(crate) body: &'a [u8],
}

/// The remaining length has more than four bytes, or a packet is not what its type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed packet came")]
pub struct Malformed;

/// Takes the first frame off `bytes`; nothing where it is not whole yet.
#[inline]
pub(crate) fn split(bytes: &[u8]) -> Result<Option<(Frame<'_>, &[u8])>, Malformed> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let Some((len, rest)) = split_varint(rest)? else {
        return Ok(None);
    };
    Ok(rest
        .split_at_checked(len)
        .map(|(body, rest)| (Frame { first, body }, rest)))
}

/// Takes a variable byte integer off `bytes` [MQTT 5.0 §1.5.5].
#[inline]
pub(crate) fn split_varint(bytes: &[u8]) -> Result<Option<(usize, &[u8])>, Malformed> {
    let (mut value, mut rest) = (0, bytes);
    for shift in [0, 7, 14, 21] {
        let Some((&byte, after)) = rest.split_first() else {
            return Ok(None);
        };
        rest = after;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(Some((value, rest)));
        }
    }
    Err(Malformed)
}

/// Appends a variable byte integer.
pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap_or(0x7f);
        value >>= 7;
        if value == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_only_when_it_is_whole() {
        let bytes = [0x30, 0x03, 1, 2, 3, 0xd0, 0x00];
        for len in 0..5 {
            assert_eq!(split(&bytes[..len]), Ok(None), "{len} bytes");
        }
        let (frame, rest) = split(&bytes).unwrap().unwrap();
        assert_eq!(
            frame,
            Frame {
                first: 0x30,
                body: &[1, 2, 3]
            }
        );
        let (frame, rest) = split(rest).unwrap().unwrap();
        assert_eq!(
            (frame, rest),
            (
                Frame {
                    first: 0xd0,
                    body: &[]
                },
                &[][..]
            )
        );
    }

    #[test]
    fn mqtt_1_5_5_lengths_of_one_to_four_bytes_are_written_and_read() {
        for (value, len) in [
            (0, 1),
            (127, 1),
            (128, 2),
            (16_383, 2),
            (16_384, 3),
            (2_097_152, 4),
            (268_435_455, 4),
        ] {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, value);
            assert_eq!(bytes.len(), len, "{value}");
            assert_eq!(split_varint(&bytes), Ok(Some((value, &[][..]))));
        }
        assert_eq!(split_varint(&[0x80; 4]), Err(Malformed));
        assert_eq!(split_varint(&[0x80; 3]), Ok(None));
    }
}
