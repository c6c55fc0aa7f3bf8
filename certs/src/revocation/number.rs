//! The number of a revocation list (RFC 5280 §5.2.3): it only rises.
//!
//! Numbers have up to 20 octets, and are compared as numbers however they were written.

use std::fmt;

use super::der::Broken;
use crate::text::as_json_text;
use crate::text::hex::{Hex, from_hex};

/// The number of a revocation list: 0 to 2^160 - 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListNumber([u8; Self::LEN]);

impl ListNumber {
    const LEN: usize = 20;

    /// Reads what [`fmt::Display`] wrote: decimal, or `0x` and hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("0x") {
            Some(digits) => Self::from_octets(&from_hex(digits)?).ok(),
            None if text.starts_with('+') => None,
            None => text.parse().ok().map(|number: u64| number.into()),
        }
    }

    /// The number as one that a ledger keeps; `None` when it is larger.
    pub fn to_u64(self) -> Option<u64> {
        let (high, low) = self.0.split_at(Self::LEN - size_of::<u64>());
        let fold = |number: u64, octet: &u8| number << 8 | u64::from(*octet);
        high.iter()
            .all(|octet| *octet == 0)
            .then(|| low.iter().fold(0, fold))
    }

    /// The number without leading zeros, most significant octet first.
    pub fn as_octets(&self) -> &[u8] {
        let zeros = self.0.iter().take_while(|octet| **octet == 0).count();
        self.0.get(zeros.min(Self::LEN - 1)..).unwrap_or_default()
    }

    /// Reads the content of a DER integer.
    pub(super) fn read(content: &[u8]) -> Result<Self, Broken> {
        match content {
            [] | [0x80..=0xff, ..] | [0, 0..0x80, ..] => Err(Broken),
            content => Self::from_octets(content),
        }
    }

    fn from_octets(octets: &[u8]) -> Result<Self, Broken> {
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        let significant = octets.get(zeros..).unwrap_or_default();
        let mut number = [0; Self::LEN];
        let start = Self::LEN.checked_sub(significant.len()).ok_or(Broken)?;
        number
            .get_mut(start..)
            .ok_or(Broken)?
            .copy_from_slice(significant);
        Ok(Self(number))
    }
}

impl From<u64> for ListNumber {
    fn from(number: u64) -> Self {
        let mut octets = [0; Self::LEN];
        let mut rest = number;
        for octet in octets.iter_mut().rev() {
            *octet = u8::try_from(rest & 0xff).unwrap_or_default();
            rest >>= 8;
        }
        Self(octets)
    }
}

impl fmt::Display for ListNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_u64() {
            Some(number) => write!(f, "{number}"),
            None => write!(f, "0x{}", Hex(self.as_octets())),
        }
    }
}

as_json_text!(
    ListNumber,
    ListNumber::parse,
    "the number of a revocation list"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_5280_5_2_3_a_number_has_up_to_20_octets() {
        for (content, expected) in [
            (&[0][..], Some("0")),
            (&[7], Some("7")),
            (&[0, 0x80], Some("128")),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0], Some("0x010000000000000000")),
            (
                &[0x7f; 20],
                Some("0x7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f"),
            ),
            (&[1; 21], None),
            (&[0x80], None),
            (&[0, 7], None),
            (&[], None),
        ] {
            let number = ListNumber::read(content).ok();
            assert_eq!(number.map(|number| number.to_string()).as_deref(), expected);
            if let Some(number) = number {
                assert_eq!(ListNumber::parse(&number.to_string()), Some(number));
            }
        }
        for text in ["", "+1", "-1", "1 ", "0x", "18446744073709551616"] {
            assert_eq!(ListNumber::parse(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let [small, large] = [255, 256].map(ListNumber::from);
        assert!(small < large && large.to_u64() == Some(256));
        assert!(ListNumber::read(&[1, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap() > u64::MAX.into());
    }
}
