//! The topic filter: what a subscription asks for.
//!
//! Every question about two filters is answered from their levels, in linear time.

use super::{InvalidTopic, Levels, TopicName, shared};
use crate::Text;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A topic filter, shared or not [MQTT 5.0 §4.7] [MQTT 5.0 §4.8.2].
///
/// Its *pattern* is what topic names are matched with: all of it, or what stands behind
/// `$share/{group}/`. Cloning counts a reference and copies nothing.
#[derive(Clone)]
pub struct TopicFilter {
    text: Text,
    /// Follows from `text`, which is why comparisons leave it out.
    pattern_start: u16,
}

impl TopicFilter {
    /// Takes a topic filter from a string.
    ///
    /// # Errors
    /// If it is empty, has a wildcard where none may be, breaks the grammar of `$share`, has
    /// U+0000, or is longer than 65,535 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidTopic> {
        Self::from_text(Text::parse(text)?)
    }

    /// Takes a topic filter from a packet's string, without copying it.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_text(text: Text) -> Result<Self, InvalidTopic> {
        if text.is_empty() {
            return Err(InvalidTopic::Empty);
        }
        let filter = Self {
            pattern_start: shared::pattern_start(&text)?,
            text,
        };
        check_wildcards(filter.pattern())?;
        Ok(filter)
    }

    /// The whole filter, with `$share/{group}/` where it is shared.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// What topic names are matched with.
    pub fn pattern(&self) -> &str {
        self.as_str()
            .get(usize::from(self.pattern_start)..)
            .unwrap_or_default()
    }

    /// The group of a shared subscription [MQTT-4.8.2-1].
    pub fn share_group(&self) -> Option<&str> {
        shared::group(self.as_str(), self.pattern_start)
    }

    /// The levels of the pattern.
    pub fn levels(&self) -> Levels<'_> {
        self.pattern().split('/')
    }

    /// How many levels the pattern has; at least one.
    pub fn levels_len(&self) -> usize {
        1 + self.pattern().bytes().filter(|byte| *byte == b'/').count()
    }

    /// Whether the pattern has `+` or `#`.
    pub fn has_wildcards(&self) -> bool {
        self.pattern().contains(['+', '#'])
    }

    /// Whether the pattern matches this topic name [MQTT-4.7.1-1] [MQTT-4.7.1-2]
    /// [MQTT-4.7.2-1].
    pub fn matches(&self, name: &TopicName) -> bool {
        if name.is_reserved() && self.begins_with_wildcard() {
            return false;
        }
        matches(self.pattern().as_bytes(), name.as_str().as_bytes())
    }

    /// Whether every topic name that `other` matches is matched by `self`. Groups do not count:
    /// the patterns are compared.
    pub fn includes(&self, other: &Self) -> bool {
        // All there is has a first level, so here, and only here, `+/#` is as wide as `#`.
        if self.pattern() == "+/#" && other.pattern() == "#" {
            return true;
        }
        if other.is_reserved() && self.begins_with_wildcard() {
            return false;
        }
        let mut levels = other.levels_of_names();
        for wanted in self.levels() {
            match (wanted, levels.next()) {
                ("#", _) => return true,
                // `#` stands for the parent too, and for any depth: no other level does.
                (_, Some("#") | None) => return false,
                ("+", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                (_, Some(_)) => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether some topic name is matched by both. Groups do not count: the patterns are compared.
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.is_reserved() && other.begins_with_wildcard()
            || other.is_reserved() && self.begins_with_wildcard()
        {
            return false;
        }
        let (mut ours, mut theirs) = (self.levels_of_names(), other.levels_of_names());
        loop {
            match (ours.next(), theirs.next()) {
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
                (Some(our), Some(their)) if our == their => {}
                (Some(_) | None, Some(_) | None) => return false,
            }
        }
    }

    /// The levels of a filter that matches the same topic names: no name is empty, so that `/#`
    /// matches none without a second level, though its parent is the empty one.
    fn levels_of_names(&self) -> Levels<'_> {
        match self.pattern() {
            "/#" => "/+/#".split('/'),
            pattern => pattern.split('/'),
        }
    }

    /// The same filter in memory of its own, so that it does not keep the frame it came in.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            text: self.text.detached(),
            pattern_start: self.pattern_start,
        }
    }

    /// The whole filter as a string of MQTT.
    pub fn text(&self) -> &Text {
        &self.text
    }

    fn begins_with_wildcard(&self) -> bool {
        self.pattern().starts_with(['+', '#'])
    }

    fn is_reserved(&self) -> bool {
        self.pattern().starts_with('$')
    }
}

