//! A token: 160 random bits in 32 letters and digits, shown once.
//!
//! Only its hash is kept. A slow hash would add nothing: nobody guesses 160 random bits.

use std::fmt;

use aws_lc_rs::rand;
use certs::sha256;
use zeroize::Zeroizing;

use crate::error::CommandError;

/// As RFC 4648 §6 has it, in lower case: nothing in it is mistaken for something else.
const DIGITS: [u8; 32] = *b"abcdefghijklmnopqrstuvwxyz234567";

/// 160 bits.
const RANDOM_LEN: usize = 20;

/// What lets a device enrol once. Nothing but [`Self::as_str`] shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(Zeroizing<String>);

impl TokenText {
    /// A new one.
    pub(crate) fn random() -> Result<Self, CommandError> {
        let mut octets = Zeroizing::new([0; RANDOM_LEN]);
        rand::fill(&mut *octets).map_err(|_| CommandError::NoRandomness)?;
        Ok(Self(Zeroizing::new(base32(&octets))))
    }

    /// The text, for whoever is to have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its hash, by which it is known here.
    pub(crate) fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText")
    }
}

/// The hash of what somebody shows as a token.
pub(crate) fn hash(text: &str) -> [u8; 32] {
    sha256(text.as_bytes())
}

/// Each five octets are eight digits.
fn base32(octets: &[u8; RANDOM_LEN]) -> String {
    let (fives, _) = octets.as_chunks::<5>();
    let mut text = String::with_capacity(RANDOM_LEN / 5 * 8);
    for five in fives {
        let bits = five
            .iter()
            .fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
        for place in (0..8).rev() {
            let digit = usize::try_from(bits >> (5 * place) & 31).unwrap_or(0);
            text.extend(DIGITS.get(digit).map(|digit| char::from(*digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_a_token_has_160_bits_in_base32() {
        assert_eq!(base32(b"foobafoobafoobafooba"), "mzxw6ytb".repeat(4));
        assert_eq!(base32(&[0xff; 20]), "7".repeat(32));
    }

    #[test]
    fn no_two_tokens_are_alike_and_none_shows_itself() {
        let (one, two) = (TokenText::random().unwrap(), TokenText::random().unwrap());
        assert_ne!(one.hash(), two.hash());
        assert_eq!(one.as_str().len(), 32);
        assert!(!format!("{one:?}").contains(one.as_str()));
        assert_eq!(hash(one.as_str()), one.hash());
    }
}
