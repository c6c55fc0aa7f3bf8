//! The policy file, and the rules it makes.
//!
//! What is doubtful is a mistake, never a wider permission: an empty list is not "everyone", and
//! a group that nobody defined is not an empty one.

use super::document::Document;
use super::glob::{ClientIdPattern, DevicePattern};
use super::permit::is_brokers_own;
use super::rule::{Filters, Origin, Rule, Selector, Subjects};
use super::template::Template;
use super::written::{List, Tables};
use super::{Mistake, Policy};
use certs::Kind;
use protocol::ReasonCode;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;

/// All that may be written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PolicyFile {
    built_in: bool,
    /// Whether a denied filter is answered without the reason (0x80 in place of 0x87).
    conceal_denials: bool,
    group: Tables<GroupTable>,
    rule: Tables<RuleTable>,
}

impl Default for PolicyFile {
    fn default() -> Self {
        Self {
            built_in: true,
            conceal_denials: false,
            group: Tables::default(),
            rule: Tables::default(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct GroupTable {
    name: Option<Spanned<String>>,
    devices: Option<List<DevicePattern>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RuleTable {
    name: Option<Spanned<String>>,
    devices: Option<List<DevicePattern>>,
    groups: Option<List<String>>,
    client_ids: Option<List<ClientIdPattern>>,
    publish: List<Template>,
    subscribe: List<Template>,
    deny_publish: List<Template>,
    deny_subscribe: List<Template>,
}

/// Reads the rules of a policy file.
pub(super) fn parse(file_name: &str, text: &str) -> Result<Policy, Vec<Mistake>> {
    let mut document = Document::new(file_name, text);
    let policy = document
        .read()
        .map(|file| policy(file, file_name, &mut document));
    document.finish(policy)
}

fn policy(file: PolicyFile, file_name: &str, document: &mut Document<'_>) -> Policy {
    if file.rule.0.is_empty() && !document.is_wrong("rule") {
        document.mistake_of_all("", "no rules; write at least one `[[rule]]`");
    }
    let groups = groups(file.group, document);
    let mut reader = RuleReader {
        document,
        file: file_name.into(),
        groups,
        lines: BTreeMap::new(),
    };
    let mut rules: Vec<Rule> = file.built_in.then(Rule::built_in).into_iter().collect();
    rules.extend(file.rule.0.into_iter().map(|table| reader.rule(table)));
    let denial = if file.conceal_denials {
        ReasonCode::UnspecifiedError
    } else {
        ReasonCode::NotAuthorized
    };
    Policy { rules, denial }
}

type Groups = BTreeMap<String, Vec<Selector>>;

fn groups(tables: Tables<GroupTable>, document: &mut Document<'_>) -> Groups {
    let mut groups = Groups::from([
        ("apps".to_owned(), vec![Selector::Kind(Kind::App)]),
        ("devices".to_owned(), vec![Selector::Kind(Kind::Device)]),
    ]);
    for table in tables.0 {
        let at = table.span();
        let GroupTable { name, devices } = table.into_inner();
        if devices.is_none() && !document.is_left_out(&at, "devices") {
            document.mistake(
                &at,
                "group.devices",
                "missing; write a list of ids, `[\"dev-1\"]`",
            );
        }
        let Some(name) = name else {
            if !document.is_left_out(&at, "name") {
                document.mistake(&at, "group.name", "missing; rules call the group by it");
            }
            continue;
        };
        if groups.contains_key(name.get_ref()) {
            let what = format!("there is already a group {:?}", name.get_ref());
            document.mistake(&name.span(), "group.name", what);
        }
        groups.insert(
            name.into_inner(),
            devices.map(selectors).unwrap_or_default(),
        );
    }
    groups
}

fn selectors(devices: List<DevicePattern>) -> Vec<Selector> {
    devices
        .values()
        .into_iter()
        .map(Selector::Devices)
        .collect()
}

struct RuleReader<'d, 't> {
    document: &'d mut Document<'t>,
    file: Arc<str>,
    groups: Groups,
    /// The lines of the rules so far that have a name.
    lines: BTreeMap<String, usize>,
}

impl RuleReader<'_, '_> {
    fn rule(&mut self, table: Spanned<RuleTable>) -> Rule {
        let at = table.span();
        let table = table.into_inner();
        self.check_says_something(&at, &table);
        self.check_publish(&table.publish);
        Rule {
            origin: self.origin(&at, table.name),
            subjects: self.subjects(table.devices, table.groups),
            client_ids: table.client_ids.map(List::values),
            publish: Filters {
                allow: table.publish.values(),
                deny: table.deny_publish.values(),
            },
            subscribe: Filters {
                allow: table.subscribe.values(),
                deny: table.deny_subscribe.values(),
            },
        }
    }

    fn check_says_something(&mut self, at: &Range<usize>, table: &RuleTable) {
        let lists = [
            &table.publish,
            &table.subscribe,
            &table.deny_publish,
            &table.deny_subscribe,
        ];
        let keys = [
            "publish",
            "subscribe",
            "deny_publish",
            "deny_subscribe",
            "client_ids",
        ];
        let says_nothing = lists.iter().all(|list| list.0.is_empty()) && table.client_ids.is_none();
        if says_nothing && !keys.iter().any(|key| self.document.is_left_out(at, key)) {
            let what = format!(
                "permits and denies nothing; write one of {}",
                keys.join(", ")
            );
            self.document.mistake(at, "rule", what);
        }
    }

    fn check_publish(&mut self, publish: &List<Template>) {
        for template in publish
            .0
            .iter()
            .filter(|template| is_brokers_own(template.get_ref().first_text()))
        {
            let what = "only the broker publishes below $SYS and $share; take this filter out";
            self.document
                .mistake(&template.span(), "rule.publish", what);
        }
    }

    fn origin(&mut self, at: &Range<usize>, name: Option<Spanned<String>>) -> Origin {
        let line = self.document.line(at);
        if let Some(name) = &name
            && let Some(other) = self.lines.insert(name.get_ref().clone(), line)
        {
            let what = format!(
                "the rule in line {other} is already called {:?}",
                name.get_ref()
            );
            self.document.mistake(&name.span(), "rule.name", what);
        }
        let name = name.map(|name| name.into_inner().into());
        Origin::File {
            file: Arc::clone(&self.file),
            line,
            name,
        }
    }

    fn subjects(
        &mut self,
        devices: Option<List<DevicePattern>>,
        groups: Option<List<String>>,
    ) -> Subjects {
        if devices.is_none() && groups.is_none() {
            return Subjects::Everyone;
        }
        let mut any_of = devices.map(selectors).unwrap_or_default();
        for name in groups.unwrap_or_default().0 {
            any_of.extend(self.group(&name));
        }
        Subjects::AnyOf(any_of)
    }

    fn group(&mut self, name: &Spanned<String>) -> Vec<Selector> {
        if let Some(selectors) = self.groups.get(name.get_ref()) {
            return selectors.clone();
        }
        let names: Vec<&str> = self.groups.keys().map(String::as_str).collect();
        let what = format!(
            "there is no group {:?}; there are {}",
            name.get_ref(),
            names.join(", ")
        );
        self.document.mistake(&name.span(), "rule.groups", what);
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::Policy;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let mistakes: Vec<String> = match Policy::parse("policy.toml", text) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.iter().map(Mistake::to_string).collect(),
        };
        assert_eq!(mistakes, expected, "{text}");
    }

    #[test]
    fn cve_2018_20145_a_file_that_says_nothing_fails_closed() {
        let no_rules = "policy.toml: no rules; write at least one `[[rule]]`";
        check("", &[no_rules]);
        check("# only a comment\n", &[no_rules]);
        check("built_in = true", &[no_rules]);
        check("[[group]]\nname = 'g'\ndevices = 'a'", &[no_rules]);
        check(
            "rule = []",
            &["policy.toml:1: rule: an empty list; fill it or leave the key out"],
        );
        check(
            "[[rule]]",
            &[
                "policy.toml:1: rule: permits and denies nothing; write one of publish, subscribe, \
               deny_publish, deny_subscribe, client_ids",
            ],
        );
    }

    #[test]
    fn cve_2018_20145_a_truncated_file_or_garbage_is_no_policy() {
        let whole = crate::engine::policy::example();
        let body = whole.find("[[rule]]").unwrap();
        let end = whole.find("publish = [\"devices").unwrap();
        let truncated = (0..=end).filter(|cut| whole.is_char_boundary(*cut));
        let accepted: Vec<&str> = truncated
            .filter(|cut| Policy::parse("policy.toml", &whole[..*cut]).is_ok())
            .filter_map(|cut| whole[body..cut].lines().last())
            .collect();
        // Only a file that ends behind a whole `subscribe` line is a policy, and a narrower one.
        let line = "subscribe = [\"devices/+/#\", \"$SYS/#\"]";
        assert_eq!(accepted, [line, line]);
        for garbage in [
            "\0\0\0",
            "PK\u{3}\u{4}",
            "user dev-1\ntopic #",
            "{\"rules\": []}",
        ] {
            assert!(
                Policy::parse("policy.toml", garbage).is_err(),
                "{garbage:?}"
            );
        }
    }

    #[test]
    fn every_mistake_is_told() {
        check(
            "[[group]]\ndevices = 'a'\n\
             [[group]]\nname = 'apps'\n\
             [[rule]]\nname = 'r'\ndevices = ['a/b', '-*']\npublish = ['a/#/b', '$SYS/#']\n\
             [[rule]]\nname = 'r'\ngroups = ['nobody']\nsubscribe = '$share/g/t'\nqos = 1\n\
             [[rule]]\ndevices = []\nclient_ids = '{client}'\n",
            &[
                "policy.toml:1: group.name: missing; rules call the group by it",
                "policy.toml:3: group.devices: missing; write a list of ids, `[\"dev-1\"]`",
                "policy.toml:4: group.name: there is already a group \"apps\"",
                "policy.toml:7: rule.devices: \"a/b\" matches no device id; write an id, or a part \
                 of one with `*` for the rest, as in \"sensor-*\"",
                "policy.toml:7: rule.devices: \"-*\" matches no device id; write an id, or a part \
                 of one with `*` for the rest, as in \"sensor-*\"",
                "policy.toml:8: rule.publish: \"a/#/b\" is not a topic filter: levels behind `#`",
                "policy.toml:8: rule.publish: only the broker publishes below $SYS and $share; \
                 take this filter out",
                "policy.toml:10: rule.name: the rule in line 5 is already called \"r\"",
                "policy.toml:11: rule.groups: there is no group \"nobody\"; there are apps, \
                 devices",
                "policy.toml:12: rule.subscribe: \"$share/g/t\": write the filter without \
                 `$share/<group>/`; it holds for every group",
                "policy.toml:13: rule.qos: unknown field `qos`, expected one of `name`, `devices`, \
                 `groups`, `client_ids`, `publish`, `subscribe`, `deny_publish`, `deny_subscribe`",
                "policy.toml:15: rule.devices: an empty list; fill it or leave the key out",
                "policy.toml:16: rule.client_ids: \"{client}\": the one variable in a client id is \
                 {device}",
            ],
        );
    }

    #[test]
    fn a_rule_knows_where_it_was_written() {
        let text = "\n[[rule]]\npublish = 'a'\n\n[[rule]]\nname = 'two'\npublish = 'a'\n";
        let policy = Policy::parse("policy.toml", text).unwrap();
        let origins: Vec<String> = policy
            .rules()
            .iter()
            .map(|rule| rule.origin().to_string())
            .collect();
        assert_eq!(
            origins,
            [
                "the built-in rule",
                "the rule at policy.toml:2",
                "the rule \"two\" at policy.toml:5"
            ]
        );
    }
}
