//! Audience: the rules by whom they are for.
//!
//! What rules ask alike is asked once, and a rule for one device costs the others nothing.

use crate::engine::policy::group::{Fit, Selector};
use crate::engine::policy::principal::{Entry, Principal};
use crate::engine::policy::rule::{Rule, Subjects};
use ahash::AHasher;
use certs::{DeviceId, Kind};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

/// The rules by whom they are for.
#[derive(Debug, Default)]
pub(super) struct Audience {
    for_everyone: Vec<usize>,
    by_id: HashMap<(Kind, DeviceId), Vec<usize>, BuildHasherDefault<AHasher>>,
    by_selector: Vec<(Selector, Vec<usize>)>,
    /// Those that are in force at some listeners only.
    listening: Vec<usize>,
}

impl Audience {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut audience = Self::default();
        let mut known = HashMap::<String, usize>::new();
        for (number, rule) in rules.iter().enumerate() {
            if rule.listeners.is_some() {
                audience.listening.push(number);
            }
            match &rule.subjects {
                Subjects::Everyone => audience.for_everyone.push(number),
                Subjects::AnyOf(selectors) => {
                    for selector in selectors {
                        audience.add(selector, number, &mut known);
                    }
                }
            }
        }
        audience
    }

    /// `known` says where in `by_selector` each selector is.
    fn add(&mut self, selector: &Selector, rule: usize, known: &mut HashMap<String, usize>) {
        if let Selector::Ids(kind, pattern) = selector
            && let Some(id) = pattern.only_id()
        {
            return self.by_id.entry((*kind, id)).or_default().push(rule);
        }
        let place = *known.entry(format!("{selector:?}")).or_insert_with(|| {
            self.by_selector.push((selector.clone(), Vec::new()));
            self.by_selector.len() - 1
        });
        if let Some((_, rules)) = self.by_selector.get_mut(place) {
            rules.push(rule);
        }
    }

    /// Every rule that is or may be for `principal`, perhaps more than once.
    pub(super) fn for_each(
        &self,
        principal: Principal<'_>,
        entry: Option<&Entry>,
        mut each: impl FnMut(usize, Fit),
    ) {
        for rule in &self.for_everyone {
            each(*rule, Fit::Yes);
        }
        let key = (principal.subject.kind, principal.subject.id.clone());
        for rule in self.by_id.get(&key).into_iter().flatten() {
            each(*rule, Fit::Yes);
        }
        for (selector, rules) in &self.by_selector {
            let fit = selector.selects(principal, entry);
            if fit == Fit::No {
                continue;
            }
            for rule in rules {
                each(*rule, fit);
            }
        }
    }

    pub(super) fn listening(&self) -> &[usize] {
        &self.listening
    }
}
