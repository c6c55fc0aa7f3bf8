//! Which topic a PUBLISH means that says a name, an alias or both.
//!
//! What is handed on is valid and whole, however little of it the peer said.

use super::alias::AliasesIn;
use crate::ProtocolError;
use crate::topic::TopicName;
use std::num::NonZeroU16;

/// How many names are kept.
const KEPT_MAX: usize = 4;
/// The longest name that is kept, in bytes: an idle connection must not hold much.
const KEPT_LEN_MAX: usize = 256;
/// Of how many new names one is kept in place of the oldest: who says ever new ones should not
/// pay for it each time.
const NEW_PER_KEPT: usize = 16;

/// The topic names of a peer. Most publish to the same few over and over, and what was said
/// before need not be checked or copied again.
///
/// Memory: a few names, and those that have an alias.
#[derive(Debug)]
pub(super) struct TopicsIn {
    kept: [Option<TopicName>; KEPT_MAX],
    /// How many names were not among those.
    new: usize,
    aliases: AliasesIn,
}

impl TopicsIn {
    /// Of a peer that may use so many aliases.
    pub(super) fn new(topic_alias_max: u16) -> Self {
        Self {
            kept: [const { None }; KEPT_MAX],
            new: 0,
            aliases: AliasesIn::new(topic_alias_max),
        }
    }

    /// What a PUBLISH with this name, perhaps an empty one, and this alias is published to.
    ///
    /// # Errors
    /// If the name is invalid, or missing without an alias, or the alias stands for nothing.
    #[inline]
    pub(super) fn topic(
        &mut self,
        name: &[u8],
        alias: Option<NonZeroU16>,
    ) -> Result<TopicName, ProtocolError> {
        let name = if name.is_empty() {
            None
        } else {
            Some(self.named(name)?)
        };
        match alias {
            None => name.ok_or(ProtocolError::TopicMissing),
            Some(alias) => self
                .aliases
                .resolve(name, alias)
                .ok_or(ProtocolError::TopicAliasInvalid),
        }
    }

    #[inline]
    fn named(&mut self, name: &[u8]) -> Result<TopicName, ProtocolError> {
        let mut kept = self.kept.iter().flatten();
        match kept.find(|kept| is_same(kept.as_str().as_bytes(), name)) {
            Some(known) => Ok(known.clone()),
            None => self.new_name(name),
        }
    }

    #[inline]
    fn new_name(&mut self, name: &[u8]) -> Result<TopicName, ProtocolError> {
        let name = TopicName::read(name)?;
        if name.as_str().len() > KEPT_LEN_MAX {
            return Ok(name);
        }
        let oldest = self.new / NEW_PER_KEPT % KEPT_MAX;
        match self.kept.get_mut(oldest) {
            Some(place) if self.new.is_multiple_of(NEW_PER_KEPT) => *place = Some(name.clone()),
            _ => {}
        }
        self.new = self.new.wrapping_add(1);
        Ok(name)
    }
}

/// Whether two names are equal. Most that are not differ in their length or near their end, which
/// is seen without a call.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.last_chunk::<8>() == other.last_chunk() && one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says the names over and over; how many were not copied again in the last of the rounds.
    fn known_at_last(names: &[String], rounds: usize) -> usize {
        let mut topics = TopicsIn::new(0);
        let mut say = |name: &String| topics.topic(name.as_bytes(), None).unwrap();
        let mut last: Vec<_> = names.iter().map(&mut say).collect();
        let mut known = 0;
        for _ in 1..rounds {
            let said: Vec<_> = names.iter().map(&mut say).collect();
            assert_eq!(said, last);
            let pairs = said.iter().zip(&last);
            known = pairs
                .filter(|(one, it)| std::ptr::eq(one.as_str(), it.as_str()))
                .count();
            last = said;
        }
        known
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("devices/dev-1/{n}")).collect()
    }

    #[test]
    fn names_said_over_and_over_are_copied_once() {
        assert_eq!(known_at_last(&names(1), 2), 1);
        assert_eq!(known_at_last(&names(KEPT_MAX), 100), KEPT_MAX);
        assert!(known_at_last(&names(KEPT_MAX + 1), 100) <= KEPT_MAX);
        assert_eq!(known_at_last(&["x".into(), "y".into()], 100), 2);
    }

    #[test]
    fn a_long_name_is_not_kept() {
        assert_eq!(known_at_last(&["x".repeat(KEPT_LEN_MAX)], 2), 1);
        assert_eq!(known_at_last(&["x".repeat(KEPT_LEN_MAX + 1)], 2), 0);
    }

    #[test]
    fn names_that_differ_in_one_byte_are_told_apart() {
        for len in 1..40 {
            let name = "a".repeat(len);
            for at in 0..len {
                let mut other = name.clone();
                other.replace_range(at..=at, "b");
                let mut topics = TopicsIn::new(0);
                for said in [&name, &other, &name, &other] {
                    let topic = topics.topic(said.as_bytes(), None).unwrap();
                    assert_eq!(topic.as_str(), said);
                }
            }
        }
    }
}
