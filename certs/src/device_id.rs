//! The name of one device, as it stands in certificates, topics, paths and log lines.
//!
//! A `DeviceId` holds nothing that a topic filter, a file system, a template or a log reads as
//! anything but text.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// The longest device id: it must fit the CN of a certificate (RFC 5280, `ub-common-name`).
const DEVICE_ID_LEN_MAX: usize = 64;

/// A device id: `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`.
///
/// Cheap to clone: all clones share one text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// Makes a device id of `text`, which is taken as it is: nothing is trimmed or normalised.
    ///
    /// # Errors
    /// [`InvalidDeviceId`] says which rule `text` breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidDeviceId> {
        let first = text.chars().next().ok_or(InvalidDeviceId::Empty)?;
        if !first.is_ascii_alphanumeric() {
            return Err(InvalidDeviceId::FirstCharacter(first));
        }
        if let Some(strange) = text.chars().find(|c| !is_permitted(*c)) {
            return Err(InvalidDeviceId::Character(strange));
        }
        if text.len() > DEVICE_ID_LEN_MAX {
            return Err(InvalidDeviceId::TooLong(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a device id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidDeviceId {
    /// There is no text.
    #[error("a device id has at least one character")]
    Empty,
    /// The text has more characters than a CN can hold.
    #[error("a device id has at most {DEVICE_ID_LEN_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// The first character is not a letter or a digit.
    #[error("a device id begins with a letter or a digit, not with {0:?}")]
    FirstCharacter(char),
    /// A later character is not permitted.
    #[error("a device id consists of letters, digits, '.', '_' and '-', {0:?} is none of them")]
    Character(char),
}

fn is_permitted(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for DeviceId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for DeviceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_is_taken_as_it_is() {
        for id in ["a", "7", "dev-1", "A.b_C-9", "a..b", &"x".repeat(64)] {
            assert_eq!(DeviceId::parse(id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn what_another_layer_would_interpret_is_no_device_id() {
        use InvalidDeviceId::{Character, Empty, FirstCharacter, TooLong};
        let cases: &[(&str, InvalidDeviceId)] = &[
            ("", Empty),
            ("+", FirstCharacter('+')),
            ("#", FirstCharacter('#')),
            ("$x", FirstCharacter('$')),
            ("${id}", FirstCharacter('$')),
            ("%u", FirstCharacter('%')),
            ("..", FirstCharacter('.')),
            (".*", FirstCharacter('.')),
            ("-rf", FirstCharacter('-')),
            (" dev-1", FirstCharacter(' ')),
            ("é", FirstCharacter('é')),
            ("e\u{301}", Character('\u{301}')),
            ("a/b", Character('/')),
            ("a\\b", Character('\\')),
            ("a:b", Character(':')),
            ("dev-1\n", Character('\n')),
            ("dev-1 ", Character(' ')),
            ("dev\0", Character('\0')),
            ("dev\u{202e}", Character('\u{202e}')),
            ("d\u{435}v", Character('\u{435}')),
            (&"x".repeat(65), TooLong(65)),
        ];
        for (text, why) in cases {
            assert_eq!(DeviceId::parse(text), Err(*why), "{text:?}");
        }
    }

    #[test]
    fn case_makes_two_device_ids() {
        assert_ne!(DeviceId::parse("Dev-1"), DeviceId::parse("dev-1"));
    }
}
