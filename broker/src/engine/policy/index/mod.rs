//! Index: a policy in the form in which it is asked, made once for all connections.
//!
//! The filters stand in trees with their variables unfilled, and the rules are found by whom
//! they are for: what one connection has of its own is the set of its rules and its values.

mod audience;
mod clauses;
mod rule_set;
mod tree;

pub(super) use clauses::{Alike, Certainty, Clause, Effect, Found};
pub(super) use rule_set::RuleSet;
pub(super) use tree::Tree;

use super::Action;
use super::group::{Fit, Selector};
use super::principal::{Entry, Principal};
use super::rule::{Filters, Grant, Limits, Rule, Subjects};
use super::template::{Value, Variable};
use super::window::Window;
use audience::Audience;
use clauses::Terms;
use protocol::{ReasonCode, Text};
use std::collections::HashMap;

/// A policy in the form in which it is asked.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) rules: Vec<Rule>,
    /// What a 5.0 client is told of a filter that is denied.
    pub(super) denial: ReasonCode,
    pub(super) publish: Tree,
    pub(super) subscribe: Tree,
    /// The variables of all filters, each once.
    variables: Vec<Variable>,
    audience: Audience,
    /// Whether any rule is in force at some times only.
    pub(super) has_windows: bool,
    /// The rules that say something about client ids.
    pub(super) stating_client_ids: Vec<usize>,
    /// Whether anything depends on the certificate or the listener.
    pub(super) asks_credentials: bool,
}

/// The rules for somebody.
#[derive(Clone, Debug)]
pub(super) struct Applicable {
    /// Those that are for it.
    pub(super) certain: RuleSet,
    /// Those too of which it is not known, where there may be any.
    pub(super) possible: Option<RuleSet>,
}

impl Index {
    pub(super) fn new(rules: Vec<Rule>, denial: ReasonCode) -> Self {
        let mut variables = Vec::new();
        let (mut publish, mut subscribe) = (Tree::new(), Tree::new());
        let mut known = HashMap::new();
        for (number, rule) in rules.iter().enumerate() {
            let terms = Terms {
                rule: *known.entry(rule.terms()).or_insert(number),
                are_plain: rule.is_plain(),
            };
            for (tree, filters) in [
                (&mut publish, &rule.publish),
                (&mut subscribe, &rule.subscribe),
            ] {
                for (clause, grant) in clauses(number, filters) {
                    note(grant, &mut variables);
                    let slot = |variable: &Variable| {
                        let place = variables.iter().position(|known| known == variable);
                        place.unwrap_or(usize::MAX)
                    };
                    tree.add(&grant.template, (clause, terms), slot);
                }
            }
        }
        let on_certificate =
            |variable: &Variable| matches!(variable, Variable::CommonName | Variable::Unit);
        Self {
            publish,
            subscribe,
            audience: Audience::new(&rules),
            asks_credentials: variables.iter().any(on_certificate)
                || rules.iter().any(Rule::asks_credentials),
            stating_client_ids: (0..)
                .zip(&rules)
                .filter(|(_, rule)| rule.client_ids.is_some())
                .map(|(number, _)| number)
                .collect(),
            has_windows: rules.iter().any(|rule| !rule.windows.is_empty()),
            variables,
            rules,
            denial,
        }
    }

    /// The rules for `principal`.
    pub(super) fn applicable(&self, principal: Principal<'_>, entry: Option<&Entry>) -> Applicable {
        let mut certain = RuleSet::default();
        let mut unknown = Vec::new();
        self.audience
            .for_each(principal, entry, |rule, fit| match fit {
                Fit::Yes => certain.insert(rule),
                Fit::Unknown => unknown.push(rule),
                Fit::No => {}
            });
        for rule in self.audience.listening() {
            let fit = self
                .rules
                .get(*rule)
                .map_or(Fit::No, |rule| rule.listens(principal));
            if fit == Fit::Unknown && certain.contains(*rule) {
                unknown.push(*rule);
            }
            if fit != Fit::Yes {
                certain.remove(*rule);
            }
        }
        let possible = (!unknown.is_empty()).then(|| {
            let mut possible = certain.clone();
            for rule in unknown {
                possible.insert(rule);
            }
            possible
        });
        Applicable { certain, possible }
    }

    /// The values of all variables.
    pub(super) fn values(
        &self,
        principal: Principal<'_>,
        client_id: &Text,
        entry: Option<&Entry>,
    ) -> Box<[Value]> {
        self.variables
            .iter()
            .map(|variable| variable.of(principal, client_id, entry))
            .collect()
    }

