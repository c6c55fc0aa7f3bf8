//! Explain: what a policy decides, which rule it was, and which would have allowed it.
//!
//! The verdict is that of the rights themselves; only the reasons are found here.

mod difference;
mod expectations;
mod moment;
mod nearest;

pub use difference::{Change, Changed, Extent, difference, sample};
pub use expectations::{Expectations, Outcome};
pub use moment::{InvalidMoment, Moment};
pub use nearest::{Missing, Nearest};

use super::index::{Clause, Effect};
use super::rights::is_brokers_own;
use super::{Action, ClientIdRefused, Origin, Policy, Principal, Publication, Rights};
use crate::engine::time::Time;
use protocol::Text;
use protocol::topic::{TopicFilter, TopicName};
use std::fmt;
use std::sync::Arc;

/// What somebody would do.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// Connect, under its client id.
    Connect,
    /// Publish such a message.
    Publish(&'a TopicName, Publication),
    /// Subscribe at this time.
    Subscribe(&'a TopicFilter, Time),
}

/// What a policy decides, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This rule permits it.
    Allowed {
        /// The rule, or one of several.
        by: Deciding,
        /// What is withheld from a subscription.
        withheld: Vec<Deciding>,
    },
    /// The client id is permitted because no rule says anything about client ids.
    ByDefault,
    /// This rule denies it, whatever else permits.
    Denied(Deciding),
    /// No rule permits it; this one comes the nearest.
    NotPermitted(Option<Box<Nearest>>),
    /// Only the broker publishes there.
    BrokersOwn,
    /// It could not even connect.
    ClientId(ClientIdRefused),
}

/// A filter of a rule that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deciding {
    /// Where the rule was written.
    pub rule: Origin,
    /// The filter or the pattern of client ids, as it was written.
    pub filter: Box<str>,
    /// The role that brought it.
    pub role: Option<Arc<str>>,
}

impl Policy {
    /// What it decides, and why.
    pub fn explain(
        &self,
        principal: Principal<'_>,
        client_id: &Text,
        question: Question<'_>,
    ) -> Decision {
        let rights = match self.rights(principal, client_id) {
            Ok(rights) => rights,
            Err(refused) => return Decision::ClientId(refused),
        };
        match question {
            Question::Connect => rights.explain_client_id(principal, client_id),
            Question::Publish(topic, publication) => {
                rights.explain_publish(principal, topic, &publication)
            }
            Question::Subscribe(filter, now) => rights.explain_subscribe(principal, filter, now),
        }
    }
}

impl Rights {
    fn explain_client_id(&self, principal: Principal<'_>, client_id: &Text) -> Decision {
        let index = self.index();
        for number in &index.stating_client_ids {
            let rule = index.rules.get(*number);
            let Some(rule) = rule.filter(|_| self.applicable().is_certain(*number)) else {
                continue;
            };
            let mut patterns = rule.client_ids.iter().flatten();
            let pattern =
                patterns.find(|pattern| pattern.of(&principal.subject.id).matches(client_id));
            if let Some(pattern) = pattern {
                let by = Deciding {
                    rule: rule.origin.clone(),
                    filter: pattern.as_str().into(),
                    role: None,
                };
                let withheld = Vec::new();
                return Decision::Allowed { by, withheld };
            }
        }
        Decision::ByDefault
    }

    fn explain_publish(
        &self,
        principal: Principal<'_>,
        topic: &TopicName,
        publication: &Publication,
    ) -> Decision {
        if is_brokers_own(topic.as_str()) {
            return Decision::BrokersOwn;
        }
        let mut found = Vec::new();
        let tree = &self.index().publish;
        tree.matching(topic, self.values(), &mut |hit| {
            let is_met = self.index().rule_of(hit).is_some_and(|rule| {
                let is_deny = hit.alike.effect == Effect::Deny;
                rule.is_open(publication.at) && (is_deny || rule.limits.permit(publication))
            });
            if is_met {
                found.extend(self.holding(hit));
            }
        });
        let is_permitted = self.permit_publish(topic, publication).is_some();
        let nearest = || self.nearest(principal, &nearest::Wanted::Name(topic, publication));
        self.decide(
            (Action::Publish, is_permitted),
            (found, Vec::new()),
            nearest,
        )
    }

