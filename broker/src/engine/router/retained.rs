//! Retained messages: the last one of each topic [MQTT 5.0 §3.3.1.3].
//!
//! They stand in the order of their levels, so that those a filter matches are found by leaping
//! over the others, and a search can stop and go on. Count and bytes stay within the limits, for
//! all and for each device.

use crate::engine::Limits;
use crate::engine::message::Message;
use crate::engine::time::Time;
use ahash::RandomState;
use certs::Subject;
use protocol::topic::{TopicFilter, TopicName};
use std::cmp::Ordering;
use std::collections::btree_map::{BTreeMap, Range};
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// How many messages one step of a search finds at most.
const FOUND_MAX: usize = 64;

/// How many topics one step of a search looks at, at most.
const LOOKED_AT_MAX: usize = 1024;

/// A topic name with its slashes as U+0000, which no topic name has: so that byte order keeps
/// what is below a level together.
type Key = Box<[u8]>;

/// The retained messages of the broker; every shard holds all of them.
#[derive(Debug)]
pub(in crate::engine) struct Retained {
    messages: BTreeMap<Key, Arc<Message>>,
    expiries: BTreeSet<(Time, Key)>,
    by_device: HashMap<Subject, usize, RandomState>,
    bytes: usize,
    limits: Limits,
}

/// A limit on retained messages is reached; what is kept stays, the newcomer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no more retained messages are kept")]
pub(in crate::engine) struct Refusal;

/// A search for the retained messages of a filter, as far as it has come.
#[derive(Debug)]
pub(in crate::engine) struct Scan {
    /// Everything before this key has been looked at; `None` when there is nothing more.
    from: Option<Vec<u8>>,
}

/// One step of one or more searches, bounded so that nobody else has to wait for long.
#[derive(Debug, Default)]
pub(in crate::engine) struct SearchStep {
    found: Vec<Arc<Message>>,
    found_len: usize,
    looked_at: usize,
}

/// What to do after a key was looked at.
enum Leap {
    /// It matches.
    Match,
    /// It does not, nor does any before this.
    To(Vec<u8>),
    /// Nor does any behind it.
    End,
}

impl Retained {
    pub(in crate::engine) fn new(limits: &Limits, hasher: RandomState) -> Self {
        Self {
            messages: BTreeMap::new(),
            expiries: BTreeSet::new(),
            by_device: HashMap::with_hasher(hasher),
            bytes: 0,
            limits: limits.clone(),
        }
    }

    /// What is there stays; what comes goes by these.
    pub(in crate::engine) fn change_limits(&mut self, limits: &Limits) {
        self.limits = limits.clone();
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.messages.len()
    }

    #[cfg(test)]
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.messages.values()
    }

    /// Whether [`Self::set`] would take a message of this topic and length from this device.
    ///
    /// # Errors
    /// If a limit forbids it.
    pub(in crate::engine) fn admit(
        &self,
        topic: &TopicName,
        payload_len: usize,
        device: &Subject,
    ) -> Result<(), Refusal> {
        let before = self.messages.get(&*key(topic));
        let bytes = self.bytes - before.map_or(0, |message| message.payload().len());
        let is_own = before.is_some_and(|message| message.device() == Some(device));
        let held = self.by_device.get(device).copied().unwrap_or_default();
        let is_full = before.is_none() && self.messages.len() >= self.limits.retained_len_max
            || !is_own && held >= self.limits.retained_per_device_max
            || bytes.saturating_add(payload_len) > self.limits.retained_bytes_max;
        if is_full { Err(Refusal) } else { Ok(()) }
    }

    /// Keeps a message in place of the one before.
    pub(in crate::engine) fn set(&mut self, message: Arc<Message>) {
        let key = key(message.topic());
        self.remove(&key);
        self.bytes += message.payload().len();
        if let Some(device) = message.device() {
            *self.by_device.entry(device.clone()).or_default() += 1;
        }
        if let Some(at) = message.expires_at() {
            self.expiries.insert((at, key.clone()));
        }
        self.messages.insert(key, message);
    }

    /// Forgets the message of a topic. Whether there was one.
    pub(in crate::engine) fn clear(&mut self, topic: &TopicName) -> bool {
        self.remove(&key(topic)).is_some()
    }

    /// When the next message expires.
    pub(in crate::engine) fn deadline(&self) -> Option<Time> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Takes out one message whose time is over, if there is one.
    pub(in crate::engine) fn take_expired(&mut self, now: Time) -> Option<Arc<Message>> {
        let (at, _) = self.expiries.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.expiries.pop_first()?;
        self.remove(&key)
    }

    /// Goes on with a search until nothing is left to look at or the step is over. Finds what
    /// matches, messages whose time is over included.
    pub(in crate::engine) fn search(
        &self,
        filter: &TopicFilter,
        scan: &mut Scan,
        step: &mut SearchStep,
    ) {
        let Some(mut from) = scan.from.take() else {
            return;
        };
        let mut entries = self.from(&from);
        while !step.is_over() {
            step.looked_at += 1;
            let Some((key, message)) = entries.next() else {
                return;
            };
            match leap(filter, key) {
                Leap::Match => {
                    step.found.push(Arc::clone(message));
                    step.found_len += 1;
                    from = [&**key, &[0]].concat();
                }
                Leap::To(next) => {
                    from = next;
                    entries = self.from(&from);
                }
                Leap::End => return,
            }
        }
        scan.from = Some(from);
    }

    fn from(&self, key: &[u8]) -> Range<'_, Key, Arc<Message>> {
        self.messages
            .range::<[u8], _>((Bound::Included(key), Bound::Unbounded))
    }

    fn remove(&mut self, key: &[u8]) -> Option<Arc<Message>> {
        let (key, message) = self.messages.remove_entry(key)?;
        self.bytes -= message.payload().len();
        if let Some(at) = message.expires_at() {
            self.expiries.remove(&(at, key));
        }
        if let Some(device) = message.device()
            && let Some(held) = self.by_device.get_mut(device)
        {
            *held -= 1;
            if *held == 0 {
                self.by_device.remove(device);
            }
        }
        Some(message)
    }
}

