//! Tree: the filters of all rules by their levels, searched for one topic or filter at a time.
//!
//! A search costs what lies on the way of the topic, not what else is in the policy. It says of
//! every filter found whether it covers what was asked for sure.

use super::clauses::{Certainty, Clause, Clauses, Found, Terms};
use crate::engine::policy::template::{Template, Value};
use ahash::AHasher;
use protocol::topic::{TopicFilter, TopicName};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

/// All filters of one kind of act.
#[derive(Debug)]
pub(in crate::engine::policy) struct Tree {
    nodes: Vec<Node>,
}

/// What all filters have in common that begin with the same levels.
#[derive(Debug, Default)]
struct Node {
    texts: HashMap<Box<str>, usize, BuildHasherDefault<AHasher>>,
    plus: Option<usize>,
    variables: Vec<VariableLevel>,
    /// Those that end here.
    ends: Clauses,
    /// Those that go on with `#`.
    hashes: Clauses,
}

/// The next level where a variable is part of it.
#[derive(Debug)]
struct VariableLevel {
    slot: usize,
    after: Box<str>,
    by_before: HashMap<Box<str>, usize, BuildHasherDefault<AHasher>>,
    /// All filters that begin so: without a value for the variable none can be told from another.
    below: Clauses,
}

const ROOT: usize = 0;

impl Tree {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }

    /// Adds a filter; `slot` says which value each of its variables has.
    pub(super) fn add(
        &mut self,
        template: &Template,
        (clause, terms): (Clause, Terms),
        slot: impl Fn(&crate::engine::policy::template::Variable) -> usize,
    ) {
        let mut at = ROOT;
        // No name is empty, so `/#` matches none without a second level.
        if template.as_str() == "/#" {
            at = self.text_child(at, "");
            at = self.plus_child(at);
            return self.with(at, |node| node.hashes.add(clause, terms));
        }
        for level in &template.levels {
            at = match (&level.variable, &*level.before) {
                (None, "#") => return self.with(at, |node| node.hashes.add(clause, terms)),
                (None, "+") => self.plus_child(at),
                (None, text) => self.text_child(at, text),
                (Some(variable), before) => {
                    let level = (slot(variable), before, &*level.after);
                    self.variable_child(at, level, (clause, terms))
                }
            };
        }
        self.with(at, |node| node.ends.add(clause, terms));
    }

    fn with(&mut self, at: usize, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(at) {
            change(node);
        }
    }

    fn text_child(&mut self, at: usize, text: &str) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else {
            return at;
        };
        let child = *node.texts.entry(text.into()).or_insert(next);
        self.make(child);
        child
    }

    fn plus_child(&mut self, at: usize) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else {
            return at;
        };
        let child = *node.plus.get_or_insert(next);
        self.make(child);
        child
    }

    fn variable_child(
        &mut self,
        at: usize,
        (slot, before, after): (usize, &str, &str),
        (clause, terms): (Clause, Terms),
    ) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else {
            return at;
        };
        let is_same = |level: &VariableLevel| level.slot == slot && *level.after == *after;
        let place = node.variables.iter().position(is_same);
        let place = place.unwrap_or_else(|| {
            node.variables.push(VariableLevel {
                slot,
                after: after.into(),
                by_before: HashMap::default(),
                below: Clauses::default(),
            });
            node.variables.len() - 1
        });
        let Some(level) = node.variables.get_mut(place) else {
            return at;
        };
        level.below.add(clause, terms);
        let child = *level.by_before.entry(before.into()).or_insert(next);
        self.make(child);
        child
    }

    fn make(&mut self, child: usize) {
        if child == self.nodes.len() {
            self.nodes.push(Node::default());
        }
    }

    /// All filters that match `topic`.
    pub(in crate::engine::policy) fn matching<'t>(
        &'t self,
        topic: &TopicName,
        values: &'t [Value],
        found: &mut impl FnMut(Found<'t>),
    ) {
        let search = self.search(values, topic.as_str());
        search.name(ROOT, Some(topic.as_str()), found);
    }

    /// All filters that include the whole of `filter`.
    pub(in crate::engine::policy) fn including<'t>(
        &'t self,
        filter: &TopicFilter,
        values: &'t [Value],
        found: &mut impl FnMut(Found<'t>),
    ) {
        let pattern = pattern(filter);
        let search = self.search(values, pattern);
        // All there is has a first level, so here, and only here, `+/#` is as wide as `#`.
        if pattern == "#"
            && let Some(below) = search.node(ROOT).plus.map(|plus| search.node(plus))
        {
            below.hashes.sure(found);
        }
        search.filter(ROOT, Some(pattern), found);
    }

    /// All filters that have a topic in common with `filter`.
    pub(in crate::engine::policy) fn overlapping<'t>(
        &'t self,
        filter: &TopicFilter,
        values: &'t [Value],
        found: &mut impl FnMut(Found<'t>),
    ) {
        let pattern = pattern(filter);
        let search = self.search(values, pattern);
        search.overlap(ROOT, Some(pattern), found);
    }

    fn search<'t>(&'t self, values: &'t [Value], sought: &str) -> Search<'t> {
        Search {
            tree: self,
            values,
            is_reserved: sought.starts_with('$'),
        }
    }
}