    fn explain_subscribe(
        &self,
        principal: Principal<'_>,
        filter: &TopicFilter,
        now: Time,
    ) -> Decision {
        let tree = &self.index().subscribe;
        let (mut including, mut overlapping) = (Vec::new(), Vec::new());
        tree.including(filter, self.values(), &mut |found| {
            let rule = self.index().rule_of(found);
            if rule.is_some_and(|rule| rule.is_open(now)) {
                including.extend(self.holding(found));
            }
        });
        tree.overlapping(filter, self.values(), &mut |found| {
            if found.alike.effect == Effect::Deny {
                overlapping.extend(self.holding(found));
            }
        });
        let is_permitted = self.permit_subscribe(filter, now).is_some();
        let nearest = || self.nearest(principal, &nearest::Wanted::Filter(filter, now));
        let found = (including, overlapping);
        self.decide((Action::Subscribe, is_permitted), found, nearest)
    }

    /// `found` are the clauses that decide, and those that withhold.
    fn decide(
        &self,
        (action, is_permitted): (Action, bool),
        found: (Vec<Clause>, Vec<Clause>),
        nearest: impl FnOnce() -> Option<Nearest>,
    ) -> Decision {
        let (mut decides, mut withholds) = found;
        for clauses in [&mut decides, &mut withholds] {
            clauses.sort_by_key(|clause| (clause.rule, clause.place));
            clauses.dedup();
        }
        let wanted = if is_permitted {
            Effect::Allow
        } else {
            Effect::Deny
        };
        let by = decides
            .into_iter()
            .find(|clause| clause.effect == wanted)
            .and_then(|clause| self.deciding(action, clause));
        match (is_permitted, by) {
            (true, Some(by)) => {
                let withheld = withholds.into_iter();
                Decision::Allowed {
                    by,
                    withheld: withheld
                        .filter_map(|clause| self.deciding(action, clause))
                        .collect(),
                }
            }
            (false, Some(by)) => Decision::Denied(by),
            (_, None) => Decision::NotPermitted(nearest().map(Box::new)),
        }
    }

    fn deciding(&self, action: Action, clause: Clause) -> Option<Deciding> {
        let rule = self.index().rules.get(clause.rule)?;
        let grant = self.index().grant(action, clause)?;
        Some(Deciding {
            rule: rule.origin.clone(),
            filter: grant.template.as_str().into(),
            role: grant.role.clone(),
        })
    }
}

impl Decision {
    /// Whether it may be done.
    pub fn is_allowed(&self) -> bool {
        match self {
            Self::Allowed { .. } | Self::ByDefault => true,
            Self::Denied(_) | Self::NotPermitted(_) | Self::BrokersOwn | Self::ClientId(_) => false,
        }
    }

    /// What decided, or would have allowed it.
    pub fn by(&self) -> Option<&Deciding> {
        match self {
            Self::Allowed { by, .. } | Self::Denied(by) => Some(by),
            Self::NotPermitted(Some(nearest)) => Some(&nearest.to),
            Self::NotPermitted(None) | Self::ByDefault | Self::BrokersOwn | Self::ClientId(_) => {
                None
            }
        }
    }

    /// What was missing for the nearest rule.
    pub fn missing(&self) -> &[Missing] {
        match self {
            Self::NotPermitted(Some(nearest)) => &nearest.missing,
            Self::NotPermitted(None)
            | Self::Allowed { .. }
            | Self::Denied(_)
            | Self::ByDefault
            | Self::BrokersOwn
            | Self::ClientId(_) => &[],
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed { by, withheld } => {
                write!(f, "allowed by {by}")?;
                for deny in withheld {
                    write!(f, "; without what is denied by {deny}")?;
                }
                Ok(())
            }
            Self::ByDefault => f.write_str("allowed: no rule says which client ids it may use"),
            Self::Denied(by) => write!(f, "denied by {by}"),
            Self::NotPermitted(None) => f.write_str("denied: no rule permits it, nor nearly"),
            Self::NotPermitted(Some(nearest)) => write!(f, "denied: no rule permits it; {nearest}"),
            Self::BrokersOwn => {
                f.write_str("denied: only the broker publishes below $SYS and $share")
            }
            Self::ClientId(refused) => write!(f, "denied: {refused}"),
        }
    }
}