    /// Whether a rule is for `principal`, if it is in force at the listener.
    pub(super) fn selects(
        &self,
        principal: Principal<'_>,
        entry: Option<&Entry>,
        rule: usize,
    ) -> bool {
        let rule = self.rules.get(rule);
        rule.is_some_and(|rule| match &rule.subjects {
            Subjects::Everyone => true,
            Subjects::AnyOf(selectors) => selectors
                .iter()
                .any(|selector| selector.selects(principal, entry) == Fit::Yes),
        })
    }

    pub(super) fn tree(&self, action: Action) -> &Tree {
        match action {
            Action::Publish => &self.publish,
            Action::Subscribe => &self.subscribe,
        }
    }

    /// A rule of the terms of what was found.
    pub(super) fn rule_of(&self, found: Found<'_>) -> Option<&Rule> {
        self.rules.get(found.alike.terms.rule)
    }

    /// The filter that a clause is.
    pub(super) fn grant(&self, action: Action, clause: Clause) -> Option<&Grant> {
        let filters = self.rules.get(clause.rule)?.filters(action);
        match clause.effect {
            Effect::Allow => filters.allow.get(clause.place),
            Effect::Deny => filters.deny.get(clause.place),
        }
    }

    /// All filters of one kind of act, with the rules they are in.
    pub(super) fn clauses(&self, action: Action) -> impl Iterator<Item = (Clause, &Grant)> {
        let rules = self.rules.iter().enumerate();
        rules.flat_map(move |(number, rule)| clauses(number, rule.filters(action)))
    }

    /// What stands for a variable, of those that are in a filter.
    pub(super) fn value(&self, variable: &Variable, values: &[Value]) -> Value {
        let place = self.variables.iter().position(|known| known == variable);
        let value = place.and_then(|place| values.get(place));
        value.cloned().unwrap_or(Value::Unfit)
    }
}

impl Applicable {
    /// Those that are or may be for it.
    pub(super) fn possible(&self) -> &RuleSet {
        self.possible.as_ref().unwrap_or(&self.certain)
    }

    pub(super) fn is_certain(&self, rule: usize) -> bool {
        self.certain.contains(rule)
    }
}

impl Rule {
    pub(super) fn filters(&self, action: Action) -> &Filters {
        match action {
            Action::Publish => &self.publish,
            Action::Subscribe => &self.subscribe,
        }
    }

    /// Whether it is in force at the listener that somebody came to.
    pub(super) fn listens(&self, principal: Principal<'_>) -> Fit {
        let Some(listeners) = &self.listeners else {
            return Fit::Yes;
        };
        let Some(credentials) = principal.credentials else {
            return Fit::Unknown;
        };
        let Some(name) = credentials.listener.as_deref() else {
            return Fit::Unknown;
        };
        listeners.iter().any(|glob| glob.matches(name)).into()
    }

    /// What it says when and where it holds.
    fn terms(&self) -> (&[Window], bool, Limits) {
        (&self.windows, self.stamps, self.limits)
    }

    fn is_plain(&self) -> bool {
        self.terms() == (&[], false, Limits::default())
    }

    /// Whether anything depends on what only somebody who is here can show.
    fn asks_credentials(&self) -> bool {
        let asks = |selector: &Selector| match selector {
            Selector::Group(group) => group.asks_credentials(),
            Selector::Kind(_) | Selector::Ids(..) => false,
        };
        let selects = match &self.subjects {
            Subjects::Everyone => false,
            Subjects::AnyOf(selectors) => selectors.iter().any(asks),
        };
        selects || self.listeners.is_some() || self.stamps
    }
}

fn clauses(rule: usize, filters: &Filters) -> impl Iterator<Item = (Clause, &Grant)> {
    let numbered = move |effect, grants: &'_ [Grant]| {
        (0..grants.len())
            .map(move |place| Clause {
                rule,
                effect,
                place,
            })
            .collect::<Vec<_>>()
    };
    let allow = numbered(Effect::Allow, &filters.allow);
    let deny = numbered(Effect::Deny, &filters.deny);
    let clauses = allow.into_iter().chain(deny);
    clauses.zip(filters.allow.iter().chain(&filters.deny))
}

fn note(grant: &Grant, variables: &mut Vec<Variable>) {
    for level in &grant.template.levels {
        if let Some(variable) = &level.variable
            && !variables.contains(variable)
        {
            variables.push(variable.clone());
        }
    }
}
