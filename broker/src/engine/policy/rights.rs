//! Rights: what one connection may do under the policy in force.
//!
//! Only here is a permit made. Nothing is permitted unless an allow covers all of it, and a deny
//! wins: it refuses, or where it covers only a part of a subscription, it withholds that part.

use super::index::{Alike, Applicable, Certainty, Clause, Effect, Found, Index};
use super::permit::{PublishPermit, Scope, SubscribePermit};
use super::rule::{Limits, Rule};
use super::template::Value;
use super::{Action, Entry, Policy, Principal};
use crate::engine::time::Time;
use protocol::ReasonCode;
use protocol::packet::{QoS, Will};
use protocol::topic::{TopicFilter, TopicName};
use std::sync::Arc;

/// What one connection may publish and subscribe to. Cloning counts a reference.
#[derive(Clone, Debug)]
pub struct Rights(Arc<Held>);

#[derive(Debug)]
struct Held {
    policy: Policy,
    applicable: Applicable,
    values: Box<[Value]>,
}

/// A message that somebody would publish, as far as rules ask about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The QoS it is published with.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// How long its payload is, in bytes.
    pub payload_len: usize,
    /// When it is published.
    pub at: Time,
}

impl Publication {
    /// A message that no limit is about.
    pub const PLAIN: Self = Self {
        qos: QoS::AtMostOnce,
        retain: false,
        payload_len: 0,
        at: Time::from_millis(0),
    };

    /// What a session would leave behind.
    pub(in crate::engine) fn of_will(will: &Will, at: Time) -> Self {
        Self {
            qos: will.qos,
            retain: will.retain,
            payload_len: will.payload.len(),
            at,
        }
    }
}

impl Rights {
    pub(super) fn new(policy: Policy, applicable: Applicable, values: Box<[Value]>) -> Self {
        Self(Arc::new(Held {
            policy,
            applicable,
            values,
        }))
    }

    /// Whether they were given by this policy, and none that came before or after it.
    #[inline]
    pub fn are_of(&self, policy: &Policy) -> bool {
        self.0.policy.is(policy)
    }

    /// What a 5.0 client is told of a filter it may not subscribe to.
    pub fn denial(&self) -> ReasonCode {
        self.index().denial
    }

    /// The permit to publish a message to `topic`, if there is one. A topic that begins with `$`
    /// must be permitted by name, and nobody publishes to those that are the broker's own.
    pub fn permit_publish(
        &self,
        topic: &TopicName,
        publication: &Publication,
    ) -> Option<PublishPermit> {
        if is_brokers_own(topic.as_str()) {
            return None;
        }
        let mut judgement = Judgement::new(publication);
        self.find(Action::Publish, topic, |alike, rule| {
            judgement.heed(alike, rule);
        });
        judgement.finish(topic)
    }

    /// The permit to subscribe to `filter` now, if there is one. Of a shared filter it is the
    /// pattern that is judged.
    pub fn permit_subscribe(&self, filter: &TopicFilter, now: Time) -> Option<SubscribePermit> {
        self.judge_filter(filter, Some(now))
    }

    /// The permit for a subscription that was granted before. It stays where there is a time at
    /// which it would be granted, and where that is not known until the device is back; what
    /// must not be received is withheld from it.
    pub fn keep_subscription(&self, filter: &TopicFilter) -> Option<SubscribePermit> {
        self.judge_filter(filter, None)
    }

    /// Whether what is published to `topic` may be received now.
    pub fn may_receive(&self, topic: &TopicName, now: Time) -> bool {
        let (mut allowed, mut denied) = (false, false);
        self.find(Action::Subscribe, topic, |alike, rule| {
            if alike.terms.are_plain || rule.is_open(now) {
                match alike.effect {
                    Effect::Allow => allowed = true,
                    Effect::Deny => denied = true,
                }
            }
        });
        allowed && !denied
    }

