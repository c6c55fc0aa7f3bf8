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
            Some(credentials) => self.is_shown(credentials),
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

    fn is_shown(&self, credentials: &Credentials) -> Fit {
        let common_name = credentials.common_name.as_deref();
        let names = holds(self.common_names.as_deref(), Some(common_name));
        let listed = |wanted: &Option<Vec<Glob>>, names: &Option<Vec<Box<str>>>| {
            let names = names.as_deref();
            holds(
                wanted.as_deref(),
                names.map(|it| it.iter().map(AsRef::as_ref)),
            )
        };
        names
            .min(listed(&self.units, &credentials.organizational_units))
            .min(listed(&self.organizations, &credentials.organizations))
            .min(self.is_issued(credentials))
    }

    fn is_issued(&self, credentials: &Credentials) -> Fit {
        let Some(wanted) = self.issuers.as_deref() else {
            return Fit::Yes;
        };
        let key = credentials
            .issuer_key_id
            .as_deref()
            .map(|id| format!("{ISSUER_KEY}{id}"));
        let by_key = Fit::from(any(wanted, key.as_deref()));
        let is_name = |glob: &Glob| !glob.as_str().starts_with(ISSUER_KEY);
        let names: Vec<Glob> = wanted
            .iter()
            .filter(|glob| is_name(glob))
            .cloned()
            .collect();
        let by_name = match names.as_slice() {
            [] => Fit::No,
            names => holds(Some(names), credentials.anchor.as_deref().map(Some)),
        };
        by_key.max(by_name)
    }
}

/// What stands before the identifier of an issuer's key, so that it is no anchor's name.
pub(super) const ISSUER_KEY: &str = "key:";

/// Whether one of `texts` is wanted; they may not be known.
fn holds<'t, T>(wanted: Option<&[Glob]>, texts: Option<T>) -> Fit
where
    T: IntoIterator<Item = &'t str>,
{
    match (wanted, texts) {
        (None, _) => Fit::Yes,
        (Some(_), None) => Fit::Unknown,
        (Some(wanted), Some(texts)) => any(wanted, texts).into(),
    }
}

fn any<'t>(wanted: &[Glob], texts: impl IntoIterator<Item = &'t str>) -> bool {
    texts
        .into_iter()
        .any(|text| wanted.iter().any(|glob| glob.matches(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use certs::DeviceId;

    fn globs(texts: &[&str]) -> Vec<Glob> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn credentials() -> Credentials {
        Credentials {
            common_name: Some("oven-1".into()),
            organizational_units: Some(vec!["ovens".into(), "berlin".into()]),
            organizations: Some(vec!["fleet ltd".into()]),
            anchor: Some("fleet".into()),
            issuer_key_id: Some("5fe1aa".into()),
            ..Credentials::default()
        }
    }

    #[track_caller]
    fn check(group: &Group, credentials: Option<&Credentials>, expected: Fit) {
        let subject = Subject {
            kind: Kind::Device,
            id: DeviceId::parse("oven-1").unwrap(),
        };
        let principal = Principal {
            subject: &subject,
            credentials,
        };
        let entry = Entry {
            groups: ["kitchen".into()].into(),
            values: [("site".into(), "berlin".into())].into(),
        };
        assert_eq!(
            group.selects(principal, Some(&entry)),
            expected,
            "{group:?}"
        );
    }

    #[test]
    fn all_that_a_group_asks_must_hold_and_one_entry_of_each_list() {
        let here = credentials();
        let units = |texts: &[&str]| Group {
            units: Some(globs(texts)),
            ..Group::default()
        };
        check(&units(&["x", "ber*"]), Some(&here), Fit::Yes);
        check(&units(&["x"]), Some(&here), Fit::No);
        let both = Group {
            organizations: Some(globs(&["other"])),
            ..units(&["ovens"])
        };
        check(&both, Some(&here), Fit::No);
        for (issuers, fit) in [
            (&["fleet"][..], Fit::Yes),
            (&["key:5fe1*"], Fit::Yes),
            (&["key:00*", "fle*"], Fit::Yes),
            (&["5fe1aa", "key:00"], Fit::No),
        ] {
            let group = Group {
                issuers: Some(globs(issuers)),
                ..Group::default()
            };
            check(&group, Some(&here), fit);
        }
    }

    #[test]
    fn the_registry_says_attributes_and_groups() {
        for (name, value, registered, fit) in [
            ("site", "ber*", "kit*", Fit::Yes),
            ("site", "paris", "kitchen", Fit::No),
            ("room", "*", "kitchen", Fit::No),
            ("site", "berlin", "hall", Fit::No),
        ] {
            let group = Group {
                attributes: vec![(name.into(), globs(&[value]))],
                registered: Some(globs(&[registered])),
                ..Group::default()
            };
            check(&group, None, fit);
        }
    }

    #[test]
    fn what_is_not_known_is_neither_yes_nor_no() {
        let group = Group {
            units: Some(globs(&["ovens"])),
            issuers: Some(globs(&["fleet"])),
            ..Group::default()
        };
        check(&group, None, Fit::Unknown);
        let mut here = credentials();
        here.organizational_units = None;
        check(&group, Some(&here), Fit::Unknown);
        here.anchor = None;
        check(&group, Some(&here), Fit::Unknown);
        here.organizational_units = Some(Vec::new());
        check(&group, Some(&here), Fit::No);
    }
}
