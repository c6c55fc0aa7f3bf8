//! The serial number of a certificate: what revocation lists and the ledger know it by.
//!
//! Two serial numbers are equal exactly when their numbers are, however they were written.

use std::fmt;

use crate::refusal::Refusal;
use crate::text::as_json_text;
use crate::text::hex::{Hex, from_hex};

/// A serial number: 1 to 20 octets, positive (RFC 5280 §4.1.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial([u8; Self::LEN]);

impl Serial {
    const LEN: usize = 20;

    /// Makes a serial number of random octets: positive, and always of full length.
    pub fn from_random(mut octets: [u8; Self::LEN]) -> Self {
        let [first, ..] = &mut octets;
        *first = *first & 0x7f | 0x40;
        Self(octets)
    }

    /// Reads hexadecimal digits, as `openssl x509 -serial` and [`fmt::Display`] write them, with or
    /// without colons; `None` when they are not a serial number.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_octets(&from_hex(text)?).ok()
    }

    /// Reads the contents of a DER integer.
    pub(crate) fn read(content: &[u8]) -> Result<Self, Refusal> {
        if content.first().is_none_or(|first| first & 0x80 != 0) {
            return Err(Refusal::Malformed("its serial number is not positive"));
        }
        Self::from_octets(content)
    }

    /// Makes a serial number of its octets, most significant first.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] when it is zero or has more than 20 significant octets.
    pub fn from_octets(octets: &[u8]) -> Result<Self, Refusal> {
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        let significant = octets.get(zeros..).unwrap_or_default();
        let mut serial = [0; Self::LEN];
        let place = Self::LEN
            .checked_sub(significant.len())
            .and_then(|start| serial.get_mut(start..));
        match place {
            Some(place) if !significant.is_empty() => place.copy_from_slice(significant),
            Some(_) => return Err(Refusal::Malformed("its serial number is zero")),
            None => {
                return Err(Refusal::Malformed(
                    "its serial number is longer than 20 octets",
                ));
            }
        }
        Ok(Self(serial))
    }

    /// Whether it has all 20 octets, as [`Serial::from_random`] makes it.
    pub fn is_full_length(&self) -> bool {
        self.as_octets().len() == Self::LEN
    }

    /// The octets, most significant first, without leading zeros.
    pub fn as_octets(&self) -> &[u8] {
        let zeros = self.0.iter().take_while(|octet| **octet == 0).count();
        self.0.get(zeros..).unwrap_or_default()
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(self.as_octets()).fmt(f)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

as_json_text!(
    Serial,
    Serial::parse,
    "a serial number in hexadecimal digits"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_its_number() {
        let one = Serial::from_octets(&[1]).unwrap();
        assert_eq!(Serial::read(&[0, 1]), Ok(one));
        assert_eq!(Serial::from_octets(&[0; 30]).ok(), None);
        assert_eq!(one.as_octets(), [1]);
        assert_eq!(
            Serial::read(&[0x80]),
            Err(Refusal::Malformed("its serial number is not positive"))
        );
        assert_eq!(
            Serial::read(&[]),
            Err(Refusal::Malformed("its serial number is not positive"))
        );
    }

    #[test]
    fn a_serial_number_is_read_as_openssl_writes_it() {
        let serial = Serial::from_octets(&[0x0a, 0xff]).unwrap();
        for text in ["0aff", "0AFF", "00:0A:FF"] {
            assert_eq!(Serial::parse(text), Some(serial), "{text}");
        }
        for text in ["", "00", "aff", "0x0a", &"11".repeat(21)] {
            assert_eq!(Serial::parse(text), None, "{text}");
        }
        assert_eq!(serial.to_string(), "0aff");
    }

    #[test]
    fn a_random_serial_number_is_positive_and_of_full_length() {
        for octet in [0, 0x7f, 0x80, 0xff] {
            let serial = Serial::from_random([octet; 20]);
            assert_eq!(serial.as_octets().len(), 20);
            assert_eq!(Serial::read(serial.as_octets()), Ok(serial));
        }
    }
}