    /// Whether what is published to `topic` may wait for somebody who is away: it is judged again
    /// when that is here, and then all is known.
    pub fn may_wait(&self, topic: &TopicName, now: Time) -> bool {
        let (mut allowed, mut denied) = (false, false);
        let tree = &self.index().subscribe;
        tree.matching(topic, self.values(), &mut |found| {
            let rule = self.index().rule_of(found);
            if rule.is_some_and(|rule| rule.is_open(now)) {
                match found.alike.effect {
                    Effect::Allow => allowed |= self.perhaps_allows(found),
                    Effect::Deny => denied |= self.surely_denies(found),
                }
            }
        });
        allowed && !denied
    }

    /// Whether there is any topic that may be published to, at some time and by some message.
    pub fn publishes_anything(&self) -> bool {
        let mut rules = self.index().rules.iter().enumerate();
        rules.any(|(number, rule)| {
            self.0.applicable.is_certain(number) && !rule.publish.allow.is_empty()
        })
    }

    /// `now` is nothing for a subscription that there is already.
    fn judge_filter(&self, filter: &TopicFilter, now: Option<Time>) -> Option<SubscribePermit> {
        let mut qos_max = None;
        let (mut is_steady, mut is_denied) = (false, false);
        let tree = &self.index().subscribe;
        tree.including(filter, self.values(), &mut |found| {
            let Some(rule) = self.index().rule_of(found) else {
                return;
            };
            let is_open = now.is_none_or(|now| rule.is_open(now));
            match found.alike.effect {
                Effect::Allow if is_open && self.allows(found, now) => {
                    qos_max = qos_max.max(Some(rule.limits.qos_max));
                    is_steady |= rule.windows.is_empty() && self.is_sure(found);
                }
                Effect::Deny if now.is_some() => is_denied |= is_open && self.denies(found),
                Effect::Deny => is_denied |= rule.windows.is_empty() && self.surely_denies(found),
                Effect::Allow => {}
            }
        });
        let qos_max = qos_max.filter(|_| !is_denied)?;
        let mut is_partial = !is_steady;
        tree.overlapping(filter, self.values(), &mut |found| {
            let is_deny = found.alike.effect == Effect::Deny;
            is_partial |= is_deny && self.denies(found);
        });
        Some(SubscribePermit {
            filter: filter.clone(),
            is_partial,
            qos_max,
        })
    }

    /// Gives `each` what holds for `topic`, with a rule of the terms on which it does.
    #[inline]
    fn find(&self, action: Action, topic: &TopicName, mut each: impl FnMut(&Alike, &Rule)) {
        let index = self.index();
        let tree = index.tree(action);
        tree.matching(topic, self.values(), &mut |found| {
            if self.holds(found)
                && let Some(rule) = index.rule_of(found)
            {
                each(found.alike, rule);
            }
        });
    }

    pub(super) fn holds(&self, found: Found<'_>) -> bool {
        match found.alike.effect {
            Effect::Allow => self.is_sure(found),
            Effect::Deny => self.denies(found),
        }
    }

    pub(super) fn is_sure(&self, found: Found<'_>) -> bool {
        found.certainty == Certainty::Sure && found.alike.is_of(&self.0.applicable.certain)
    }

    /// Whether an allow counts: for what is there already, also one of which it is not known.
    fn allows(&self, found: Found<'_>, now: Option<Time>) -> bool {
        match now {
            Some(_) => self.is_sure(found),
            None => self.perhaps_allows(found),
        }
    }

    fn perhaps_allows(&self, found: Found<'_>) -> bool {
        found.certainty != Certainty::Unfit && found.alike.is_of(self.0.applicable.possible())
    }

    /// Whether a deny counts: what is not known denies.
    pub(super) fn denies(&self, found: Found<'_>) -> bool {
        found.alike.is_of(self.0.applicable.possible())
    }