/// One search. Its methods follow the levels of `rest` down from the node `at`.
struct Search<'t> {
    tree: &'t Tree,
    values: &'t [Value],
    /// What is sought begins with `$`, which no wildcard stands for [MQTT-4.7.2-1].
    is_reserved: bool,
}

impl<'t> Search<'t> {
    fn name(&self, at: usize, rest: Option<&str>, found: &mut impl FnMut(Found<'t>)) {
        let node = self.node(at);
        if self.has_wildcards(at) {
            node.hashes.sure(found);
        }
        let Some(rest) = rest else {
            return node.ends.sure(found);
        };
        let (level, rest) = split(rest);
        if self.has_wildcards(at)
            && let Some(plus) = node.plus
        {
            self.name(plus, rest, found);
        }
        self.children(node, level, &mut |child| self.name(child, rest, found));
        self.wide(node, found);
    }

    fn filter(&self, at: usize, rest: Option<&str>, found: &mut impl FnMut(Found<'t>)) {
        let node = self.node(at);
        if self.has_wildcards(at) {
            node.hashes.sure(found);
        }
        let Some(rest) = rest else {
            return node.ends.sure(found);
        };
        self.wide(node, found);
        let (level, rest) = split(rest);
        // `#` stands for the parent too, and for any depth: no other level does.
        if level == "#" {
            return;
        }
        if self.has_wildcards(at)
            && let Some(plus) = node.plus
        {
            self.filter(plus, rest, found);
        }
        if level != "+" {
            self.children(node, level, &mut |child| self.filter(child, rest, found));
        }
    }

    fn overlap(&self, at: usize, rest: Option<&str>, found: &mut impl FnMut(Found<'t>)) {
        let node = self.node(at);
        if self.has_wildcards(at) {
            node.hashes.sure(found);
        }
        let Some(rest) = rest else {
            return node.ends.sure(found);
        };
        self.wide(node, found);
        let (level, below) = split(rest);
        if level == "#" {
            node.ends.sure(found);
        }
        if level != "+" && level != "#" {
            if self.has_wildcards(at)
                && let Some(plus) = node.plus
            {
                self.overlap(plus, below, found);
            }
            return self.children(node, level, &mut |child| self.overlap(child, below, found));
        }
        let rest = if level == "#" { Some("#") } else { below };
        for child in self.all_children(at) {
            self.overlap(child, rest, found);
        }
    }

    /// The children that a level of text leads to, but for the wildcard.
    #[inline]
    fn children(&self, node: &Node, level: &str, each: &mut impl FnMut(usize)) {
        if let Some(child) = node.texts.get(level) {
            each(*child);
        }
        for variable in &node.variables {
            let Some(Value::Fits(value)) = self.values.get(variable.slot) else {
                continue;
            };
            let before = level
                .strip_suffix(&*variable.after)
                .and_then(|level| level.strip_suffix(&**value));
            if let Some(child) = before.and_then(|before| variable.by_before.get(before)) {
                each(*child);
            }
        }
    }

    /// All children that a wildcard leads to.
    fn all_children(&self, at: usize) -> impl Iterator<Item = usize> {
        let node = self.node(at);
        let may = move |text: &str| at != ROOT || !text.starts_with('$');
        let texts = node.texts.iter().filter(move |(text, _)| may(text));
        let values = self.values;
        let variables = node.variables.iter().flat_map(move |level| {
            let has_value = matches!(values.get(level.slot), Some(Value::Fits(_)));
            let known = has_value.then_some(&level.by_before).into_iter().flatten();
            known.filter(move |(before, _)| may(before))
        });
        texts
            .chain(variables)
            .map(|(_, child)| *child)
            .chain(node.plus)
    }

    /// The filters whose next level has no value to compare with.
    #[inline]
    fn wide(&self, node: &'t Node, found: &mut impl FnMut(Found<'t>)) {
        for variable in &node.variables {
            let certainty = match self.values.get(variable.slot) {
                Some(Value::Fits(_)) => continue,
                Some(Value::Unknown) => Certainty::Unknown,
                Some(Value::Unfit) | None => Certainty::Unfit,
            };
            variable.below.give(certainty, found);
        }
    }

    fn has_wildcards(&self, at: usize) -> bool {
        at != ROOT || !self.is_reserved
    }

    fn node(&self, at: usize) -> &'t Node {
        static EMPTY: std::sync::LazyLock<Node> = std::sync::LazyLock::new(Node::default);
        self.tree.nodes.get(at).unwrap_or(&EMPTY)
    }
}

/// The pattern of a filter that matches the same names.
fn pattern(filter: &TopicFilter) -> &str {
    match filter.pattern() {
        "/#" => "/+/#",
        pattern => pattern,
    }
}

fn split(rest: &str) -> (&str, Option<&str>) {
    match rest.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (rest, None),
    }
}
