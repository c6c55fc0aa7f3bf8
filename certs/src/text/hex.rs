//! Octets as hexadecimal digits: what people copy from one tool into another.
//!
//! Written in one way (lower case, nothing between); read also as OpenSSL writes it.

use std::fmt::{self, Write as _};

const DIGITS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
];

/// Octets, shown as lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not `{:02x}`: a broker writes four of these for each connection.
        let digits = self.0.iter().flat_map(|octet| [octet >> 4, octet & 0xf]);
        digits
            .filter_map(|digit| DIGITS.get(usize::from(digit)))
            .try_for_each(|digit| f.write_char(*digit))
    }
}

/// Reads pairs of digits in either case, with or without a colon between the pairs.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let plain: Vec<u8> = if text.contains(':') {
        let pairs = text.split(':');
        let whole = pairs.clone().all(|pair| pair.len() == 2);
        whole.then(|| pairs.flat_map(str::bytes).collect())?
    } else {
        text.bytes().collect()
    };
    let digit = |octet: u8| {
        char::from(octet)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let (pairs, rest) = plain.as_chunks::<2>();
    let octets: Option<Vec<u8>> = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect();
    octets.filter(|octets| rest.is_empty() && !octets.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_openssl_writes_them_and_as_we_do() {
        for text in ["00ff7a", "00FF7A", "00:FF:7A", "00:ff:7a"] {
            assert_eq!(from_hex(text), Some(vec![0, 0xff, 0x7a]), "{text}");
        }
        assert_eq!(Hex(&[0, 0xff, 0x7a]).to_string(), "00ff7a");
    }

    #[test]
    fn anything_else_is_no_hex() {
        for text in [
            "", "0", "0x12", "0g", "00:", ":00", "0:0", "00::ff", "00 ff", "é",
        ] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }
}
