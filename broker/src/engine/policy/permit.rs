//! Rights and permits: what one connection may do, and the proof that it may.
//!
//! Only here is a permit made. Nothing is permitted unless an allow covers all of it, and a deny
//! wins: it refuses, or where it covers only a part of a subscription, it withholds that part.

use super::rule::{Filters, Rule};
use super::template::Values;
use protocol::ReasonCode;
use protocol::topic::{TopicFilter, TopicName};
use std::sync::Arc;

/// What one connection may publish and subscribe to. Cloning counts a reference.
#[derive(Clone, Debug)]
pub struct Rights(Arc<Clauses>);

#[derive(Debug)]
struct Clauses {
    publish_allow: Vec<Matcher>,
    publish_deny: Vec<Matcher>,
    subscribe_allow: Vec<TopicFilter>,
    subscribe_deny: Vec<TopicFilter>,
    denial: ReasonCode,
}

impl Rights {
    pub(super) fn new(rules: &[&Rule], values: &Values<'_>, denial: ReasonCode) -> Self {
        let publish = || rules.iter().map(|rule| &rule.publish);
        let subscribe = || rules.iter().map(|rule| &rule.subscribe);
        Self(Arc::new(Clauses {
            publish_allow: allowed(publish(), values).map(Matcher::new).collect(),
            publish_deny: denied(publish(), values).map(Matcher::new).collect(),
            subscribe_allow: allowed(subscribe(), values).collect(),
            subscribe_deny: denied(subscribe(), values).collect(),
            denial,
        }))
    }

    /// What a 5.0 client is told of a filter it may not subscribe to.
    pub fn denial(&self) -> ReasonCode {
        self.0.denial
    }

    /// The permit to publish to `topic`, if there is one. A topic that begins with `$` must be
    /// permitted by name, and nobody publishes to those that are the broker's own.
    pub fn permit_publish(&self, topic: &TopicName) -> Option<PublishPermit> {
        let name = topic.as_str();
        let any_of =
            |matchers: &[Matcher]| matchers.iter().any(|matcher| matcher.matches(name, topic));
        let permitted =
            !is_brokers_own(name) && any_of(&self.0.publish_allow) && !any_of(&self.0.publish_deny);
        permitted.then(|| PublishPermit {
            topic: topic.clone(),
        })
    }

    /// The permit to subscribe to `filter`, if there is one. Of a shared filter it is the pattern
    /// that is judged.
    pub fn permit_subscribe(&self, filter: &TopicFilter) -> Option<SubscribePermit> {
        let Clauses {
            subscribe_allow: allow,
            subscribe_deny: deny,
            ..
        } = &*self.0;
        let permitted = allow.iter().any(|clause| clause.includes(filter))
            && !deny.iter().any(|clause| clause.includes(filter));
        permitted.then(|| SubscribePermit {
            filter: filter.clone(),
            withheld: deny
                .iter()
                .filter(|clause| clause.overlaps(filter))
                .cloned()
                .collect(),
        })
    }
}

/// The proof that a message may be published to a topic.
#[derive(Debug)]
pub struct PublishPermit {
    topic: TopicName,
}

impl PublishPermit {
    /// The topic it is for.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The same permit for the next message to the same topic. Whoever keeps a permit for that
    /// forgets it when the rights it was given by are no longer in force.
    ///
    /// # Errors
    /// If it is another topic; that is it.
    #[inline]
    pub fn again(&self, topic: TopicName) -> Result<Self, TopicName> {
        if self.topic == topic {
            Ok(Self { topic })
        } else {
            Err(topic)
        }
    }

    /// The topic it was for: the permit is used up.
    pub fn into_topic(self) -> TopicName {
        self.topic
    }
}

/// The proof that a client may receive what a filter matches, but for what is withheld.
#[derive(Clone, Debug)]
pub struct SubscribePermit {
    filter: TopicFilter,
    withheld: Vec<TopicFilter>,
}

impl SubscribePermit {
    /// The filter it is for, as the client wrote it.
    pub fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// Whether anything is withheld: otherwise nobody has to ask for each message.
    pub fn is_partial(&self) -> bool {
        !self.withheld.is_empty()
    }

    /// Whether a message on `topic`, although the filter matches it, must not be delivered.
    pub fn withholds(&self, topic: &TopicName) -> bool {
        self.withheld.iter().any(|clause| clause.matches(topic))
    }
}