/// Goes through both at once; what is equal so far is gone from their front.
fn matches(mut pattern: &[u8], mut name: &[u8]) -> bool {
    loop {
        match (pattern, name) {
            // `#` also stands for the parent level.
            ([b'#', ..], _) | ([b'/', b'#'] | [], []) => return true,
            ([b'+', pattern_rest @ ..], _) => {
                let level_len = name.iter().position(|byte| *byte == b'/');
                name = level_len
                    .and_then(|len| name.get(len..))
                    .unwrap_or_default();
                pattern = pattern_rest;
            }
            ([wanted, pattern_rest @ ..], [byte, name_rest @ ..]) if wanted == byte => {
                pattern = pattern_rest;
                name = name_rest;
            }
            (_, _) => return false,
        }
    }
}

/// `+` and `#` fill their level, and `#` is the last one [MQTT-4.7.1-1] [MQTT-4.7.1-2].
fn check_wildcards(pattern: &str) -> Result<(), InvalidTopic> {
    let mut levels = pattern.split('/');
    while let Some(level) = levels.next() {
        match level {
            "+" => {}
            "#" if levels.next().is_some() => return Err(InvalidTopic::LevelsAfterHash),
            "#" => return Ok(()),
            level if level.contains(['+', '#']) => return Err(InvalidTopic::WildcardInLevel),
            _ => {}
        }
    }
    Ok(())
}

impl PartialEq for TopicFilter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TopicFilter {}

impl Hash for TopicFilter {
    /// As the text does, so that a map is searched by `&str`.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for TopicFilter {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TopicFilter {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Borrow<str> for TopicFilter {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for TopicFilter {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TopicFilter").field(&self.text).finish()
    }
}

impl fmt::Display for TopicFilter {
    /// Control characters are escaped, as with every text of a peer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::LazyLock;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    #[track_caller]
    fn check_parse(text: &str, expected: Result<(Option<&str>, &[&str]), InvalidTopic>) {
        match TopicFilter::parse(text) {
            Ok(filter) => {
                let levels: Vec<_> = filter.levels().collect();
                assert_eq!(Ok((filter.share_group(), &*levels)), expected, "{text:?}");
                assert_eq!(filter.levels_len(), levels.len());
                assert_eq!(filter.as_str(), text);
            }
            Err(error) => assert_eq!(Err(error), expected, "{text:?}"),
        }
    }

    #[track_caller]
    fn check_match(pattern: &str, name: &str, expected: bool) {
        let name = TopicName::parse(name).unwrap();
        assert_eq!(
            filter(pattern).matches(&name),
            expected,
            "{pattern:?} {name:?}"
        );
    }

    #[track_caller]
    fn check_includes(wide: &str, narrow: &str, expected: bool) {
        assert_eq!(
            filter(wide).includes(&filter(narrow)),
            expected,
            "{wide:?} {narrow:?}"
        );
    }

    #[track_caller]
    fn check_overlaps(one: &str, other: &str, expected: bool) {
        assert_eq!(
            filter(one).overlaps(&filter(other)),
            expected,
            "{one:?} {other:?}"
        );
        assert_eq!(
            filter(other).overlaps(&filter(one)),
            expected,
            "{other:?} {one:?}"
        );
    }

