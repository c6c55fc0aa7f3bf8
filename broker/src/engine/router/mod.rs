//! Router: which sessions a topic name concerns.
//!
//! What a publish costs follows from what it matches and from its levels, never from how many
//! filters there are. A filter is held if and only if somebody subscribes to it.

mod exact;
mod retained;
mod shared_group;
mod subscribers;
mod topic_tree;

pub(super) use retained::{Retained, Scan, SearchStep};
pub(super) use shared_group::{Room, SharedGroup};
pub use subscribers::Grant;
pub(super) use subscribers::Subscribers;

use super::policy::SubscribePermit;
use super::session::SessionId;
use ahash::RandomState;
use exact::ExactFilters;
use protocol::topic::{TopicFilter, TopicName};
use topic_tree::TopicTree;

/// All subscriptions of one shard.
#[derive(Debug)]
pub(super) struct Router {
    exact: ExactFilters,
    tree: TopicTree,
    len: usize,
    /// Rises with every change.
    generation: u64,
}

impl Router {
    /// `hasher` is keyed: the texts hashed come from peers.
    pub(super) fn new(hasher: RandomState) -> Self {
        Self {
            exact: ExactFilters::new(hasher.clone()),
            tree: TopicTree::new(hasher),
            len: 0,
            generation: 0,
        }
    }

    /// The same as long as the same topics concern the same sessions.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// How many subscriptions there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a subscription, or replaces how it was granted.
    pub(super) fn subscribe(&mut self, session: SessionId, permit: &SubscribePermit, grant: Grant) {
        self.generation += 1;
        let filter = permit.filter();
        let is_new = if filter.has_wildcards() {
            self.tree
                .add(filter.pattern(), |it| it.add(session, filter, grant))
        } else {
            self.exact
                .add(filter.pattern(), |it| it.add(session, filter, grant))
        };
        self.len += usize::from(is_new);
    }

    /// Removes a subscription.
    pub(super) fn unsubscribe(&mut self, session: SessionId, filter: &TopicFilter) {
        self.generation += 1;
        let removed = if filter.has_wildcards() {
            self.tree
                .remove(filter.pattern(), |it| it.remove(session, filter))
        } else {
            self.exact
                .remove(filter.pattern(), |it| it.remove(session, filter))
        };
        self.len -= usize::from(removed);
    }

    /// Calls `visit` with the subscribers of every filter that matches `topic`, always in the
    /// same order for the same history.
    pub(super) fn for_each_match(
        &mut self,
        topic: &TopicName,
        mut visit: impl FnMut(&mut Subscribers),
    ) {
        if let Some(subscribers) = self.exact.find_mut(topic.as_str()) {
            visit(subscribers);
        }
        self.tree.for_each_match(topic, visit);
    }