/// A filter in the form in which a topic name is held against it the fastest.
#[derive(Debug)]
enum Matcher {
    /// `#`.
    Everything,
    /// `parent/#`, where the parent has no wildcard: the parent and all below it.
    Under(Box<str>),
    /// No wildcard at all.
    Exactly(Box<str>),
    /// Any other.
    Levels(TopicFilter),
}

impl Matcher {
    fn new(filter: TopicFilter) -> Self {
        let wild = |text: &str| text.contains(['+', '#']);
        match (filter.pattern(), filter.pattern().strip_suffix("/#")) {
            ("#", _) => Self::Everything,
            (_, Some(parent)) if !wild(parent) => Self::Under(parent.into()),
            (pattern, None) if !wild(pattern) => Self::Exactly(pattern.into()),
            (_, _) => Self::Levels(filter),
        }
    }

    /// Whether `topic`, which reads `name`, is matched.
    fn matches(&self, name: &str, topic: &TopicName) -> bool {
        match self {
            Self::Everything => !topic.is_reserved(),
            Self::Under(parent) => name
                .strip_prefix(&**parent)
                .is_some_and(|below| below.is_empty() || below.starts_with('/')),
            Self::Exactly(whole) => *name == **whole,
            Self::Levels(filter) => filter.matches(topic),
        }
    }
}

/// Whether only the broker speaks there: `$SYS` is about it, `$share` is no topic but a syntax.
pub(super) fn is_brokers_own(name: &str) -> bool {
    name.starts_with('$') && matches!(name.split('/').next(), Some("$SYS" | "$share"))
}

fn allowed<'r>(
    filters: impl Iterator<Item = &'r Filters>,
    values: &Values<'_>,
) -> impl Iterator<Item = TopicFilter> {
    filters
        .flat_map(|of| &of.allow)
        .filter_map(|template| template.filter(values))
}

