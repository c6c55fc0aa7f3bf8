//! The topic name: where a message is published.
//!
//! It is never empty and never has a wildcard.

use super::{InvalidTopic, Levels};
use crate::Text;
use crate::scan::has_any;
use std::borrow::Borrow;
use std::fmt;

/// A topic name [MQTT 5.0 §4.7]. Cloning counts a reference and copies nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Text);

impl TopicName {
    /// Takes a topic name from a string.
    ///
    /// # Errors
    /// If it is empty, has a wildcard or U+0000, or is longer than 65,535 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidTopic> {
        Self::from_text(Text::parse(text)?)
    }

    /// Takes a topic name from a packet's string, without copying it.
    ///
    /// # Errors
    /// If it is empty [MQTT-4.7.3-1] or has a wildcard [MQTT-3.3.2-2].
    #[inline]
    pub fn from_text(text: Text) -> Result<Self, InvalidTopic> {
        Self::check(&text)?;
        Ok(Self(text))
    }

    /// Looks at a topic name that is not kept.
    #[inline]
    pub(crate) fn check(text: &str) -> Result<(), InvalidTopic> {
        if text.is_empty() {
            return Err(InvalidTopic::Empty);
        }
        if has_any(text.as_bytes(), [b'+', b'#']) {
            return Err(InvalidTopic::WildcardInName);
        }
        Ok(())
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
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

    /// The same name in memory of its own, so that it does not keep the frame it came in.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(self.0.detached())
    }

    /// The name as a string of MQTT.
    pub fn text(&self) -> &Text {
        &self.0
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
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InvalidText;
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
        let map = HashMap::from([(TopicName::parse("a/b").unwrap(), 1)]);
        assert_eq!(map.get("a/b"), Some(&1));
    }
}