    #[test]
    fn mqtt_4_7_1_a_wildcard_fills_its_level_and_hash_is_last() {
        check_parse("#", Ok((None, &["#"])));
        check_parse("+", Ok((None, &["+"])));
        check_parse("a/+/b/#", Ok((None, &["a", "+", "b", "#"])));
        check_parse("/", Ok((None, &["", ""])));
        check_parse("//+", Ok((None, &["", "", "+"])));
        check_parse("", Err(InvalidTopic::Empty));
        check_parse("a#", Err(InvalidTopic::WildcardInLevel));
        check_parse("a/+b", Err(InvalidTopic::WildcardInLevel));
        check_parse("++", Err(InvalidTopic::WildcardInLevel));
        check_parse("#/a", Err(InvalidTopic::LevelsAfterHash));
        check_parse("a/#/", Err(InvalidTopic::LevelsAfterHash));
    }

    #[test]
    fn mqtt_4_8_2_a_shared_filter_has_a_group_and_a_filter() {
        check_parse("$share/g/a/+", Ok((Some("g"), &["a", "+"])));
        check_parse("$share/g//", Ok((Some("g"), &["", ""])));
        check_parse(
            "$share/g/$share/h/t",
            Ok((Some("g"), &["$share", "h", "t"])),
        );
        check_parse("$share", Ok((None, &["$share"])));
        check_parse("$shares/g/t", Ok((None, &["$shares", "g", "t"])));
        check_parse("$share/", Err(InvalidTopic::ShareGroup));
        check_parse("$share//t", Err(InvalidTopic::ShareGroup));
        check_parse("$share/+/t", Err(InvalidTopic::ShareGroup));
        check_parse("$share/g#/t", Err(InvalidTopic::ShareGroup));
        check_parse("$share/g", Err(InvalidTopic::ShareFilter));
        check_parse("$share/g/", Err(InvalidTopic::ShareFilter));
        check_parse("$share/g/#/a", Err(InvalidTopic::LevelsAfterHash));
    }

    #[test]
    fn mqtt_4_7_1_hash_matches_parent_and_children() {
        check_match("sport/#", "sport", true);
        check_match("sport/#", "sport/", true);
        check_match("sport/#", "sport/tennis/player1", true);
        check_match("sport/#", "sports", false);
        check_match("#", "/", true);
    }

    #[test]
    fn mqtt_4_7_1_plus_matches_one_level_even_an_empty_one() {
        check_match("sport/+", "sport/", true);
        check_match("sport/+", "sport", false);
        check_match("sport/+", "sport/tennis/player1", false);
        check_match("+/+", "/finance", true);
        check_match("/+", "/finance", true);
        check_match("+", "/finance", false);
    }

    #[test]
    fn mqtt_4_7_2_a_leading_wildcard_does_not_match_a_dollar() {
        check_match("#", "$SYS/a", false);
        check_match("+/a", "$SYS/a", false);
        check_match("$SYS/#", "$SYS/a", true);
        check_match("a/#", "a/$SYS", true);
        check_match("$share/g/#", "$SYS/a", false);
        check_match("$share/g/a/#", "a/b", true);
    }

    #[test]
    fn a_filter_includes_what_is_nowhere_wider() {
        check_includes("#", "a/+/b", true);
        check_includes("#", "$SYS/#", false);
        check_includes("+/#", "#", true);
        check_includes("+/+/#", "#", false);
        check_includes("a/+/#", "a/#", false);
        check_includes("a/#", "a", true);
        check_includes("a/+", "a/#", false);
        check_includes("a/+", "a/b", true);
        check_includes("a/b", "a/+", false);
        check_includes("a", "$share/g/a", true);
    }