    fn surely_denies(&self, found: Found<'_>) -> bool {
        found.certainty != Certainty::Unknown && found.alike.is_of(&self.0.applicable.certain)
    }

    /// The clauses that hold, one by one.
    pub(super) fn holding<'r>(&'r self, found: Found<'r>) -> impl Iterator<Item = Clause> + 'r {
        let applicable = &self.0.applicable;
        let rules = match found.alike.effect {
            Effect::Allow => &applicable.certain,
            Effect::Deny => applicable.possible(),
        };
        let holds = self.holds(found).then(|| found.alike.of(rules));
        holds.into_iter().flatten()
    }

    pub(super) fn index(&self) -> &Index {
        self.0.policy.index()
    }

    pub(super) fn applicable(&self) -> &Applicable {
        &self.0.applicable
    }

    /// What the registry says of whom they are for.
    pub(super) fn entry(&self, principal: Principal<'_>) -> Option<&Entry> {
        self.0.policy.0.attributes.of(principal.subject)
    }

    pub(super) fn values(&self) -> &[Value] {
        &self.0.values
    }
}

/// What the rules say of one message, and of which others they say the same.
struct Judgement<'p> {
    publication: &'p Publication,
    scope: Scope,
    allowed: bool,
    denied: bool,
    is_plain: bool,
}

impl<'p> Judgement<'p> {
    fn new(publication: &'p Publication) -> Self {
        Self {
            publication,
            scope: Scope::all(publication.at),
            allowed: false,
            denied: false,
            is_plain: true,
        }
    }

    #[inline]
    fn heed(&mut self, alike: &Alike, rule: &Rule) {
        if alike.terms.are_plain {
            match alike.effect {
                Effect::Allow => self.allowed = true,
                Effect::Deny => self.denied = true,
            }
            return;
        }
        if let Some(until) = rule.unchanged_until(self.publication.at) {
            self.is_plain = false;
            self.scope.until = Some(self.scope.until.map_or(until, |other| other.min(until)));
        }
        if !rule.is_open(self.publication.at) {
            return;
        }
        match alike.effect {
            Effect::Deny => self.denied = true,
            Effect::Allow if rule.limits == Limits::default() => self.allow(rule),
            Effect::Allow => {
                self.is_plain = false;
                if self.is_within(rule.limits) {
                    self.allow(rule);
                }
            }
        }
    }

    fn allow(&mut self, rule: &Rule) {
        self.allowed = true;
        self.scope.stamps |= rule.stamps;
        self.is_plain &= !rule.stamps;
    }

    /// Whether the limits permit the message. Then or else, the scope ends where they would say
    /// otherwise.
    fn is_within(&mut self, limits: Limits) -> bool {
        let Publication {
            qos,
            retain,
            payload_len,
            ..
        } = *self.publication;
        let scope = &mut self.scope;
        if qos <= limits.qos_max {
            scope.qos.1 = scope.qos.1.min(limits.qos_max);
        } else {
            scope.qos.0 = scope.qos.0.max(above(limits.qos_max));
        }
        if !limits.retain {
            scope.retain = Some(retain);
        }
        let len_max = limits.payload_len_max;
        if payload_len <= len_max {
            scope.payload_len.1 = scope.payload_len.1.min(len_max);
        } else {
            scope.payload_len.0 = scope.payload_len.0.max(len_max.saturating_add(1));
        }
        limits.permit(self.publication)
    }

    fn finish(self, topic: &TopicName) -> Option<PublishPermit> {
        let permitted = self.allowed && !self.denied;
        permitted.then(|| PublishPermit {
            topic: topic.clone(),
            scope: (!self.is_plain).then(|| Arc::new(self.scope)),
        })
    }
}

impl Limits {
    pub(super) fn permit(&self, publication: &Publication) -> bool {
        publication.qos <= self.qos_max
            && (self.retain || !publication.retain)
            && publication.payload_len <= self.payload_len_max
    }
}

