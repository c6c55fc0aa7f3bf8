//! What may be said of a device: attributes, groups and tags.
//!
//! Names are like device ids and values are text on one line, so that both can stand in a policy, a
//! log line and a registry export.

use thiserror::Error;

use crate::device_id::{DeviceId, InvalidDeviceId};

/// How many attributes, groups or tags a device may have of each.
pub const LABELS_MAX: usize = 64;

/// Octets of an attribute's value.
const VALUE_LEN_MAX: usize = 256;

/// Checks the name of an attribute, a group or a tag.
///
/// # Errors
/// [`InvalidLabel::Name`] says which rule it breaks.
pub fn check_name(name: &str) -> Result<(), InvalidLabel> {
    DeviceId::parse(name).map(drop).map_err(InvalidLabel::Name)
}

/// Checks the value of an attribute.
///
/// # Errors
/// [`InvalidLabel`] says which rule it breaks; it does not repeat the value.
pub fn check_value(value: &str) -> Result<(), InvalidLabel> {
    if value.len() > VALUE_LEN_MAX {
        return Err(InvalidLabel::ValueTooLong(value.len()));
    }
    match value.chars().find(|c| c.is_control()) {
        Some(control) => Err(InvalidLabel::Control(control)),
        None => Ok(()),
    }
}

/// Why something cannot be said of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidLabel {
    /// A name is not like a device id.
    #[error("names are like device ids: {}", .0)]
    Name(InvalidDeviceId),
    /// A value is too long.
    #[error("a value has at most {VALUE_LEN_MAX} octets, this one has {0}")]
    ValueTooLong(usize),
    /// A value has a control character.
    #[error("a value has no control characters, such as {0:?}")]
    Control(char),
    /// A device has too many of them.
    #[error("a device has at most {LABELS_MAX} attributes, groups and tags each, not {0}")]
    TooMany(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_said_of_a_device_is_text_on_one_line() {
        for value in ["", "Zürich", "a b, \"c\"", &"x".repeat(256)] {
            assert_eq!(check_value(value), Ok(()), "{value}");
        }
        for (value, why) in [
            ("a\nb", InvalidLabel::Control('\n')),
            ("a\0", InvalidLabel::Control('\0')),
            ("\u{1b}[2J", InvalidLabel::Control('\u{1b}')),
            (&"x".repeat(257), InvalidLabel::ValueTooLong(257)),
        ] {
            assert_eq!(check_value(value), Err(why), "{value:?}");
        }
    }

    #[test]
    fn a_name_is_like_a_device_id() {
        assert_eq!(check_name("site"), Ok(()));
        for name in ["", "../x", "a b", "a=b", "é"] {
            assert!(
                matches!(check_name(name), Err(InvalidLabel::Name(_))),
                "{name}"
            );
        }
    }
}
