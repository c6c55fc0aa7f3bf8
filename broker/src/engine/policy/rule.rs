//! A rule: for whom it is, and what it permits and denies.
//!
//! Rules add up. Their order says nothing, and what one denies no other permits.

use super::glob::{ClientIdPattern, DevicePattern};
use super::template::Template;
use certs::{Kind, Subject};
use std::fmt;
use std::sync::Arc;

/// One rule of a policy.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) origin: Origin,
    pub(super) subjects: Subjects,
    /// The client ids it permits, where it says which.
    pub(super) client_ids: Option<Vec<ClientIdPattern>>,
    pub(super) publish: Filters,
    pub(super) subscribe: Filters,
}

impl Rule {
    /// What every device may do where the policy does not leave it out.
    pub(super) fn built_in() -> Self {
        let (own, broadcast) = (Template::own_topics(), Template::broadcast());
        Self {
            origin: Origin::BuiltIn,
            subjects: Subjects::AnyOf(vec![Selector::Kind(Kind::Device)]),
            client_ids: None,
            publish: Filters {
                allow: vec![own.clone()],
                deny: Vec::new(),
            },
            subscribe: Filters {
                allow: vec![own, broadcast],
                deny: Vec::new(),
            },
        }
    }

    pub(super) fn is_for(&self, subject: &Subject) -> bool {
        match &self.subjects {
            Subjects::Everyone => true,
            Subjects::AnyOf(selectors) => selectors.iter().any(|one| one.selects(subject)),
        }
    }

    /// Where it was written.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// What a rule permits and denies of one kind of act.
#[derive(Clone, Debug)]
pub(super) struct Filters {
    pub(super) allow: Vec<Template>,
    pub(super) deny: Vec<Template>,
}

/// Whom a rule is for.
#[derive(Clone, Debug)]
pub(super) enum Subjects {
    Everyone,
    AnyOf(Vec<Selector>),
}

#[derive(Clone, Debug)]
pub(super) enum Selector {
    Kind(Kind),
    /// Devices by their ids. An application is never meant, whatever its id.
    Devices(DevicePattern),
}

impl Selector {
    fn selects(&self, subject: &Subject) -> bool {
        match self {
            Self::Kind(kind) => subject.kind == *kind,
            Self::Devices(pattern) => subject.kind == Kind::Device && pattern.matches(&subject.id),
        }
    }
}

/// Where a rule comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the broker itself.
    BuiltIn,
    /// From a policy file.
    File {
        /// The file, as its reader was told.
        file: Arc<str>,
        /// The line where the rule begins, counted from 1.
        line: usize,
        /// The name it was given.
        name: Option<Box<str>>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("the built-in rule"),
            Self::File {
                file,
                line,
                name: None,
            } => write!(f, "the rule at {file}:{line}"),
            Self::File {
                file,
                line,
                name: Some(name),
            } => {
                write!(f, "the rule {name:?} at {file}:{line}")
            }
        }
    }
}
