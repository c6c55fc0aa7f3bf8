//! Clauses: the filters that end in one place of a tree, and a search that found them.
//!
//! Where one rule holds, another of the same terms changes nothing: they are decided together, so
//! that a search costs as many decisions as there are different terms, not as there are rules.

use super::RuleSet;

/// One filter of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::policy) struct Clause {
    pub(in crate::engine::policy) rule: usize,
    pub(in crate::engine::policy) effect: Effect,
    /// Its place among the filters of this kind of the rule.
    pub(in crate::engine::policy) place: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::policy) enum Effect {
    Allow,
    Deny,
}

/// The first rule with the same hours, limits and stamps: it speaks for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::policy) struct Terms {
    pub(in crate::engine::policy) rule: usize,
    /// Whether it has none of these, so that nothing else about the rule matters.
    pub(in crate::engine::policy) are_plain: bool,
}

/// The filters that end in one place.
#[derive(Debug, Default)]
pub(super) struct Clauses(Vec<Alike>);

/// Those of them that have the same effect and whose rules have the same terms.
#[derive(Debug)]
pub(in crate::engine::policy) struct Alike {
    pub(in crate::engine::policy) effect: Effect,
    pub(in crate::engine::policy) terms: Terms,
    clauses: Vec<Clause>,
    rules: RuleSet,
}

/// Filters that were found.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::policy) struct Found<'t> {
    pub(in crate::engine::policy) alike: &'t Alike,
    pub(in crate::engine::policy) certainty: Certainty,
}

/// How sure it is that a filter covers what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::policy) enum Certainty {
    Sure,
    /// It has a variable whose value is not known until the device is here.
    Unknown,
    /// It has a variable whose value fits in no level. A client must not shake off a deny by
    /// calling itself something like that.
    Unfit,
}

impl Clauses {
    pub(super) fn add(&mut self, clause: Clause, terms: Terms) {
        let is_alike = |alike: &&mut Alike| alike.effect == clause.effect && alike.terms == terms;
        if let Some(alike) = self.0.iter_mut().find(is_alike) {
            return alike.add(clause);
        }
        let mut alike = Alike {
            effect: clause.effect,
            terms,
            clauses: Vec::new(),
            rules: RuleSet::default(),
        };
        alike.add(clause);
        self.0.push(alike);
    }

    pub(super) fn sure<'t>(&'t self, found: &mut impl FnMut(Found<'t>)) {
        self.give(Certainty::Sure, found);
    }

    #[inline]
    pub(super) fn give<'t>(&'t self, certainty: Certainty, found: &mut impl FnMut(Found<'t>)) {
        for alike in &self.0 {
            found(Found { alike, certainty });
        }
    }
}

impl Alike {
    fn add(&mut self, clause: Clause) {
        self.clauses.push(clause);
        self.rules.insert(clause.rule);
    }

    /// Whether one of them is of one of these rules.
    #[inline]
    pub(in crate::engine::policy) fn is_of(&self, rules: &RuleSet) -> bool {
        self.rules.meets(rules)
    }

    /// Those that are of these rules.
    pub(in crate::engine::policy) fn of<'t>(
        &'t self,
        rules: &'t RuleSet,
    ) -> impl Iterator<Item = Clause> + 't {
        let clauses = self.clauses.iter().copied();
        clauses.filter(|clause| rules.contains(clause.rule))
    }
}
