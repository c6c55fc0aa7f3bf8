//! Groups in a policy file: whom rules may be for under a name.

use super::roles::Roles;
use super::{filters, ids};
use crate::engine::policy::document::Document;
use crate::engine::policy::glob::{DevicePattern, Glob};
use crate::engine::policy::group::{Group, Selector};
use crate::engine::policy::rule::{Limits, Origin, Rule, Subjects};
use crate::engine::policy::written::{List, Tables};
use certs::Kind;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GroupTable {
    name: Option<Spanned<String>>,
    devices: Option<List<DevicePattern>>,
    apps: Option<List<DevicePattern>>,
    cn: Option<List<Glob>>,
    ou: Option<List<Glob>>,
    o: Option<List<Glob>>,
    issuers: Option<List<Glob>>,
    attributes: BTreeMap<String, List<Glob>>,
    registered: Option<List<Glob>>,
    roles: List<String>,
}

const SELECTING: [&str; 8] = [
    "devices",
    "apps",
    "cn",
    "ou",
    "o",
    "issuers",
    "attributes",
    "registered",
];

/// All groups there are, by their names.
#[derive(Debug)]
pub(super) struct Groups {
    by_name: BTreeMap<String, Vec<Selector>>,
    /// What the roles of groups make.
    rules: Vec<Rule>,
}

impl Groups {
    pub(super) fn read(
        tables: Tables<GroupTable>,
        (document, file): (&mut Document<'_>, &Arc<str>),
        roles: &Roles,
    ) -> Self {
        let kinds = [("apps", Kind::App), ("devices", Kind::Device)];
        let mut groups = Self {
            by_name: kinds
                .map(|(name, kind)| (name.to_owned(), vec![Selector::Kind(kind)]))
                .into(),
            rules: Vec::new(),
        };
        for table in tables.0 {
            let at = table.span();
            let mut table = table.into_inner();
            let (name, names) = (table.name.take(), std::mem::take(&mut table.roles));
            let selectors = selectors(&at, table, document);
            let Some(name) = name else {
                if !document.is_left_out(&at, "name") {
                    document.mistake(&at, "group.name", "missing; rules call the group by it");
                }
                continue;
            };
            let mut rule = Rule {
                origin: Origin::Group {
                    file: Arc::clone(file),
                    line: document.line(&at),
                    name: name.get_ref().as_str().into(),
                },
                subjects: Subjects::AnyOf(selectors.clone()),
                listeners: None,
                windows: Vec::new(),
                client_ids: None,
                publish: filters(List::default(), List::default()),
                subscribe: filters(List::default(), List::default()),
                limits: Limits::default(),
                stamps: false,
            };
            for role in &names.0 {
                roles.take(&mut rule, ("group.roles", role), document);
            }
            groups.rules.extend((!names.0.is_empty()).then_some(rule));
            groups.add(name, selectors, document);
        }
        groups
    }

    fn add(
        &mut self,
        name: Spanned<String>,
        selectors: Vec<Selector>,
        document: &mut Document<'_>,
    ) {
        if self.by_name.contains_key(name.get_ref()) {
            let what = format!("there is already a group {:?}", name.get_ref());
            document.mistake(&name.span(), "group.name", what);
        }
        self.by_name.insert(name.into_inner(), selectors);
    }

    /// What the roles of groups permit and deny.
    pub(super) fn rules(&self) -> impl Iterator<Item = Rule> {
        self.rules.iter().cloned()
    }

    /// Who is in the group of this name.
    pub(super) fn selectors(
        &self,
        name: &Spanned<String>,
        document: &mut Document<'_>,
    ) -> Vec<Selector> {
        if let Some(selectors) = self.by_name.get(name.get_ref()) {
            return selectors.clone();
        }
        let names: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
        let what = format!(
            "there is no group {:?}; there are {}",
            name.get_ref(),
            names.join(", ")
        );
        document.mistake(&name.span(), "rule.groups", what);
        Vec::new()
    }
}

/// Whom a group selects. One of ids alone is as good as its ids.
fn selectors(at: &Range<usize>, table: GroupTable, document: &mut Document<'_>) -> Vec<Selector> {
    let has_ids = table.devices.is_some() || table.apps.is_some();
    let ids: Vec<_> = ids(table.devices, table.apps).collect();
    let attributes = table.attributes.into_iter();
    let mut group = Group {
        ids: None,
        common_names: table.cn.map(List::values),
        units: table.ou.map(List::values),
        organizations: table.o.map(List::values),
        issuers: table.issuers.map(List::values),
        attributes: attributes
            .map(|(name, values)| (name.into(), values.values()))
            .collect(),
        registered: table.registered.map(List::values),
    };
    if group != Group::default() {
        group.ids = has_ids.then_some(ids);
        return vec![Selector::Group(Arc::new(group))];
    }
    if !has_ids && !SELECTING.iter().any(|key| document.is_left_out(at, key)) {
        let what = format!("selects nobody; write one of {}", SELECTING.join(", "));
        document.mistake(at, "group", what);
    }
    ids.into_iter()
        .map(|(kind, pattern)| Selector::Ids(kind, pattern))
        .collect()
}
