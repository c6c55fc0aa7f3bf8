//! Topic aliases: numbers that stand for topic names on one connection [MQTT 5.0 §3.3.2.3.4].
//!
//! Each side has its own, and no more of them than the other allowed.

use crate::packet::Alias;
use crate::topic::TopicName;
use std::collections::HashMap;
use std::num::NonZeroU16;

/// The aliases that the peer chose. Memory: one topic name for each that it used.
#[derive(Debug)]
pub(super) struct AliasesIn {
    maximum: u16,
    names: HashMap<NonZeroU16, TopicName>,
}

impl AliasesIn {
    pub(super) fn new(maximum: u16) -> Self {
        let names = HashMap::new();
        Self { maximum, names }
    }

    /// What a PUBLISH with this alias, and perhaps a name to bind it to, is published to; `None`
    /// if the alias is above the maximum or stands for nothing.
    pub(super) fn resolve(
        &mut self,
        name: Option<TopicName>,
        alias: NonZeroU16,
    ) -> Option<TopicName> {
        let Some(name) = name else {
            return self.names.get(&alias).cloned();
        };
        // [MQTT-3.3.2-9]
        if alias.get() > self.maximum {
            return None;
        }
        if self.names.get(&alias) != Some(&name) {
            self.names.insert(alias, name.clone());
        }
        Some(name)
    }
}

/// The aliases that we chose. The first topic names get one, until the peer's maximum is reached.
///
/// Memory: one topic name for each, so that the peer's maximum may have to be capped.
#[derive(Debug)]
pub struct AliasesOut {
    maximum: u16,
    numbers: HashMap<TopicName, NonZeroU16>,
}

impl AliasesOut {
    /// With the topic alias maximum of the peer, or less [MQTT-3.1.2-26].
    pub fn new(maximum: u16) -> Self {
        let numbers = HashMap::new();
        Self { maximum, numbers }
    }

    /// How the next PUBLISH to this topic name is written.
    ///
    /// A new alias counts as known from here on. If that PUBLISH is not sent after all, it has to
    /// be taken back: see [`Self::forget`].
    pub fn choose(&mut self, name: &TopicName) -> Alias {
        if self.maximum == 0 {
            return Alias::None;
        }
        if let Some(number) = self.numbers.get(name) {
            return Alias::Known(*number);
        }
        let used = u16::try_from(self.numbers.len()).unwrap_or(u16::MAX);
        if used >= self.maximum {
            return Alias::None;
        }
        let number = NonZeroU16::MIN.saturating_add(used);
        self.numbers.insert(name.clone(), number);
        Alias::New(number)
    }

    /// Takes back the alias that was chosen last.
    pub fn forget(&mut self, name: &TopicName) {
        let number = self
            .numbers
            .get(name)
            .map(|number| usize::from(number.get()));
        if number == Some(self.numbers.len()) {
            self.numbers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    fn number(number: u16) -> NonZeroU16 {
        NonZeroU16::new(number).unwrap()
    }

    #[test]
    fn mqtt_3_3_2_an_alias_stands_for_the_name_it_came_with_last() {
        let mut aliases = AliasesIn::new(2);
        let mut check = |topic: Option<&str>, alias: u16, expected: Option<&str>| {
            let found = aliases.resolve(topic.map(name), number(alias));
            assert_eq!(found, expected.map(name), "{topic:?} {alias:?}");
        };
        check(None, 1, None);
        check(Some("a"), 1, Some("a"));
        check(Some("b"), 2, Some("b"));
        check(Some("c"), 3, None);
        check(None, 3, None);
        check(None, 1, Some("a"));
        check(Some("d"), 1, Some("d"));
        check(None, 1, Some("d"));
        check(None, 2, Some("b"));
    }

    #[test]
    fn mqtt_3_1_2_26_no_more_aliases_are_chosen_than_the_peer_takes() {
        let mut aliases = AliasesOut::new(2);
        assert_eq!(aliases.choose(&name("a")), Alias::New(number(1)));
        assert_eq!(aliases.choose(&name("b")), Alias::New(number(2)));
        assert_eq!(aliases.choose(&name("c")), Alias::None);
        assert_eq!(aliases.choose(&name("a")), Alias::Known(number(1)));
        assert_eq!(AliasesOut::new(0).choose(&name("a")), Alias::None);
    }

    #[test]
    fn an_alias_that_was_not_sent_is_not_known() {
        let mut aliases = AliasesOut::new(2);
        aliases.choose(&name("a"));
        aliases.choose(&name("b"));
        aliases.forget(&name("b"));
        assert_eq!(aliases.choose(&name("c")), Alias::New(number(2)));
        assert_eq!(aliases.choose(&name("b")), Alias::None);
    }
}