    #[test]
    fn filters_overlap_where_one_name_satisfies_both() {
        check_overlaps("a/+", "+/b", true);
        check_overlaps("a/#", "a", true);
        check_overlaps("a/#", "b/#", false);
        check_overlaps("a/+", "a", false);
        check_overlaps("#", "$SYS/#", false);
        check_overlaps("+/a", "$SYS/+", false);
        check_overlaps("$SYS/+", "$SYS/#", true);
    }

    #[test]
    fn cve_2019_11779_65_000_slashes_are_ordinary() {
        let slashes = "/".repeat(65_000);
        let deep = filter(&slashes);
        assert_eq!(deep.levels_len(), 65_001);
        assert!(deep.matches(&TopicName::parse(&slashes).unwrap()));
        assert!(deep.includes(&deep) && deep.overlaps(&deep));
    }

    #[test]
    fn a_filter_is_found_in_a_map_by_its_text() {
        let map = HashMap::from([(filter("$share/g/a/+"), 1)]);
        assert_eq!(map.get("$share/g/a/+"), Some(&1));
    }

    /// Every name of up to four levels, and the letters that no filter below uses.
    static NAMES: LazyLock<Vec<TopicName>> = LazyLock::new(|| {
        let letters = ["", "a", "b", "z", "$", "$a"];
        let mut texts: Vec<String> = letters.map(String::from).to_vec();
        let mut names = texts.clone();
        for _ in 1..4 {
            texts = texts
                .iter()
                .flat_map(|t| letters.map(|l| format!("{t}/{l}")))
                .collect();
            names.extend_from_slice(&texts);
        }
        names
            .iter()
            .filter_map(|name| TopicName::parse(name).ok())
            .collect()
    });

    /// Filters of up to three levels, so that the names above reach below every `#`.
    fn any_filter() -> impl Strategy<Value = TopicFilter> {
        let level = prop::sample::select(vec!["", "a", "b", "$", "$a", "+", "#"]);
        prop::collection::vec(level, 1..4).prop_filter_map("not a filter", |levels| {
            TopicFilter::parse(&levels.join("/")).ok()
        })
    }

    /// The same question, answered level by level.
    fn matches_by_levels(filter: &TopicFilter, name: &TopicName) -> bool {
        let mut levels = name.levels();
        for wanted in filter.levels() {
            match (wanted, levels.next()) {
                ("#", _) => return !(name.is_reserved() && filter.pattern() == "#"),
                ("+", Some(_)) if !(name.is_reserved() && filter.begins_with_wildcard()) => {}
                (wanted, Some(level)) if wanted == level => {}
                (_, _) => return false,
            }
        }
        levels.next().is_none()
    }

    proptest! {
        #[test]
        fn matches_says_what_the_levels_say(filter in any_filter()) {
            for name in &*NAMES {
                prop_assert_eq!(filter.matches(name), matches_by_levels(&filter, name), "{}", name);
            }
        }

        #[test]
        fn includes_says_what_enumeration_says(one in any_filter(), other in any_filter()) {
            let expected =
                NAMES.iter().filter(|name| other.matches(name)).all(|name| one.matches(name));
            prop_assert_eq!(one.includes(&other), expected);
        }

        #[test]
        fn what_has_an_empty_parent_has_a_second_level(one in any_filter()) {
            let below = TopicFilter::parse("/#").unwrap();
            let named = |name: &&TopicName| below.matches(name);
            let expected = NAMES.iter().filter(named).all(|name| one.matches(name));
            prop_assert_eq!(one.includes(&below), expected);
            let expected = NAMES.iter().filter(named).any(|name| one.matches(name));
            prop_assert_eq!(one.overlaps(&below), expected);
        }

        #[test]
        fn overlaps_says_what_enumeration_says(one in any_filter(), other in any_filter()) {
            let expected = NAMES.iter().any(|name| one.matches(name) && other.matches(name));
            prop_assert_eq!(one.overlaps(&other), expected);
            prop_assert_eq!(other.overlaps(&one), expected);
        }
    }
}