fn denied<'r>(
    filters: impl Iterator<Item = &'r Filters>,
    values: &Values<'_>,
) -> impl Iterator<Item = TopicFilter> {
    filters
        .flat_map(|of| &of.deny)
        .filter_map(|template| template.filter_or_wider(values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::Policy;
    use certs::{DeviceId, Kind, Subject};
    use proptest::prelude::*;
    use protocol::Text;
    use std::collections::BTreeSet;

    fn rights(rule: &str) -> Rights {
        let policy = Policy::parse(
            "policy.toml",
            &format!("built_in = false\n[[rule]]\n{rule}"),
        );
        let subject = Subject {
            kind: Kind::Device,
            id: DeviceId::parse("dev-1").unwrap(),
        };
        policy
            .unwrap()
            .rights(&subject, &Text::parse("dev-1").unwrap())
            .unwrap()
    }

    #[track_caller]
    fn check_publish(rule: &str, topic: &str, expected: bool) {
        let topic = TopicName::parse(topic).unwrap();
        let permit = rights(rule).permit_publish(&topic);
        assert_eq!(permit.is_some(), expected, "{topic}");
        if let Some(permit) = permit {
            assert_eq!(permit.topic(), &topic);
            assert_eq!(permit.into_topic(), topic);
        }
    }

    /// `withheld` are topics that the filter matches and the permit withholds; `None`: no permit.
    #[track_caller]
    fn check_subscribe(rule: &str, filter: &str, withheld: Option<&[&str]>) {
        let filter = TopicFilter::parse(filter).unwrap();
        let permit = rights(rule).permit_subscribe(&filter);
        assert_eq!(permit.is_some(), withheld.is_some(), "{filter}");
        let Some(permit) = permit else { return };
        assert_eq!(permit.filter(), &filter);
        for topic in withheld.unwrap_or_default() {
            assert!(
                permit.withholds(&TopicName::parse(topic).unwrap()),
                "{topic}"
            );
        }
        assert_eq!(
            permit.withheld.is_empty(),
            withheld.is_some_and(<[_]>::is_empty)
        );
    }

    #[test]
    fn what_no_rule_permits_is_refused() {
        check_publish("subscribe = 'a'", "a", false);
        check_publish("publish = 'a'", "b", false);
        check_subscribe("publish = 'a'", "a", None);
        check_subscribe("deny_subscribe = 'a'", "b", None);
    }

    #[test]
    fn a_topic_is_published_to_where_an_allow_matches_it() {
        check_publish("publish = 'a/{device}/#'", "a/dev-1", true);
        check_publish("publish = 'a/{device}/#'", "a/dev-1/b/c", true);
        check_publish("publish = 'a/{device}/#'", "a/dev-1/", true);
        check_publish("publish = 'a/{device}/#'", "a/dev-10", false);
        check_publish("publish = 'a/{device}/#'", "a", false);
        check_publish("publish = 'a/b'", "a/b", true);
        check_publish("publish = 'a/b'", "a/b/", false);
        check_publish("publish = 'a/+/c/#'", "a/b/c", true);
        check_publish("publish = 'a/+/c/#'", "a/b/d", false);
        check_publish("publish = '/#'", "/x", true);
        check_publish("publish = '/#'", "x", false);
        check_publish("publish = ['x', '#']", "/", true);
    }

    #[test]
    fn a_deny_wins_over_every_allow() {
        check_publish(
            "publish = ['a/#', 'a/b']\ndeny_publish = 'a/b'",
            "a/b",
            false,
        );
        check_publish("publish = 'a/#'\ndeny_publish = 'a/+/c'", "a/b/c", false);
        check_publish("publish = 'a/#'\ndeny_publish = 'a/+/c'", "a/b/d", true);
        check_publish("publish = 'a/#'\ndeny_publish = '#'", "a", false);
        check_subscribe(
            "subscribe = ['a/#', 'a/b']\ndeny_subscribe = 'a/+'",
            "a/b",
            None,
        );
        check_subscribe("subscribe = '#'\ndeny_subscribe = 'a/#'", "a/+/c", None);
    }

    #[test]
    fn cve_2018_12543_nobody_publishes_to_the_servers_topics() {
        for topic in ["$", "$/", "$x", "$SYS/a", "$share/a/b"] {
            check_publish("publish = ['#', '+/a', '+/a/b', '+/#']", topic, false);
        }
    }

    #[test]
    fn a_topic_that_begins_with_a_dollar_is_permitted_by_name_alone() {
        check_publish("publish = ['$x/#']", "$x/a", true);
        check_publish("publish = ['$x/#']", "$x", true);
        check_publish("publish = ['$x/#']", "$y", false);
        check_publish("publish = ['$x/+']\ndeny_publish = '#'", "$x/a", true);
        check_publish("publish = ['$x/+']\ndeny_publish = '$x/a'", "$x/a", false);
        // The name of a device completes no name of the broker's.
        let rule = "publish = ['$S{device}/#']";
        check_publish(rule, "$Sdev-1/a", true);
        assert!(is_brokers_own("$SYS") && is_brokers_own("$SYS/a") && is_brokers_own("$share/a/b"));
        assert!(!is_brokers_own("$SYSTEM") && !is_brokers_own("SYS"));
    }

    #[test]
    fn cve_2026_49186_a_filter_is_granted_where_one_allow_includes_all_of_it() {
        check_subscribe("subscribe = 'a/#'", "a/#", Some(&[]));
        check_subscribe("subscribe = 'a/#'", "a/+/b", Some(&[]));
        check_subscribe("subscribe = 'a/#'", "a", Some(&[]));
        check_subscribe("subscribe = 'a/#'", "+/#", None);
        check_subscribe("subscribe = 'a/#'", "#", None);
        check_subscribe("subscribe = 'a/+'", "a/#", None);
        check_subscribe("subscribe = ['a/b', 'a/c']", "a/+", None);
    }

    #[test]
    fn of_a_shared_filter_the_pattern_is_judged() {
        check_subscribe("subscribe = 'a/#'", "$share/g/a/b", Some(&[]));
        check_subscribe("subscribe = 'a/#'", "$share/a/b", None);
        check_subscribe(
            "subscribe = 'a/#'\ndeny_subscribe = 'a/b'",
            "$share/g/a/b",
            None,
        );
        check_subscribe("subscribe = '#'", "$share/g/$SYS/#", None);
    }

    #[test]
    fn the_servers_topics_are_read_only_where_a_rule_names_them() {
        check_subscribe("subscribe = '#'", "$SYS/#", None);
        check_subscribe("subscribe = '#'", "$SYS/a", None);
        check_subscribe("subscribe = '+/a'", "$SYS/a", None);
        check_subscribe("subscribe = '$SYS/#'", "$SYS/+/a", Some(&[]));
        check_subscribe("subscribe = '$SYS/#'", "#", None);
    }

    #[test]
    fn what_a_deny_only_overlaps_is_granted_without_it() {
        let rule = "subscribe = '#'\ndeny_subscribe = ['a/b', 'c/+/d']";
        check_subscribe(rule, "a/+", Some(&["a/b"]));
        check_subscribe(rule, "#", Some(&["a/b", "c/x/d"]));
        check_subscribe(rule, "$share/g/+/x/d", Some(&["c/x/d"]));
        check_subscribe(rule, "a/c", Some(&[]));
        let permit = rights(rule)
            .permit_subscribe(&TopicFilter::parse("a/+").unwrap())
            .unwrap();
        assert!(!permit.withholds(&TopicName::parse("a/c").unwrap()));
    }

    const NAME_LEVELS: [&str; 5] = ["", "a", "b", "z", "$a"];

    /// Every topic name of up to four levels, one deeper than the filters below, so that each
    /// `#` reaches below itself, and with a level that none of them names.
    fn names() -> Vec<Vec<&'static str>> {
        let mut names = vec![Vec::new()];
        let mut all = Vec::new();
        for _ in 0..4 {
            names = names
                .iter()
                .flat_map(|name| NAME_LEVELS.map(|level| [&name[..], &[level]].concat()))
                .collect();
            all.extend(names.iter().filter(|name| **name != [""]).cloned());
        }
        all
    }

    /// The definition [MQTT-4.7.1-1 to 4.7.2-1], on its own feet.
    fn matches(filter: &[&str], name: &[&str]) -> bool {
        if name[0].starts_with('$') && ["+", "#"].contains(&filter[0]) {
            return false;
        }
        match filter.split_last() {
            Some((&"#", parent)) => name.len() >= parent.len() && agree(parent, name),
            _ => name.len() == filter.len() && agree(filter, name),
        }
    }

    fn agree(filter: &[&str], name: &[&str]) -> bool {
        filter
            .iter()
            .zip(name)
            .all(|(wanted, level)| *wanted == "+" || wanted == level)
    }

    type Levels = Vec<&'static str>;

    fn filter() -> impl Strategy<Value = Levels> {
        let level = prop::sample::select(vec!["", "a", "b", "+", "$a"]);
        (prop::collection::vec(level, 0..3), any::<bool>())
            .prop_map(|(levels, hash)| [levels, if hash { vec!["#"] } else { Vec::new() }].concat())
            .prop_filter("not empty", |levels| !levels.is_empty() && *levels != [""])
    }

    fn list(key: &str, filters: &[Levels]) -> String {
        let written: Vec<String> = filters.iter().map(|levels| levels.join("/")).collect();
        if written.is_empty() {
            String::new()
        } else {
            format!("{key} = {written:?}\n")
        }
    }

    fn matched_by(filter: &Levels) -> BTreeSet<Levels> {
        names()
            .into_iter()
            .filter(|name| matches(filter, name))
            .collect()
    }

    proptest! {
        #[test]
        fn a_subscription_says_what_enumeration_says(
            allow in prop::collection::vec(filter(), 1..4),
            deny in prop::collection::vec(filter(), 0..3),
            // No name is empty, so `/#` lies within `+/+/#` too. That is not seen, and refused.
            wanted in filter().prop_filter("/#", |wanted| *wanted != ["", "#"]),
        ) {
            let rule = list("subscribe", &allow) + &list("deny_subscribe", &deny);
            let permit =
                rights(&rule).permit_subscribe(&TopicFilter::parse(&wanted.join("/")).unwrap());

            let all = matched_by(&wanted);
            let within = |filter: &Levels| all.is_subset(&matched_by(filter));
            prop_assert_eq!(permit.is_some(), allow.iter().any(within) && !deny.iter().any(within));
            let Some(permit) = permit else { return Ok(()) };
            for name in all {
                let topic = TopicName::parse(&name.join("/")).unwrap();
                let denied = deny.iter().any(|filter| matches(filter, &name));
                prop_assert_eq!(permit.withholds(&topic), denied, "{}", topic);
            }
        }

        #[test]
        fn a_publication_says_what_the_definition_says(
            allow in prop::collection::vec(filter(), 1..4),
            deny in prop::collection::vec(filter(), 0..3),
            name in prop::sample::select(names()),
        ) {
            let rule = list("publish", &allow) + &list("deny_publish", &deny);
            let permit = rights(&rule).permit_publish(&TopicName::parse(&name.join("/")).unwrap());
            let any = |filters: &[Levels]| filters.iter().any(|filter| matches(filter, &name));
            let expected = any(&allow) && !any(&deny);
            prop_assert_eq!(permit.is_some(), expected);
        }
    }
}
