//! The topic name: where a message is published.
//!
//! It is never empty and never has a wildcard.

use super::{InvalidTopic, Levels};
use crate::scan::has_any;
use crate::{InvalidText, Text};
use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A topic name [MQTT 5.0 §4.7], in memory of its own: it keeps no frame that it came in.
///
/// Cloning counts a reference and copies nothing; that clones are equal is seen without looking
/// at their text.
#[derive(Clone, Debug, Eq, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Takes a topic name from a string.
    ///
    /// # Errors
    /// If it is empty, has a wildcard or U+0000, or is longer than 65,535 bytes.
    #[inline]
    pub fn parse(text: &str) -> Result<Self, InvalidTopic> {
        Self::check(text)?;
        Ok(Self(Arc::from(text)))
    }

    /// Takes a topic name from a packet.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, InvalidTopic> {
        Self::parse(std::str::from_utf8(bytes).map_err(|_| InvalidText::NotUtf8)?)
    }

    /// Looks at a topic name that is not kept.
    #[inline]
    pub(crate) fn check(text: &str) -> Result<(), InvalidTopic> {
        if text.is_empty() {
            return Err(InvalidTopic::Empty);
        }
        if text.len() > Text::LEN_MAX {
            return Err(InvalidText::TooLong.into());
        }
        if has_any(text.as_bytes(), [0, b'+', b'#']) {
            return Err(offence(text));
        }
        Ok(())
    }

    /// The name itself.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels between the slashes; `/` has two empty ones.
    pub fn levels(&self) -> Levels<'_> {
        self.as_str().split('/')
    }

    /// How many levels there are; at least one.
    pub fn levels_len(&self) -> usize {
        1 + self.as_str().bytes().filter(|byte| *byte == b'/').count()
    }

    /// Whether it begins with `$`: the server's own, not for applications [MQTT 5.0 §4.7.2].
    pub fn is_reserved(&self) -> bool {
        self.as_str().starts_with('$')
    }
}

/// What a text has that a name must not have.
#[cold]
fn offence(text: &str) -> InvalidTopic {
    if text.contains('\0') {
        InvalidText::Nul.into()
    } else {
        InvalidTopic::WildcardInName
    }
}

impl PartialEq for TopicName {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Hash for TopicName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for TopicName {
    /// Control characters are escaped, as with every text of a peer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[track_caller]
    fn check(text: &str, expected: Result<&[&str], InvalidTopic>) {
        match TopicName::parse(text) {
            Ok(name) => {
                assert_eq!(
                    Ok(&*name.levels().collect::<Vec<_>>()),
                    expected,
                    "{text:?}"
                );
                assert_eq!(name.levels_len(), name.levels().count());
            }
            Err(error) => assert_eq!(Err(error), expected, "{text:?}"),
        }
    }

    #[test]
    fn mqtt_4_7_3_a_name_is_a_list_of_levels() {
        check("a", Ok(&["a"]));
        check("/", Ok(&["", ""]));
        check("/a//b/", Ok(&["", "a", "", "b", ""]));
        check("é/x y", Ok(&["é", "x y"]));
        check("$share/g/t", Ok(&["$share", "g", "t"]));
    }

    #[test]
    fn mqtt_4_7_3_a_name_is_not_empty_and_has_no_wildcard_or_nul() {
        check("", Err(InvalidTopic::Empty));
        check("+", Err(InvalidTopic::WildcardInName));
        check("a/b#", Err(InvalidTopic::WildcardInName));
        check("a\0", Err(InvalidTopic::Text(InvalidText::Nul)));
        check(
            &"x".repeat(65_536),
            Err(InvalidTopic::Text(InvalidText::TooLong)),
        );
    }

    #[test]
    fn mqtt_4_7_2_a_name_with_a_dollar_in_front_is_reserved() {
        assert!(TopicName::parse("$SYS/broker").unwrap().is_reserved());
        assert!(TopicName::parse("$").unwrap().is_reserved());
        assert!(!TopicName::parse("a/$SYS").unwrap().is_reserved());
    }

    #[test]
    fn a_name_is_found_in_a_map_by_its_text() {
        let name = TopicName::parse("a/b").unwrap();
        let map = HashMap::from([(name.clone(), 1)]);
        assert_eq!(map.get("a/b"), Some(&1));
        assert_eq!(map.get(&name), Some(&1));
        assert_eq!(map.get(&TopicName::parse("a/b").unwrap()), Some(&1));
        assert_eq!(map.get("a/c"), None);
    }

    #[test]
    fn a_peers_name_stays_on_one_line() {
        let name = TopicName::parse("a\nb").unwrap();
        assert_eq!(name.to_string(), "a\\nb");
    }
}