fn above(qos: QoS) -> QoS {
    match qos {
        QoS::AtMostOnce => QoS::AtLeastOnce,
        QoS::AtLeastOnce | QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// Whether only the broker speaks there: `$SYS` is about it, `$share` is no topic but a syntax.
pub(super) fn is_brokers_own(name: &str) -> bool {
    name.starts_with('$') && matches!(name.split('/').next(), Some("$SYS" | "$share"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::{Credentials, Policy, Principal};
    use certs::{DeviceId, Kind, Subject};
    use proptest::prelude::*;
    use protocol::Text;
    use std::collections::BTreeSet;

    const PLAIN: Publication = Publication::PLAIN;

    fn rights(rule: &str) -> Rights {
        let policy = Policy::parse(
            "policy.toml",
            &format!("built_in = false\n[[rule]]\n{rule}"),
        );
        let subject = Subject {
            kind: Kind::Device,
            id: DeviceId::parse("dev-1").unwrap(),
        };
        let principal = Principal {
            subject: &subject,
            credentials: Some(&Credentials::default()),
        };
        let client_id = Text::parse("dev-1").unwrap();
        policy.unwrap().rights(principal, &client_id).unwrap()
    }

    #[track_caller]
    fn check_publish(rule: &str, topic: &str, expected: bool) {
        let topic = TopicName::parse(topic).unwrap();
        let permit = rights(rule).permit_publish(&topic, &PLAIN);
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
        let rights = rights(rule);
        let permit = rights.permit_subscribe(&filter, PLAIN.at);
        assert_eq!(permit.is_some(), withheld.is_some(), "{filter}");
        let Some(permit) = permit else { return };
        assert_eq!(permit.filter(), &filter);
        for topic in withheld.unwrap_or_default() {
            let topic = TopicName::parse(topic).unwrap();
            assert!(!rights.may_receive(&topic, PLAIN.at), "{topic}");
        }
        assert_eq!(
            permit.is_partial(),
            withheld.is_some_and(|withheld| !withheld.is_empty())
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
        assert!(rights(rule).may_receive(&TopicName::parse("a/c").unwrap(), PLAIN.at));
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
            wanted in filter(),
        ) {
            let rule = list("subscribe", &allow) + &list("deny_subscribe", &deny);
            let rights = rights(&rule);
            let filter = TopicFilter::parse(&wanted.join("/")).unwrap();
            let permit = rights.permit_subscribe(&filter, PLAIN.at);

            let all = matched_by(&wanted);
            let within = |filter: &Levels| all.is_subset(&matched_by(filter));
            prop_assert_eq!(permit.is_some(), allow.iter().any(within) && !deny.iter().any(within));
            let Some(permit) = permit else { return Ok(()) };
            let mut is_partial = false;
            for name in all {
                let topic = TopicName::parse(&name.join("/")).unwrap();
                let denied = deny.iter().any(|filter| matches(filter, &name));
                prop_assert_eq!(!rights.may_receive(&topic, PLAIN.at), denied, "{}", topic);
                is_partial |= denied;
            }
            prop_assert_eq!(permit.is_partial(), is_partial);
        }

        #[test]
        fn a_publication_says_what_the_definition_says(
            allow in prop::collection::vec(filter(), 1..4),
            deny in prop::collection::vec(filter(), 0..3),
            name in prop::sample::select(names()),
        ) {
            let rule = list("publish", &allow) + &list("deny_publish", &deny);
            let topic = TopicName::parse(&name.join("/")).unwrap();
            let permit = rights(&rule).permit_publish(&topic, &PLAIN);
            let any = |filters: &[Levels]| filters.iter().any(|filter| matches(filter, &name));
            let expected = any(&allow) && !any(&deny);
            prop_assert_eq!(permit.is_some(), expected);
        }
    }
    /// A rule about `a`, as it is written and as it is meant.
    #[derive(Clone, Debug)]
    struct Limited {
        qos_max: QoS,
        retain: bool,
        payload_len_max: usize,
        /// The hours in which it is in force.
        hours: (u64, u64),
        is_deny: bool,
        stamps: bool,
    }

    impl Limited {
        fn written(&self) -> String {
            let (from, to) = self.hours;
            let when = format!("when = '{from:02}:00-{to:02}:00'\n");
            let (qos, len) = (self.qos_max.bits(), self.payload_len_max);
            let key = if self.is_deny {
                "deny_publish"
            } else {
                "publish"
            };
            let other = if self.is_deny { "publish = 'b'\n" } else { "" };
            format!(
                "[[rule]]\n{key} = 'a'\n{other}qos_max = {qos}\nretain = {}\n\
                 payload_bytes_max = {len}\nstamp = {}\n{}",
                self.retain,
                self.stamps,
                if self.hours == (0, 24) { "" } else { &when },
            )
        }

        fn is_open(&self, publication: &Publication) -> bool {
            let hour = publication.at.millis() / 3_600_000 % 24;
            (self.hours.0..self.hours.1).contains(&hour)
        }

        fn permits(&self, publication: &Publication) -> bool {
            !self.is_deny
                && self.is_open(publication)
                && publication.qos <= self.qos_max
                && (self.retain || !publication.retain)
                && publication.payload_len <= self.payload_len_max
        }

        fn denies(&self, publication: &Publication) -> bool {
            self.is_deny && self.is_open(publication)
        }
    }

    fn level() -> impl Strategy<Value = QoS> {
        (0..3_u8).prop_map(|bits| QoS::from_bits(bits).unwrap())
    }

    fn limited() -> impl Strategy<Value = Limited> {
        let hours = prop::sample::select(vec![(0, 24), (0, 24), (8, 18), (6, 12)]);
        let len = prop::sample::select(vec![0, 10, 100, 1 << 30]);
        let flags = (any::<bool>(), prop::bool::weighted(0.2), any::<bool>());
        (level(), len, hours, flags).prop_map(|(qos_max, payload_len_max, hours, flags)| Limited {
            qos_max,
            payload_len_max,
            hours,
            retain: flags.0,
            is_deny: flags.1,
            stamps: flags.2,
        })
    }

    fn publication() -> impl Strategy<Value = Publication> {
        let len = prop::sample::select(vec![0, 10, 11, 100, 101]);
        (level(), any::<bool>(), len, 0..72_u64).prop_map(|(qos, retain, payload_len, hours)| {
            Publication {
                qos,
                retain,
                payload_len,
                at: Time::from_millis(hours * 1_800_000),
            }
        })
    }

    proptest! {
        #[test]
        fn a_permit_holds_for_what_the_limits_say_and_again_for_no_more(
            rules in prop::collection::vec(limited(), 1..5),
            first in publication(),
            others in prop::collection::vec(publication(), 8),
        ) {
            let text: String = rules.iter().map(Limited::written).collect();
            let text = text.strip_prefix("[[rule]]\n").unwrap();
            let rights = rights(text);
            let topic = TopicName::parse("a").unwrap();
            let permits = |publication: &Publication| {
                rules.iter().any(|rule| rule.permits(publication))
                    && !rules.iter().any(|rule| rule.denies(publication))
            };
            let stamps = |publication: &Publication| {
                rules.iter().any(|rule| rule.stamps && rule.permits(publication))
            };
            let permit = rights.permit_publish(&topic, &first);
            prop_assert_eq!(permit.is_some(), permits(&first));
            let Some(permit) = permit else { return Ok(()) };
            prop_assert_eq!(permit.stamps(), stamps(&first));
            prop_assert!(permit.again(topic.clone(), &first).is_ok());
            for other in &others {
                if permit.again(topic.clone(), other).is_ok() {
                    prop_assert!(permits(other), "{other:?}");
                    prop_assert_eq!(permit.stamps(), stamps(other));
                }
            }
        }
    }
}
