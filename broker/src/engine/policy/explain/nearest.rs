//! Nearest: the rule that would have allowed what none allows, and what was missing.

use super::Deciding;
use crate::engine::policy::group::Fit;
use crate::engine::policy::index::{Clause, Effect};
use crate::engine::policy::rule::{Grant, Rule};
use crate::engine::policy::{Action, Principal, Publication, Rights};
use crate::engine::time::Time;
use protocol::packet::QoS;
use protocol::topic::{TopicFilter, TopicName};
use std::fmt;

/// A rule that nearly allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// The rule.
    pub to: Deciding,
    /// All that keeps it from allowing it.
    pub missing: Vec<Missing>,
}

/// What keeps a rule from allowing something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is for others.
    Subject,
    /// Its filter covers other topics, or not all of them.
    Filter,
    /// A variable of its filter has no value that fits.
    Value(String),
    /// It is in force at other listeners.
    Listener,
    /// It is in force at other times.
    Window(String),
    /// It permits a lower QoS.
    Qos(QoS),
    /// It permits no retained messages.
    Retain,
    /// It permits shorter payloads.
    Payload(usize),
}

/// What somebody asked for.
pub(super) enum Wanted<'a> {
    Name(&'a TopicName, &'a Publication),
    Filter(&'a TopicFilter, Time),
}

impl Wanted<'_> {
    fn action(&self) -> Action {
        match self {
            Self::Name(..) => Action::Publish,
            Self::Filter(..) => Action::Subscribe,
        }
    }

    fn levels(&self) -> impl Iterator<Item = &str> {
        let text = match self {
            Self::Name(topic, _) => topic.as_str(),
            Self::Filter(filter, _) => filter.pattern(),
        };
        text.split('/')
    }

    fn is_covered_by(&self, filter: &TopicFilter) -> bool {
        match self {
            Self::Name(topic, _) => filter.matches(topic),
            Self::Filter(wanted, _) => filter.includes(wanted),
        }
    }
}

impl Rights {
    /// The rule that is the nearest to allowing what is wanted. One that is neither for
    /// `principal` nor about what it wants is not near.
    pub(super) fn nearest(&self, principal: Principal<'_>, wanted: &Wanted<'_>) -> Option<Nearest> {
        let index = self.index();
        let allows = index
            .clauses(wanted.action())
            .filter(|(clause, _)| clause.effect == Effect::Allow);
        let near = allows.filter_map(|(clause, grant)| {
            let rule = index.rules.get(clause.rule)?;
            let missing = self.missing(principal, (clause, rule, grant), wanted);
            let distance = distance(&missing, grant, wanted)?;
            Some((distance, clause, missing))
        });
        let (_, clause, missing) =
            near.min_by_key(|(distance, clause, _)| (*distance, clause.rule, clause.place))?;
        let to = self.deciding(wanted.action(), clause)?;
        Some(Nearest { to, missing })
    }

    fn missing(
        &self,
        principal: Principal<'_>,
        (clause, rule, grant): (Clause, &Rule, &Grant),
        wanted: &Wanted<'_>,
    ) -> Vec<Missing> {
        let mut missing = Vec::new();
        let listens = rule.listens(principal) == Fit::Yes;
        if !self.selects(principal, clause.rule) {
            missing.push(Missing::Subject);
        }
        let value = |variable: &_| self.index().value(variable, self.values());
        match grant.template.filled(value) {
            Some(filter) if wanted.is_covered_by(&filter) => {}
            Some(_) => missing.push(Missing::Filter),
            None => {
                let wide = grant.template.filled_wide(value);
                let covers = wide.is_some_and(|filter| wanted.is_covered_by(&filter));
                let variable = grant.template.unfilled(value).filter(|_| covers);
                missing.push(
                    variable.map_or(Missing::Filter, |name| Missing::Value(name.to_string())),
                );
            }
        }
        if !listens {
            missing.push(Missing::Listener);
        }
        let now = match wanted {
            Wanted::Name(_, publication) => publication.at,
            Wanted::Filter(_, now) => *now,
        };
        if !rule.is_open(now) {
            let windows: Vec<String> = rule.windows.iter().map(ToString::to_string).collect();
            missing.push(Missing::Window(windows.join(", ")));
        }
        if let Wanted::Name(_, publication) = wanted {
            missing.extend(rule.exceeded(publication));
        }
        missing
    }

    /// Whether a rule is for `principal`, wherever it came in.
    fn selects(&self, principal: Principal<'_>, rule: usize) -> bool {
        let index = self.index();
        self.applicable().is_certain(rule) || index.selects(principal, self.entry(principal), rule)
    }
}

impl Rule {
    fn exceeded(&self, publication: &Publication) -> impl Iterator<Item = Missing> {
        let limits = self.limits;
        let qos = (publication.qos > limits.qos_max).then_some(Missing::Qos(limits.qos_max));
        let retain = (publication.retain && !limits.retain).then_some(Missing::Retain);
        let is_longer = publication.payload_len > limits.payload_len_max;
        let payload = is_longer.then_some(Missing::Payload(limits.payload_len_max));
        [qos, retain, payload].into_iter().flatten()
    }
}

/// How far a rule is from allowing it; nothing if it is not near at all.
fn distance(missing: &[Missing], grant: &Grant, wanted: &Wanted<'_>) -> Option<usize> {
    let is_other_topic = missing.contains(&Missing::Filter);
    let is_other_subject = missing.contains(&Missing::Subject);
    if is_other_topic && is_other_subject {
        return None;
    }
    let alike = grant
        .template
        .as_str()
        .split('/')
        .zip(wanted.levels())
        .take_while(|(ours, theirs)| ours == theirs)
        .count();
    let far = if is_other_topic { 1000 } else { 0 };
    let apart = if is_other_subject { 500 } else { 0 };
    Some((far + apart + 10 * missing.len()).saturating_sub(alike))
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} would, but ", self.to)?;
        let mut separator = "";
        for missing in &self.missing {
            write!(f, "{separator}{missing}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject => f.write_str("it is not for this device"),
            Self::Filter => f.write_str("its filter does not cover it"),
            Self::Value(variable) => {
                write!(f, "there is no value for {variable} that fits in a level")
            }
            Self::Listener => f.write_str("it is not in force at this listener"),
            Self::Window(windows) => write!(f, "it is in force {windows}"),
            Self::Qos(max) => write!(f, "it permits QoS {} at most", max.bits()),
            Self::Retain => f.write_str("it permits no retained messages"),
            Self::Payload(max) => write!(f, "it permits {max} bytes of payload at most"),
        }
    }
}
