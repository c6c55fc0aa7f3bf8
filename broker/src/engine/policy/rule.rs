//! A rule: for whom and when it is, and what it permits and denies.
//!
//! Rules add up. Their order says nothing, and what one denies no other permits.

use super::glob::{ClientIdPattern, Glob};
use super::group::Selector;
use super::template::Template;
use super::window::Window;
use crate::engine::time::Time;
use certs::Kind;
use protocol::packet::QoS;
use std::fmt;
use std::sync::Arc;

/// One rule of a policy.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) origin: Origin,
    pub(super) subjects: Subjects,
    /// The listeners at which it is in force; none: all.
    pub(super) listeners: Option<Vec<Glob>>,
    /// When it is in force; empty: always.
    pub(super) windows: Vec<Window>,
    /// The client ids it permits, where it says which.
    pub(super) client_ids: Option<Vec<ClientIdPattern>>,
    pub(super) publish: Filters,
    pub(super) subscribe: Filters,
    pub(super) limits: Limits,
    /// Whether the messages it permits are told who published them.
    pub(super) stamps: bool,
}

impl Rule {
    /// What every device may do where the policy does not leave it out.
    pub(super) fn built_in() -> Self {
        let grant = |text: &str| {
            let template = text.parse().ok();
            template.map(|template| Grant {
                template,
                role: None,
            })
        };
        let (own, broadcast) = (grant("devices/{device}/#"), grant("broadcast/#"));
        Self {
            origin: Origin::BuiltIn,
            subjects: Subjects::AnyOf(vec![Selector::Kind(Kind::Device)]),
            listeners: None,
            windows: Vec::new(),
            client_ids: None,
            publish: Filters {
                allow: own.clone().into_iter().collect(),
                deny: Vec::new(),
            },
            subscribe: Filters {
                allow: own.into_iter().chain(broadcast).collect(),
                deny: Vec::new(),
            },
            limits: Limits::default(),
            stamps: false,
        }
    }

    /// Whether it is in force at this time.
    pub(super) fn is_open(&self, now: Time) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|window| window.holds(now))
    }

    /// A moment up to which [`Self::is_open`] says the same; none: for ever.
    pub(super) fn unchanged_until(&self, now: Time) -> Option<Time> {
        self.windows
            .iter()
            .map(|window| window.unchanged_until(now))
            .min()
    }

    /// Where it was written.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// What a rule permits and denies of one kind of act.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters {
    pub(super) allow: Vec<Grant>,
    pub(super) deny: Vec<Grant>,
}

/// One filter of a rule.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) template: Template,
    /// The role that brought it into the rule.
    pub(super) role: Option<Arc<str>>,
}

/// How far the permissions of a rule go. Its denials go further: they hold whatever the message
/// is like, so that none is shaken off by a larger payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Limits {
    /// The highest QoS to publish with, and to be granted.
    pub(super) qos_max: QoS,
    /// Whether retained messages may be published.
    pub(super) retain: bool,
    pub(super) payload_len_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            qos_max: QoS::ExactlyOnce,
            retain: true,
            payload_len_max: usize::MAX,
        }
    }
}

/// Whom a rule is for.
#[derive(Clone, Debug)]
pub(super) enum Subjects {
    Everyone,
    AnyOf(Vec<Selector>),
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
    /// From the roles that a group of a policy file has.
    Group {
        /// The file, as its reader was told.
        file: Arc<str>,
        /// The line where the group begins, counted from 1.
        line: usize,
        /// The name of the group.
        name: Box<str>,
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
            Self::Group { file, line, name } => {
                write!(f, "the group {name:?} at {file}:{line}")
            }
        }
    }
}