    /// The group of a shared filter, if it still has members.
    pub(super) fn group_mut(&mut self, filter: &TopicFilter) -> Option<&mut SharedGroup> {
        let subscribers = if filter.has_wildcards() {
            self.tree.find_mut(filter.pattern())
        } else {
            self.exact.find_mut(filter.pattern())
        };
        subscribers?.group_mut(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test_world::permit;
    use proptest::prelude::*;
    use protocol::packet::QoS;
    use std::collections::BTreeSet;
    use std::time::{Duration, Instant};

    const GRANT: Grant = Grant {
        qos: QoS::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        withholds: false,
        id: None,
    };

    fn router() -> Router {
        Router::new(RandomState::with_seeds(1, 2, 3, 4))
    }

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    fn topic(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    fn subscribe(router: &mut Router, session: usize, text: &str) {
        router.subscribe(SessionId(session), &permit(text), GRANT);
    }

    /// Who would get a message, members of groups by their turn.
    fn receivers(router: &mut Router, name: &TopicName) -> Vec<usize> {
        let mut receivers = Vec::new();
        router.for_each_match(name, |subscribers| {
            subscribers.for_each_alone(|session, _| receivers.push(session.0));
            for group in subscribers.groups_mut() {
                receivers.extend(
                    group
                        .pick(|_, _| Some(Room::Now))
                        .map(|(session, _)| session.0),
                );
            }
        });
        receivers.sort_unstable();
        receivers
    }

    fn is_bare(router: &Router) -> bool {
        router.len() == 0 && router.exact.is_empty() && router.tree.is_empty()
    }

    #[test]
    fn mqtt_4_7_filters_match_what_they_match() {
        let cases: &[(&str, &str, bool)] = &[
            ("sport/#", "sport", true),
            ("sport/#", "sport/", true),
            ("sport/#", "sport/tennis/player1", true),
            ("sport/#", "sports", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("sport/+", "sport/a/b", false),
            ("+", "/", false),
            ("+/+", "/", true),
            ("/+", "/finance", true),
            ("+", "finance", true),
            ("#", "/", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/+", "$SYS/x", true),
            ("+/+/c/#", "a/b/c", true),
            ("a/+/c", "a/b/d", false),
            ("$share/g/a/+", "a/b", true),
            ("$share/g/a", "a", true),
            ("a", "a", true),
            ("a", "b", false),
            ("a/b", "a", false),
        ];
        for (text, name, matches) in cases {
            let mut router = router();
            subscribe(&mut router, 1, text);
            let expected: &[usize] = if *matches { &[1] } else { &[] };
            assert_eq!(
                receivers(&mut router, &topic(name)),
                expected,
                "{text} {name}"
            );
            router.unsubscribe(SessionId(1), &filter(text));
            assert!(is_bare(&router), "{text}");
        }
    }

    #[test]
    fn a_filter_stays_until_the_last_has_left() {
        for text in ["a/b", "a/+", "a/#", "$share/g/a/b", "$share/g/+"] {
            let mut router = router();
            for session in 0..5 {
                subscribe(&mut router, session, text);
                subscribe(&mut router, session, text);
            }
            assert_eq!(router.len(), 5);
            router.unsubscribe(SessionId(7), &filter(text));
            for session in [2, 0, 4, 1, 3] {
                assert!(!is_bare(&router));
                router.unsubscribe(SessionId(session), &filter(text));
            }
            assert!(is_bare(&router), "{text}");
        }
    }

    #[test]
    fn a_shared_subscription_is_another_than_the_same_filter_alone() {
        let mut router = router();
        for text in ["a/+", "$share/g/a/+", "$share/h/a/+"] {
            subscribe(&mut router, 1, text);
        }
        assert_eq!(receivers(&mut router, &topic("a/b")), [1, 1, 1]);
        router.unsubscribe(SessionId(1), &filter("$share/g/a/+"));
        assert_eq!(receivers(&mut router, &topic("a/b")), [1, 1]);
        assert!(router.group_mut(&filter("$share/g/a/+")).is_none());
        assert!(router.group_mut(&filter("$share/h/a/+")).is_some());
    }

    #[test]
    fn a_very_deep_filter_needs_no_deep_stack() {
        let mut router = router();
        let name = "x/".repeat(30_000) + "x";
        let text = "+/".repeat(30_000) + "#";
        subscribe(&mut router, 1, &text);
        assert_eq!(receivers(&mut router, &topic(&name)), [1]);
        router.unsubscribe(SessionId(1), &filter(&text));
        assert!(is_bare(&router));
    }

    /// How long it takes to route to one of many devices, at best.
    fn time_to_route(len: usize) -> Duration {
        let mut router = router();
        for device in 0..len {
            subscribe(&mut router, device, &format!("devices/{device}/commands"));
            subscribe(&mut router, device, &format!("devices/{device}/+/state"));
        }
        let name = topic(&format!("devices/{}/x/state", len / 2));
        let times = (0..200).map(|_| {
            let start = Instant::now();
            assert_eq!(receivers(&mut router, &name), [len / 2]);
            start.elapsed()
        });
        times.min().unwrap()
    }

    #[test]
    fn what_does_not_match_costs_nothing() {
        let (few, many) = (time_to_route(100), time_to_route(100_000));
        // Were it looked at, this would be a thousand times as much.
        assert!(many < 20 * few, "{few:?} {many:?}");
    }

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "", "$x", "+"])
    }

    /// A filter of few levels out of few words.
    fn any_filter() -> impl Strategy<Value = String> {
        let group = prop::sample::select(vec!["", "", "$share/g/", "$share/h/"]);
        (group, prop::collection::vec(level(), 1..4), any::<bool>()).prop_map(
            |(group, levels, hash)| {
                let hash = if hash { "/#" } else { "" };
                format!("{group}{}{hash}", levels.join("/"))
            },
        )
    }

    fn any_topic() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$x"]), 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a topic has a character", |topic| !topic.is_empty())
    }

    proptest! {
        #[test]
        fn routing_says_what_each_filter_says(
            steps in prop::collection::vec((0..4_usize, any_filter(), any::<bool>()), 1..60),
            names in prop::collection::vec(any_topic(), 1..10),
        ) {
            let mut router = router();
            let mut model = BTreeSet::new();
            for (session, text, add) in steps {
                let Ok(parsed) = TopicFilter::parse(&text) else { continue };
                if add {
                    subscribe(&mut router, session, &text);
                    model.insert((session, parsed));
                } else {
                    router.unsubscribe(SessionId(session), &parsed);
                    model.remove(&(session, parsed));
                }
                prop_assert_eq!(router.len(), model.len());
            }
            for name in names {
                let name = topic(&name);
                let matching = model.iter().filter(|(_, filter)| filter.matches(&name));
                let alone = matching.clone().filter(|(_, filter)| filter.share_group().is_none());
                let groups: BTreeSet<_> = matching
                    .filter(|(_, filter)| filter.share_group().is_some())
                    .map(|(_, filter)| filter)
                    .collect();
                let got = receivers(&mut router, &name);
                prop_assert_eq!(got.len(), alone.clone().count() + groups.len());
                for (session, _) in alone {
                    prop_assert!(got.contains(session));
                }
            }
            for (session, filter) in model {
                router.unsubscribe(SessionId(session), &filter);
            }
            prop_assert!(is_bare(&router));
        }
    }
}
