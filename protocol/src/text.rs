//! The UTF-8 encoded string of MQTT: at most 65,535 bytes, and never a U+0000.
//!
//! A `Text` that exists is valid; nothing that holds one checks again.

use crate::scan::has_any;
use bytes::Bytes;
use bytestring::ByteString;
use std::fmt;
use std::ops::Deref;

/// A UTF-8 encoded string [MQTT-1.5.4-1] [MQTT-1.5.4-2], shared with the frame it came in.
///
/// Cloning is cheap: it counts a reference and copies nothing.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(ByteString);

impl Text {
    /// The longest string that the two length bytes can announce, in bytes.
    pub const LEN_MAX: usize = u16::MAX as usize;

    /// Takes a string that some other part of us made.
    ///
    /// # Errors
    /// If it holds U+0000 or is longer than [`Self::LEN_MAX`] bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        check_len(text.len())?;
        check_content(text)?;
        Ok(Self(ByteString::from(text)))
    }

    /// Takes a string from a frame without copying it.
    ///
    /// # Errors
    /// If it is not UTF-8 (surrogates are not), holds U+0000, or is longer than
    /// [`Self::LEN_MAX`] bytes.
    #[inline]
    pub fn from_bytes(bytes: Bytes) -> Result<Self, InvalidText> {
        check_len(bytes.len())?;
        let text = ByteString::try_from(bytes).map_err(|_| InvalidText::NotUtf8)?;
        check_content(&text)?;
        Ok(Self(text))
    }

    /// Looks at a string that is not kept.
    pub(crate) fn check(bytes: &[u8]) -> Result<&str, InvalidText> {
        check_len(bytes.len())?;
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidText::NotUtf8)?;
        check_content(text)?;
        Ok(text)
    }

    /// The string itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same string in memory of its own, so that a small string does not keep a large frame.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(ByteString::from(self.as_str()))
    }
}

fn check_len(len: usize) -> Result<(), InvalidText> {
    if len > Text::LEN_MAX {
        return Err(InvalidText::TooLong);
    }
    Ok(())
}

#[inline]
fn check_content(text: &str) -> Result<(), InvalidText> {
    if has_any(text.as_bytes(), [0]) {
        return Err(InvalidText::Nul);
    }
    Ok(())
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    /// Control characters are escaped: a peer's text must stay on its line in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_str().escape_debug())
    }
}

/// Why some bytes are not a UTF-8 encoded string of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidText {
    /// Ill-formed UTF-8, surrogates included [MQTT-1.5.4-1].
    #[error("not well-formed UTF-8")]
    NotUtf8,
    /// It includes U+0000 [MQTT-1.5.4-2].
    #[error("holds the character U+0000")]
    Nul,
    /// More than 65,535 bytes.
    #[error("longer than 65,535 bytes")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &'static [u8], expected: Result<&str, InvalidText>) {
        let text = Text::from_bytes(Bytes::from_static(bytes));
        assert_eq!(
            text.as_ref().map(Text::as_str),
            expected.as_ref().map(|text| *text)
        );
    }

    #[test]
    fn mqtt_1_5_4_only_well_formed_utf8_without_nul_is_text() {
        check(b"", Ok(""));
        check("é/x".as_bytes(), Ok("é/x"));
        check(b"a\0b", Err(InvalidText::Nul));
        check(b"\xED\xA0\x80", Err(InvalidText::NotUtf8));
        check(b"\xC0\xAF", Err(InvalidText::NotUtf8));
        check(b"\xFF", Err(InvalidText::NotUtf8));
    }

    #[test]
    fn mqtt_1_5_4_3_a_byte_order_mark_is_kept() {
        check(b"\xEF\xBB\xBFa", Ok("\u{feff}a"));
    }

    #[test]
    fn a_peers_text_stays_on_one_line() {
        let text = Text::parse("a\nb\u{1b}[31m").unwrap();
        assert_eq!(text.to_string(), "a\\nb\\u{1b}[31m");
    }
}
