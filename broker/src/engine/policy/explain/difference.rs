//! Difference: what devices gain and lose by a new policy.
//!
//! Every filter that either policy writes for a device is judged by both. What is the same for
//! all of them is the same for all topics that the policies tell apart.

use crate::engine::policy::group::Selector;
use crate::engine::policy::index::Effect;
use crate::engine::policy::rule::{Limits, Rule, Subjects};
use crate::engine::policy::{Action, Credentials, Policy, Principal, Rights};
use certs::{DeviceId, Kind, Subject};
use protocol::Text;
use protocol::topic::TopicFilter;
use std::collections::BTreeSet;
use std::fmt;

/// What one device gains or loses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub subject: Subject,
    /// What.
    pub what: Changed,
    /// How far it was permitted.
    pub before: Extent,
    /// How far it is permitted.
    pub after: Extent,
}

/// Something that may be permitted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// To connect under the device id.
    Connect,
    /// To publish to what a filter matches, or to subscribe to it.
    Act(Action, TopicFilter),
}

/// How far something is permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Not as a whole.
    Denied,
    /// On these conditions, none if it is empty.
    Allowed(BTreeSet<String>),
}

/// What these devices gain and lose where `new` takes the place of `old`.
pub fn difference(old: &Policy, new: &Policy, subjects: &[Subject]) -> Vec<Change> {
    subjects
        .iter()
        .flat_map(|subject| changes(old, new, subject))
        .collect()
}

/// Some devices and applications that the rules of the two tell apart: every id, and one for
/// each pattern.
pub fn sample(old: &Policy, new: &Policy) -> Vec<Subject> {
    let rules = old.rules().iter().chain(new.rules());
    let named = rules.flat_map(Rule::named);
    let others = [(Kind::Device, "a-device"), (Kind::App, "an-app")];
    let others = others.into_iter().filter_map(|(kind, id)| {
        let id = DeviceId::parse(id).ok()?;
        Some(Subject { kind, id })
    });
    let all: BTreeSet<Subject> = named.chain(others).collect();
    all.into_iter().collect()
}

fn changes(old: &Policy, new: &Policy, subject: &Subject) -> Vec<Change> {
    let credentials = Credentials::default();
    let principal = Principal {
        subject,
        credentials: Some(&credentials),
    };
    let Ok(client_id) = Text::parse(subject.id.as_str()) else {
        return Vec::new();
    };
    let rights = [old, new].map(|policy| policy.rights(principal, &client_id).ok());
    let mut asked = BTreeSet::from([Changed::Connect]);
    for rights in rights.iter().flatten() {
        asked.extend(rights.written());
    }
    let extent = |rights: &Option<Rights>, what: &Changed| {
        let rights = rights.as_ref();
        rights.map_or(Extent::Denied, |rights| rights.extent(what))
    };
    let [old, new] = &rights;
    let judged = asked.into_iter().map(|what| Change {
        subject: subject.clone(),
        before: extent(old, &what),
        after: extent(new, &what),
        what,
    });
    judged
        .filter(|change| change.before != change.after)
        .collect()
}

impl Rights {
    /// All that the rules write about for whom they are for.
    fn written(&self) -> impl Iterator<Item = Changed> {
        [Action::Publish, Action::Subscribe]
            .into_iter()
            .flat_map(move |action| {
                let clauses = self.index().clauses(action);
                let own = clauses.filter(|(clause, _)| self.applicable().is_certain(clause.rule));
                own.filter_map(move |(_, grant)| {
                    let value = |variable: &_| self.index().value(variable, self.values());
                    let filter = grant.template.filled(value)?;
                    Some(Changed::Act(action, filter))
                })
            })
    }

    fn extent(&self, what: &Changed) -> Extent {
        let Changed::Act(action, filter) = what else {
            return Extent::Allowed(BTreeSet::new());
        };
        let index = self.index();
        let tree = index.tree(*action);
        let (mut allows, mut is_denied) = (Vec::new(), false);
        tree.including(filter, self.values(), &mut |found| {
            let Some(rule) = index.rule_of(found) else {
                return;
            };
            match found.alike.effect {
                Effect::Allow if self.is_sure(found) => allows.push(rule.conditions()),
                Effect::Deny => is_denied |= self.denies(found) && rule.windows.is_empty(),
                Effect::Allow => {}
            }
        });
        if allows.is_empty() || is_denied {
            return Extent::Denied;
        }
        let is_plain = allows.iter().any(String::is_empty);
        let mut conditions: BTreeSet<String> = if is_plain {
            BTreeSet::new()
        } else {
            allows.into_iter().collect()
        };
        tree.overlapping(filter, self.values(), &mut |found| {
            if found.alike.effect != Effect::Deny {
                return;
            }
            let hours = index.rule_of(found).and_then(Rule::hours);
            let when = hours.map(|hours| format!(" {hours}")).unwrap_or_default();
            for clause in self.holding(found) {
                let grant = index.grant(*action, clause);
                let filter = grant
                    .map(|grant| grant.template.as_str())
                    .unwrap_or_default();
                conditions.insert(format!("not {filter}{when}"));
            }
        });
        Extent::Allowed(conditions)
    }
}