impl Scan {
    /// A search that has not begun.
    pub(in crate::engine) fn new() -> Self {
        Self {
            from: Some(Vec::new()),
        }
    }

    /// There is nothing to look at.
    pub(in crate::engine) fn end(&mut self) {
        self.from = None;
    }

    /// Whether there is nothing left to look at.
    pub(in crate::engine) fn is_done(&self) -> bool {
        self.from.is_none()
    }
}

impl SearchStep {
    /// Whether the next step has to wait.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.found_len >= FOUND_MAX || self.looked_at >= LOOKED_AT_MAX
    }

    /// Takes what was found since the last time.
    pub(in crate::engine) fn take_found(&mut self) -> Vec<Arc<Message>> {
        std::mem::take(&mut self.found)
    }

    /// Counts what was found elsewhere.
    pub(in crate::engine) fn spend(&mut self) {
        self.found_len += 1;
    }
}

fn key(topic: &TopicName) -> Key {
    topic
        .as_str()
        .bytes()
        .map(|byte| if byte == b'/' { 0 } else { byte })
        .collect()
}

/// Compares a key with a filter, and says where the next match can be at the earliest.
fn leap(filter: &TopicFilter, key: &[u8]) -> Leap {
    // A wildcard in front does not match `$` [MQTT-4.7.2-1].
    if key.starts_with(b"$") && filter.pattern().starts_with(['+', '#']) {
        return Leap::To(vec![b'$' + 1]);
    }
    let mut start = 0;
    let mut plus_end = None;
    for wanted in filter.levels() {
        if wanted == "#" {
            return Leap::Match;
        }
        let Some(rest) = key.get(start..) else {
            return Leap::To([key, &[0]].concat());
        };
        let level = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        let end = start + level.len();
        match level.cmp(wanted.as_bytes()) {
            _ if wanted == "+" => plus_end = Some(end),
            Ordering::Equal => {}
            Ordering::Less => return Leap::To([before(key, start), wanted.as_bytes()].concat()),
            // Only another level in the place of a `+` can lead to a match.
            Ordering::Greater => return plus_end.map_or(Leap::End, |end| behind(key, end)),
        }
        start = end + 1;
    }
    if start > key.len() {
        Leap::Match
    } else {
        behind(key, start - 1)
    }
}

/// To the first key behind everything below this level.
fn behind(key: &[u8], level_end: usize) -> Leap {
    Leap::To([before(key, level_end), &[1]].concat())
}

