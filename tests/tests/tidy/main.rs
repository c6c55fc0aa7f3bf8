//! The house rules of the source tree: which way the arrows run, and how large a thing may be.
//!
//! A rule is a function of sources, and says of each breach where it is and what would be right.
//! Each has been seen to fail: a test beside it shows it a source that breaks it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod arrows;
mod code;
mod form;
mod names;
mod purity;
mod sizes;
mod source;

use source::Source;
use std::fmt;

/// A breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    path: String,
    /// Counted from 1; 0 where it is the file as a whole.
    line: usize,
    /// What is wrong, and what would be right.
    what: String,
}

impl Breach {
    fn new(source: &Source, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: source.path.clone(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

type Rule = fn(&[Source]) -> Vec<Breach>;

/// Nothing in our tree breaks the rule.
#[track_caller]
fn holds(rule: Rule) {
    let breaches: Vec<String> = rule(source::tree()).iter().map(Breach::to_string).collect();
    assert!(
        breaches.is_empty(),
        "{} breaches\n{}",
        breaches.len(),
        breaches.join("\n")
    );
}

/// The rule finds, in these sources, one breach at each of these places and none elsewhere.
#[track_caller]
fn finds(rule: Rule, sources: &[(&str, &str)], places: &[&str]) {
    let breaches = rule(&source::sources(sources.iter().copied()));
    let found: Vec<String> = breaches
        .iter()
        .map(|breach| format!("{}:{}", breach.path, breach.line))
        .collect();
    assert_eq!(found, places, "{breaches:#?}");
}
