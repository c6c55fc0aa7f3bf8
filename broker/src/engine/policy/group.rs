//! Group: whom a rule is for, by id, certificate, issuer, and what the registry says.
//!
//! All that a group asks must hold. Of somebody away it may not be known; that is an answer of
//! its own, which neither permits nor lets a deny be shaken off.

use super::glob::{DevicePattern, Glob};
use super::principal::{Credentials, Entry, Principal};
use certs::{Kind, Subject};

/// Whether something holds of somebody. Of two, the greater holds of either and the lesser of
/// both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    No,
    /// It is not known until the device is here.
    Unknown,
    Yes,
}

impl From<bool> for Fit {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// Some of those who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selector {
    Kind(Kind),
    /// By their ids, of one kind alone: an application is not the device that has its id.
    Ids(Kind, DevicePattern),
    Group(std::sync::Arc<Group>),
}

impl Selector {
    pub(super) fn selects(&self, principal: Principal<'_>, entry: Option<&Entry>) -> Fit {
        match self {
            Self::Kind(kind) => (principal.subject.kind == *kind).into(),
            Self::Ids(kind, pattern) => is_id(principal.subject, *kind, pattern).into(),
            Self::Group(group) => group.selects(principal, entry),
        }
    }
}

fn is_id(subject: &Subject, kind: Kind, pattern: &DevicePattern) -> bool {
    subject.kind == kind && pattern.matches(&subject.id)
}

/// A named set of devices and applications. Each list holds where one of its entries does; a
/// list that is not written holds always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// `devices` and `apps` together.
    pub(super) ids: Option<Vec<(Kind, DevicePattern)>>,
    pub(super) common_names: Option<Vec<Glob>>,
    pub(super) units: Option<Vec<Glob>>,
    pub(super) organizations: Option<Vec<Glob>>,
    pub(super) issuers: Option<Vec<Glob>>,
    /// Names and what is asked of their values.
    pub(super) attributes: Vec<(Box<str>, Vec<Glob>)>,
    /// Names of groups in the registry.
    pub(super) registered: Option<Vec<Glob>>,
}

impl Group {
    /// Whether it asks for what only somebody who is here can show.
    pub(super) fn asks_credentials(&self) -> bool {
        let lists = [
            &self.common_names,
            &self.units,
            &self.organizations,
            &self.issuers,
        ];
        lists.into_iter().any(Option::is_some)
    }

    fn selects(&self, principal: Principal<'_>, entry: Option<&Entry>) -> Fit {
        let ids = self.ids.as_ref().is_none_or(|ids| {
            ids.iter()
                .any(|(kind, pattern)| is_id(principal.subject, *kind, pattern))
        });
        if !ids || !self.is_registered(entry) {
            return Fit::No;
        }
        match principal.credentials {
            Some(credentials) => self.is_shown(credentials).into(),
            None if self.asks_credentials() => Fit::Unknown,
            None => Fit::Yes,
        }
    }

    fn is_registered(&self, entry: Option<&Entry>) -> bool {
        let has = |(name, wanted): &(Box<str>, Vec<Glob>)| {
            let value = entry.and_then(|entry| entry.values.get(name));
            value.is_some_and(|value| any(wanted, [&**value]))
        };
        let is_in = |wanted: &Vec<Glob>| {
            entry.is_some_and(|entry| any(wanted, entry.groups.iter().map(AsRef::as_ref)))
        };
        self.attributes.iter().all(has) && self.registered.as_ref().is_none_or(is_in)
    }

    fn is_shown(&self, credentials: &Credentials) -> bool {
        let issuer_key = credentials
            .issuer_key_id
            .as_deref()
            .map(|id| format!("{ISSUER_KEY}{id}"));
        let issuers = credentials.anchor.as_deref().into_iter();
        holds(&self.common_names, credentials.common_name.as_deref())
            && holds(
                &self.units,
                credentials.organizational_units.iter().map(AsRef::as_ref),
            )
            && holds(
                &self.organizations,
                credentials.organizations.iter().map(AsRef::as_ref),
            )
            && holds(&self.issuers, issuers.chain(issuer_key.as_deref()))
    }
}

/// What stands before the identifier of an issuer's key, so that it is no anchor's name.
pub(super) const ISSUER_KEY: &str = "key:";

fn holds<'t>(wanted: &Option<Vec<Glob>>, texts: impl IntoIterator<Item = &'t str>) -> bool {
    wanted.as_ref().is_none_or(|wanted| any(wanted, texts))
}

fn any<'t>(wanted: &[Glob], texts: impl IntoIterator<Item = &'t str>) -> bool {
    texts
        .into_iter()
        .any(|text| wanted.iter().any(|glob| glob.matches(text)))
}