impl fmt::Display for Deciding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {:?}", self.rule, self.filter)?;
        match &self.role {
            Some(role) => write!(f, " of the role {role:?}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::Credentials;
    use certs::{DeviceId, Kind, Subject};
    use protocol::packet::QoS;

    const POLICY: &str = "built_in = false\n\
        [[role]]\nname = 'reader'\nsubscribe = 'kitchen/#'\n\
        [[group]]\nname = 'ovens'\ndevices = 'oven-*'\nroles = 'reader'\n\
        [[rule]]\nname = 'heat'\ngroups = 'ovens'\npublish = 'kitchen/{device}/heat'\n\
        qos_max = 1\nretain = false\npayload_bytes_max = 10\n\
        [[rule]]\nname = 'night'\nwhen = '22:00-06:00'\nlisteners = 'inside'\n\
        publish = 'night/{ou}'\n\
        [[rule]]\nname = 'secrets'\ndeny_publish = 'kitchen/+/secret'\n\
        deny_subscribe = 'kitchen/fridge/#'\n";

    fn explain(device: &str, client_id: &str, question: Question<'_>) -> String {
        let policy = Policy::parse("policy.toml", POLICY).unwrap();
        let subject = Subject {
            kind: Kind::Device,
            id: DeviceId::parse(device).unwrap(),
        };
        let principal = Principal {
            subject: &subject,
            credentials: Some(&Credentials::default()),
        };
        let decision = policy.explain(principal, &Text::parse(client_id).unwrap(), question);
        decision.to_string()
    }

    #[track_caller]
    fn check_publish(device: &str, topic: &str, expected: &str) {
        let topic = TopicName::parse(topic).unwrap();
        let question = Question::Publish(&topic, Publication::PLAIN);
        assert_eq!(explain(device, device, question), expected);
    }

    #[track_caller]
    fn check_subscribe(device: &str, filter: &str, expected: &str) {
        let filter = TopicFilter::parse(filter).unwrap();
        let question = Question::Subscribe(&filter, Time::default());
        assert_eq!(explain(device, device, question), expected);
    }

    #[test]
    fn the_rule_that_decides_is_named_with_its_file_and_line() {
        let heat = "the rule \"heat\" at policy.toml:9 with \"kitchen/{device}/heat\"";
        check_publish(
            "oven-1",
            "kitchen/oven-1/heat",
            &format!("allowed by {heat}"),
        );
        check_publish(
            "oven-1",
            "kitchen/x/secret",
            "denied by the rule \"secrets\" at policy.toml:21 with \"kitchen/+/secret\"",
        );
        check_subscribe(
            "oven-1",
            "kitchen/a",
            "allowed by the group \"ovens\" at policy.toml:5 with \"kitchen/#\" of the role \
             \"reader\"",
        );
        check_subscribe(
            "oven-1",
            "kitchen/+/a",
            "allowed by the group \"ovens\" at policy.toml:5 with \"kitchen/#\" of the role \
             \"reader\"; without what is denied by the rule \"secrets\" at policy.toml:21 with \
             \"kitchen/fridge/#\"",
        );
        check_publish(
            "oven-1",
            "$SYS/a",
            "denied: only the broker publishes below $SYS and $share",
        );
    }

    #[test]
    fn where_no_rule_permits_the_nearest_is_named_with_what_was_missing() {
        let heat = "the rule \"heat\" at policy.toml:9 with \"kitchen/{device}/heat\"";
        check_publish(
            "fridge-1",
            "kitchen/fridge-1/heat",
            &format!("denied: no rule permits it; {heat} would, but it is not for this device"),
        );
        check_publish(
            "oven-1",
            "kitchen/oven-2/heat",
            &format!("denied: no rule permits it; {heat} would, but its filter does not cover it"),
        );
        check_publish(
            "fridge-1",
            "night/a",
            "denied: no rule permits it; the rule \"night\" at policy.toml:16 with \"night/{ou}\" \
             would, but there is no value for {ou} that fits in a level, it is not in force at \
             this listener",
        );
        let topic = TopicName::parse("kitchen/oven-1/heat").unwrap();
        let publication = Publication {
            qos: QoS::ExactlyOnce,
            retain: true,
            payload_len: 11,
            at: Time::from_millis(0),
        };
        assert_eq!(
            explain("oven-1", "oven-1", Question::Publish(&topic, publication)),
            format!(
                "denied: no rule permits it; {heat} would, but it permits QoS 1 at most, it \
                 permits no retained messages, it permits 10 bytes of payload at most"
            )
        );
        check_subscribe(
            "oven-1",
            "#",
            "denied: no rule permits it; the group \"ovens\" at policy.toml:5 with \"kitchen/#\" \
             of the role \"reader\" would, but its filter does not cover it",
        );
    }

    #[test]
    fn a_client_id_is_explained_too() {
        assert_eq!(
            explain("oven-1", "oven-1", Question::Connect),
            "allowed: no rule says which client ids it may use"
        );
        assert_eq!(
            explain("oven-1", "x", Question::Connect),
            "denied: the client id is not one of those that this certificate may use: oven-1, \
             oven-1/*, oven-1:*"
        );
    }
}