fn before(key: &[u8], end: usize) -> &[u8] {
    key.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test_world::{message, subject};
    use proptest::prelude::*;

    fn retained(limits: &Limits, topics: &[&str]) -> Retained {
        let mut retained = Retained::new(limits, RandomState::with_seeds(1, 2, 3, 4));
        for topic in topics {
            retained.set(message("dev-1", topic, "payload", None));
        }
        retained
    }

    fn topic(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    /// All that a filter matches, found in as many steps as it takes.
    fn found(retained: &Retained, filter: &str) -> Vec<String> {
        let filter = TopicFilter::parse(filter).unwrap();
        let (mut scan, mut found) = (Scan::new(), Vec::new());
        while !scan.is_done() {
            let mut step = SearchStep::default();
            retained.search(&filter, &mut scan, &mut step);
            let more = step.take_found();
            assert!(more.len() <= FOUND_MAX && step.looked_at <= LOOKED_AT_MAX);
            found.extend(more.iter().map(|message| message.topic().to_string()));
        }
        found
    }

    #[test]
    fn a_search_leaps_over_what_does_not_match() {
        let topics: Vec<_> = (0..20_000)
            .map(|n| format!("devices/dev-{n}/state"))
            .collect();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let retained = retained(&Limits::default(), &topics);
        for (filter, len) in [
            ("devices/dev-7/#", 1),
            ("devices/dev-7/state", 1),
            ("devices/+", 0),
            ("other/#", 0),
        ] {
            let mut step = SearchStep::default();
            let filter = TopicFilter::parse(filter).unwrap();
            let mut scan = Scan::new();
            while !scan.is_done() && !step.is_over() {
                retained.search(&filter, &mut scan, &mut step);
            }
            assert_eq!(step.found_len, len, "{filter}");
            if filter.as_str() != "devices/+" {
                assert!(step.looked_at < 10, "{filter}: {}", step.looked_at);
            }
        }
        assert_eq!(found(&retained, "devices/+/state").len(), 20_000);
    }

    #[test]
    fn a_search_goes_on_though_the_messages_change() {
        let topics: Vec<_> = (0..200).map(|n| format!("a/{n:03}")).collect();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        let mut retained = retained(&Limits::default(), &topics);
        let filter = TopicFilter::parse("a/#").unwrap();
        let (mut scan, mut step) = (Scan::new(), SearchStep::default());
        retained.search(&filter, &mut scan, &mut step);
        assert_eq!(step.take_found().len(), FOUND_MAX);
        for gone in 0..190 {
            retained.clear(&topic(&format!("a/{gone:03}")));
        }
        let mut step = SearchStep::default();
        retained.search(&filter, &mut scan, &mut step);
        assert_eq!(step.take_found().len(), 10);
        assert!(scan.is_done());
    }

    #[test]
    fn what_is_counted_is_what_is_there() {
        let limits = Limits {
            retained_bytes_max: 20,
            ..Limits::default()
        };
        let mut retained = retained(&limits, &["a", "b"]);
        let device = subject("dev-1");
        assert_eq!(retained.admit(&topic("c"), 7, &device), Err(Refusal));
        assert_eq!(retained.admit(&topic("c"), 6, &device), Ok(()));
        // What takes another's place gives its bytes back first.
        assert_eq!(retained.admit(&topic("a"), 13, &device), Ok(()));
        assert_eq!(retained.admit(&topic("a"), 14, &device), Err(Refusal));
        for name in ["a", "b", "a"] {
            retained.clear(&topic(name));
        }
        assert_eq!(
            (retained.len(), retained.bytes, retained.by_device.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn only_what_has_expired_is_taken_out() {
        let mut retained = retained(&Limits::default(), &["forever"]);
        let at = |seconds| Time::default().after_seconds(seconds);
        for (name, seconds) in [("a", 30), ("b", 10), ("c", 20), ("b", 40)] {
            retained.set(message("dev-1", name, "x", Some(at(seconds))));
        }
        assert_eq!(retained.deadline(), Some(at(20)));
        let mut taken = Vec::new();
        while let Some(message) = retained.take_expired(at(30)) {
            taken.push(message.topic().to_string());
        }
        assert_eq!(taken, ["c", "a"]);
        assert_eq!(retained.len(), 2);
    }

    #[test]
    fn mqtt_4_7_2_1_a_wildcard_in_front_passes_over_dollar() {
        for (filter, matches) in [("#", false), ("+/a", false), ("$x/#", true), ("$x/+", true)] {
            let filter = TopicFilter::parse(filter).unwrap();
            let leap = leap(&filter, b"$x\0a");
            assert_eq!(matches!(leap, Leap::Match), matches, "{filter}");
            assert!(matches || matches!(leap, Leap::To(from) if from == b"%"));
        }
    }

    fn words(wild: &'static [&'static str], len: usize) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(wild.to_vec()), 1..=len)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("not empty", |text| !text.is_empty())
    }

    proptest! {
        #[test]
        fn a_search_finds_what_the_filter_matches_in_the_order_of_levels(
            topics in prop::collection::btree_set(words(&["a", "a-", "b", ""], 4), 0..30),
            filter in words(&["a", "a-", "b", "", "$x", "+", "+", "#"], 4),
        ) {
            // Nobody publishes below `$`, so that there is nothing of it to be found.
            prop_assume!(TopicFilter::parse(&filter).is_ok());
            let names: Vec<_> = topics.iter().map(String::as_str).collect();
            let retained = retained(&Limits::default(), &names);
            let filter = TopicFilter::parse(&filter).unwrap();
            let mut expected: Vec<_> =
                topics.iter().filter(|name| filter.matches(&topic(name))).cloned().collect();
            expected.sort_by_key(|name| key(&topic(name)));
            prop_assert_eq!(found(&retained, filter.as_str()), expected);
        }
    }
}
