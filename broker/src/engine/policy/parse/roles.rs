//! Roles in a policy file: filters that rules and groups take under a name.

use super::{GRANTS, check_publish, filters};
use crate::engine::policy::document::Document;
use crate::engine::policy::rule::{Filters, Grant, Rule};
use crate::engine::policy::template::Template;
use crate::engine::policy::written::{List, Tables};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::Spanned;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RoleTable {
    name: Option<Spanned<String>>,
    publish: List<Template>,
    subscribe: List<Template>,
    deny_publish: List<Template>,
    deny_subscribe: List<Template>,
}

/// All roles there are, by their names.
#[derive(Debug)]
pub(super) struct Roles(BTreeMap<String, Role>);

#[derive(Debug)]
struct Role {
    publish: Filters,
    subscribe: Filters,
}

impl Roles {
    pub(super) fn read(tables: Tables<RoleTable>, document: &mut Document<'_>) -> Self {
        let mut roles = Self(BTreeMap::new());
        for table in tables.0 {
            let at = table.span();
            let table = table.into_inner();
            let lists = [
                &table.publish,
                &table.subscribe,
                &table.deny_publish,
                &table.deny_subscribe,
            ];
            let says_nothing = lists.iter().all(|list| list.0.is_empty());
            if says_nothing && !GRANTS.iter().any(|key| document.is_left_out(&at, key)) {
                let keys = GRANTS.join(", ");
                let what = format!("permits and denies nothing; write one of {keys}");
                document.mistake(&at, "role", what);
            }
            check_publish(&table.publish, "role.publish", document);
            let Some(name) = table.name else {
                if !document.is_left_out(&at, "name") {
                    document.mistake(&at, "role.name", "missing; rules take the role by it");
                }
                continue;
            };
            let role = Role {
                publish: filters(table.publish, table.deny_publish),
                subscribe: filters(table.subscribe, table.deny_subscribe),
            };
            roles.add(name, role, document);
        }
        roles
    }

    fn add(&mut self, name: Spanned<String>, role: Role, document: &mut Document<'_>) {
        if self.0.contains_key(name.get_ref()) {
            let what = format!("there is already a role {:?}", name.get_ref());
            document.mistake(&name.span(), "role.name", what);
        }
        self.0.insert(name.into_inner(), role);
    }

    /// Gives a rule the filters of a role.
    pub(super) fn take(
        &self,
        rule: &mut Rule,
        (key, name): (&str, &Spanned<String>),
        document: &mut Document<'_>,
    ) {
        let Some(taken) = self.0.get(name.get_ref()) else {
            let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let what = format!(
                "there is no role {:?}; there are {}",
                name.get_ref(),
                names.join(", ")
            );
            return document.mistake(&name.span(), key, what);
        };
        let name: Arc<str> = name.get_ref().as_str().into();
        for (into, from) in [
            (&mut rule.publish, &taken.publish),
            (&mut rule.subscribe, &taken.subscribe),
        ] {
            for (into, from) in [(&mut into.allow, &from.allow), (&mut into.deny, &from.deny)] {
                into.extend(from.iter().map(|grant| Grant {
                    role: Some(Arc::clone(&name)),
                    ..grant.clone()
                }));
            }
        }
    }
}
