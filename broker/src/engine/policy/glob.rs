//! Patterns of ids, in which `*` stands for any characters and all else for itself.
//!
//! Matching never goes back: its cost is that of searching the text once for each piece.

use certs::DeviceId;
use std::fmt;
use std::str::FromStr;

/// A pattern that a text matches or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Box<str>);

impl Glob {
    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else {
            return *text == *self.0;
        };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        let between = text
            .strip_prefix(head)
            .and_then(|text| text.strip_suffix(tail));
        let Some(mut between) = between else {
            return false;
        };
        for piece in middle.split('*') {
            // Where it first occurs: that leaves the most for the next.
            let Some((_, after)) = between.split_once(piece) else {
                return false;
            };
            between = after;
        }
        true
    }
}

impl FromStr for Glob {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Nothing);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern of device ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DevicePattern(Glob);

impl DevicePattern {
    /// The one id that it matches, if it is no more than that.
    pub(super) fn only_id(&self) -> Option<DeviceId> {
        DeviceId::parse(&self.0.0).ok()
    }

    /// An id that it matches.
    pub(super) fn sample(&self) -> Option<DeviceId> {
        DeviceId::parse(&self.0.0.replace('*', "1")).ok()
    }

    pub(super) fn matches(&self, id: &DeviceId) -> bool {
        self.0.matches(id.as_str())
    }
}

impl FromStr for DevicePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let one_of_its_ids = text.replace('*', "0");
        DeviceId::parse(&one_of_its_ids).map_err(|_| InvalidPattern::Device(text.into()))?;
        Ok(Self(Glob(text.into())))
    }
}

/// A pattern of client ids, in which `{device}` stands for the id in the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientIdPattern(Box<str>);

const DEVICE: &str = "{device}";

impl ClientIdPattern {
    /// What a device may call itself where no rule says so.
    pub(super) fn defaults() -> [Self; 3] {
        ["{device}", "{device}/*", "{device}:*"].map(|text| Self(text.into()))
    }

    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The pattern of the client ids of one device.
    pub(super) fn of(&self, device: &DeviceId) -> Glob {
        Glob(self.0.replace(DEVICE, device.as_str()).into())
    }
}

impl FromStr for ClientIdPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if text.replace(DEVICE, "").contains(['{', '}']) {
            return Err(InvalidPattern::Variable(text.into()));
        }
        Ok(Self(text.into()))
    }
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPattern {
    /// No device could have such an id.
    #[error(
        "{0:?} matches no device id; write an id, or a part of one with `*` for the rest, \
         as in \"sensor-*\""
    )]
    Device(String),
    /// No client has such an id: one that sends none is given one.
    #[error("no client id is empty; write \"*\" for any")]
    Empty,
    /// Nobody has a name without characters.
    #[error("an empty text matches nothing; write \"*\" for any")]
    Nothing,
    /// Braces around anything but `device`.
    #[error("{0:?}: the one variable in a client id is {{device}}")]
    Variable(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(
            Glob(pattern.into()).matches(text),
            expected,
            "{pattern:?} {text:?}"
        );
    }

    #[test]
    fn a_star_stands_for_any_characters_and_all_else_for_itself() {
        check("*", "", true);
        check("*", "anything/at:all", true);
        check("dev-1", "dev-1", true);
        check("dev-1", "dev-10", false);
        check("dev-*", "dev-", true);
        check("dev-*", "adev-1", false);
        check("*-eu", "dev-1-eu", true);
        check("a*a", "a", false);
        check("a*b*a", "aba", true);
        check("a*bc*a", "abbca", true);
        check("a**a", "aa", true);
        check(".?[x]", "a?x", false);
    }

    #[test]
    fn a_device_pattern_has_only_what_ids_have() {
        for pattern in ["*", "dev-1", "sensor-*", "*.eu", "a*b*c"] {
            assert!(DevicePattern::from_str(pattern).is_ok(), "{pattern:?}");
        }
        for pattern in ["", "a/b", "-*", "sensor-?", "{device}", "a b", "#"] {
            let invalid = InvalidPattern::Device(pattern.into());
            assert_eq!(DevicePattern::from_str(pattern), Err(invalid));
        }
    }

    #[test]
    fn a_client_id_pattern_knows_one_variable() {
        let device = DeviceId::parse("dev-1").unwrap();
        let pattern = ClientIdPattern::from_str("{device}-*").unwrap().of(&device);
        assert!(pattern.matches("dev-1-x"));
        assert!(!pattern.matches("dev-2-x"));
        for text in ["{client}", "{device", "device}", "{}", "{{device}}"] {
            let invalid = InvalidPattern::Variable(text.into());
            assert_eq!(ClientIdPattern::from_str(text), Err(invalid));
        }
        assert_eq!(ClientIdPattern::from_str(""), Err(InvalidPattern::Empty));
    }

    /// The definition, in exponential time.
    fn matches_by_definition(pattern: &str, text: &str) -> bool {
        let Some(first) = pattern.chars().next() else {
            return text.is_empty();
        };
        let rest = &pattern[1..];
        match first {
            '*' => (0..=text.len()).any(|skipped| matches_by_definition(rest, &text[skipped..])),
            _ => text
                .strip_prefix(first)
                .is_some_and(|text| matches_by_definition(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn matching_says_what_the_definition_says(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            let expected = matches_by_definition(&pattern, &text);
            prop_assert_eq!(Glob(pattern.into()).matches(&text), expected);
        }
    }
}