impl Rule {
    /// An id for each that it names.
    fn named(&self) -> Vec<Subject> {
        let selectors = match &self.subjects {
            Subjects::Everyone => &[][..],
            Subjects::AnyOf(selectors) => selectors,
        };
        let mut named = Vec::new();
        let mut add = |kind, id: Option<DeviceId>| {
            named.extend(id.map(|id| Subject { kind, id }));
        };
        for selector in selectors {
            match selector {
                Selector::Kind(_) => {}
                Selector::Ids(kind, pattern) => add(*kind, pattern.sample()),
                Selector::Group(group) => {
                    for (kind, pattern) in group.ids.iter().flatten() {
                        add(*kind, pattern.sample());
                    }
                }
            }
        }
        named
    }

    fn hours(&self) -> Option<String> {
        let hours: Vec<String> = self.windows.iter().map(ToString::to_string).collect();
        (!hours.is_empty()).then(|| hours.join(", "))
    }

    /// In words; none: "".
    fn conditions(&self) -> String {
        let (limits, all) = (self.limits, Limits::default());
        let words = [
            (limits.qos_max != all.qos_max).then(|| format!("QoS {}", limits.qos_max.bits())),
            (!limits.retain).then(|| "not retained".to_owned()),
            (limits.payload_len_max != all.payload_len_max)
                .then(|| format!("{} bytes", limits.payload_len_max)),
            self.hours(),
            self.stamps.then(|| "stamped".to_owned()),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Change {
    /// Whether less is permitted than before, as far as that can be told.
    pub fn is_loss(&self) -> bool {
        match (&self.before, &self.after) {
            (Extent::Allowed(_), Extent::Denied) => true,
            (Extent::Allowed(before), Extent::Allowed(after)) => !after.is_subset(before),
            (Extent::Denied, Extent::Allowed(_) | Extent::Denied) => false,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_loss() { '-' } else { '+' };
        write!(f, "{sign} {}: {}: ", self.subject, self.what)?;
        write!(f, "{}; was {}", self.after, self.before)
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Act(Action::Publish, filter) => write!(f, "publish {filter}"),
            Self::Act(Action::Subscribe, filter) => write!(f, "subscribe {filter}"),
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("denied"),
            Self::Allowed(conditions) if conditions.is_empty() => f.write_str("allowed"),
            Self::Allowed(conditions) => {
                let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
                write!(f, "allowed ({})", conditions.join("; "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Policy {
        Policy::parse("policy.toml", &format!("built_in = false\n{text}")).unwrap()
    }

    #[track_caller]
    fn check(old: &str, new: &str, expected: &[&str]) {
        let (old, new) = (parse(old), parse(new));
        let changes = difference(&old, &new, &sample(&old, &new));
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(changes, expected);
    }

    #[test]
    fn what_is_gained_and_lost_is_told_for_each() {
        let old = "[[rule]]\ndevices = 'oven-*'\npublish = 'k/{device}/#'\nsubscribe = 'k/#'\n";
        check(old, old, &[]);
        check(
            old,
            "[[rule]]\ndevices = 'oven-*'\npublish = 'k/{device}/#'\nqos_max = 1\n\
             deny_publish = 'k/+/s'\n[[rule]]\nsubscribe = 'k/+'\n",
            &[
                "+ a-device: subscribe k/+: allowed; was denied",
                "- oven-1: publish k/oven-1/#: allowed (QoS 1; not k/+/s); was allowed",
                "- oven-1: subscribe k/#: denied; was allowed",
                "+ app/an-app: subscribe k/+: allowed; was denied",
            ],
        );
    }

    #[test]
    fn rules_written_otherwise_that_say_the_same_are_no_change() {
        check(
            "[[rule]]\npublish = ['a/#', 'a/b']\n",
            "[[rule]]\npublish = 'a/b'\n[[role]]\nname = 'r'\npublish = 'a/#'\n\
             [[group]]\nname = 'g'\ndevices = '*'\nroles = 'r'\n\
             [[group]]\nname = 'h'\napps = '*'\nroles = 'r'\n",
            &[],
        );
    }

    #[test]
    fn who_may_no_longer_connect_loses_all() {
        check(
            "[[rule]]\ndevices = 'd'\npublish = 'a'\n",
            "[[rule]]\ndevices = 'd'\npublish = 'a'\nclient_ids = 'x'\n",
            &[
                "- d: connect: denied; was allowed",
                "- d: publish a: denied; was allowed",
            ],
        );
    }
}
