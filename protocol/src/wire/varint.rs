//! The variable byte integer: seven bits a byte, four bytes at most [MQTT 5.0 §1.5.5].

use crate::ProtocolError;
use bytes::{BufMut, BytesMut};

/// The largest value that four bytes can hold.
pub(crate) const MAX: u32 = 268_435_455;

/// A variable byte integer as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Varint {
    pub(crate) value: u32,
    /// How many bytes it took.
    pub(crate) len: usize,
}

impl Varint {
    /// Reads the one at the front of these bytes; `None` if they end before it does.
    ///
    /// # Errors
    /// If it does not end with its fourth byte.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, ProtocolError> {
        if let [value @ ..=0x7F, ..] = bytes {
            let value = u32::from(*value);
            return Ok(Some(Self { value, len: 1 }));
        }
        let mut value = 0;
        for (index, byte) in (0_usize..4).zip(bytes) {
            value |= u32::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                let len = index + 1;
                return Ok(Some(Self { value, len }));
            }
        }
        if bytes.len() < 4 {
            return Ok(None);
        }
        Err(ProtocolError::VarintTooLong)
    }

    /// Whether no shorter form has the same value [MQTT-1.5.5-1].
    pub(crate) fn is_minimal(self) -> bool {
        self.len == len(self.value)
    }
}

/// How many bytes a value takes.
#[inline]
pub(crate) fn len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Writes a value up to [`MAX`].
#[inline]
pub(crate) fn write(mut value: u32, out: &mut BytesMut) {
    while value > 0x7F {
        let [septet, ..] = value.to_le_bytes();
        out.put_u8(septet | 0x80);
        value >>= 7;
    }
    let [septet, ..] = value.to_le_bytes();
    out.put_u8(septet);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(read: &[u8], expected: Result<Option<(u32, usize)>, ProtocolError>) {
        let found = Varint::read(read).map(|it| it.map(|it| (it.value, it.len)));
        assert_eq!(found, expected, "{read:02x?}");
    }

    #[test]
    fn mqtt_1_5_5_values_are_those_of_table_1_1() {
        for (value, form) in [
            (0, &[0x00][..]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (MAX, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ] {
            check(form, Ok(Some((value, form.len()))));
            let mut out = BytesMut::new();
            write(value, &mut out);
            assert_eq!((&*out, len(value)), (form, form.len()));
        }
    }

    #[test]
    fn mqtt_1_5_5_a_fifth_byte_is_malformed_and_a_missing_one_is_awaited() {
        check(&[], Ok(None));
        check(&[0xFF, 0xFF, 0xFF], Ok(None));
        check(&[0xFF, 0xFF, 0xFF, 0xFF], Err(ProtocolError::VarintTooLong));
        check(
            &[0x80, 0x80, 0x80, 0x80, 0x00],
            Err(ProtocolError::VarintTooLong),
        );
    }

    #[test]
    fn mqtt_1_5_5_1_a_longer_form_than_needed_is_noticed() {
        for form in [
            &[0x80, 0x00][..],
            &[0xFF, 0x80, 0x00],
            &[0x80, 0x80, 0x80, 0x00],
        ] {
            assert!(!Varint::read(form).unwrap().unwrap().is_minimal());
        }
    }
}
