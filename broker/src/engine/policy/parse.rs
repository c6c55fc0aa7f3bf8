//! The policy file, and the rules it makes.
//!
//! What is doubtful is a mistake, never a wider permission: an empty list is not "everyone", and
//! a group that nobody defined is not an empty one.

mod groups;
mod roles;

use super::document::Document;
use super::glob::{ClientIdPattern, DevicePattern, Glob};
use super::group::Selector;
use super::rights::is_brokers_own;
use super::rule::{Filters, Grant, Limits, Origin, Rule, Subjects};
use super::template::Template;
use super::window::Window;
use super::written::{List, Tables};
use super::{Mistake, Policy};
use certs::Kind;
use groups::{GroupTable, Groups};
use protocol::ReasonCode;
use protocol::packet::QoS;
use roles::{RoleTable, Roles};
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
    role: Tables<RoleTable>,
    rule: Tables<RuleTable>,
}

impl Default for PolicyFile {
    fn default() -> Self {
        Self {
            built_in: true,
            conceal_denials: false,
            group: Tables::default(),
            role: Tables::default(),
            rule: Tables::default(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RuleTable {
    name: Option<Spanned<String>>,
    devices: Option<List<DevicePattern>>,
    apps: Option<List<DevicePattern>>,
    groups: Option<List<String>>,
    listeners: Option<List<Glob>>,
    when: Option<List<Window>>,
    client_ids: Option<Spanned<List<ClientIdPattern>>>,
    roles: List<String>,
    publish: List<Template>,
    subscribe: List<Template>,
    deny_publish: List<Template>,
    deny_subscribe: List<Template>,
    qos_max: Option<Spanned<u8>>,
    retain: Option<Spanned<bool>>,
    payload_bytes_max: Option<Spanned<usize>>,
    stamp: Option<Spanned<bool>>,
}

/// What a rule or a role is there for.
const GRANTS: [&str; 4] = ["publish", "subscribe", "deny_publish", "deny_subscribe"];

/// Reads the rules of a policy file.
pub(super) fn parse(file_name: &str, text: &str) -> Result<Policy, Vec<Mistake>> {
    let mut document = Document::new(file_name, text);
    let policy = document
        .read()
        .map(|file| policy(file, file_name, &mut document));
    document.finish(policy)
}

fn policy(file: PolicyFile, file_name: &str, document: &mut Document<'_>) -> Policy {
    let known = Roles::read(file.role, document);
    let mut rules: Vec<Rule> = file.built_in.then(Rule::built_in).into_iter().collect();
    let file_name: Arc<str> = file_name.into();
    let groups = Groups::read(file.group, (document, &file_name), &known);
    rules.extend(groups.rules());
    let is_empty = file.rule.0.is_empty() && groups.rules().next().is_none();
    if is_empty && !document.is_wrong("rule") {
        document.mistake_of_all("", "no rules; write at least one `[[rule]]`");
    }
    let mut reader = RuleReader {
        document,
        file: file_name,
        groups,
        roles: known,
        lines: BTreeMap::new(),
    };
    rules.extend(file.rule.0.into_iter().map(|table| reader.rule(table)));
    let denial = if file.conceal_denials {
        ReasonCode::UnspecifiedError
    } else {
        ReasonCode::NotAuthorized
    };
    Policy::new(rules, denial)
}

struct RuleReader<'d, 't> {
    document: &'d mut Document<'t>,
    file: Arc<str>,
    groups: Groups,
    roles: Roles,
    /// The lines of the rules so far that have a name.
    lines: BTreeMap<String, usize>,
}

impl RuleReader<'_, '_> {
    fn rule(&mut self, table: Spanned<RuleTable>) -> Rule {
        let at = table.span();
        let mut table = table.into_inner();
        self.check_says_something(&at, &table);
        check_publish(&table.publish, "rule.publish", self.document);
        self.check_client_ids(&table);
        let limits = self.limits(&table);
        let stamps = table.stamp.as_ref().is_some_and(|stamp| *stamp.get_ref());
        let subjects = self.subjects(&mut table);
        let mut rule = Rule {
            origin: self.origin(&at, table.name),
            subjects,
            listeners: table.listeners.map(List::values),
            windows: table.when.map(List::values).unwrap_or_default(),
            client_ids: table.client_ids.map(|ids| ids.into_inner().values()),
            publish: filters(table.publish, table.deny_publish),
            subscribe: filters(table.subscribe, table.deny_subscribe),
            limits,
            stamps,
        };
        for name in &table.roles.0 {
            self.roles
                .take(&mut rule, ("rule.roles", name), self.document);
        }
        rule
    }

    fn check_says_something(&mut self, at: &Range<usize>, table: &RuleTable) {
        let lists = [
            &table.publish,
            &table.subscribe,
            &table.deny_publish,
            &table.deny_subscribe,
        ];
        let says_nothing = lists.iter().all(|list| list.0.is_empty())
            && table.client_ids.is_none()
            && table.roles.0.is_empty();
        let keys = GRANTS.iter().chain(&["client_ids", "roles"]);
        if says_nothing && !keys.clone().any(|key| self.document.is_left_out(at, key)) {
            let keys: Vec<&str> = keys.copied().collect();
            let what = format!(
                "permits and denies nothing; write one of {}",
                keys.join(", ")
            );
            self.document.mistake(at, "rule", what);
        }
    }

    /// A device that has come stays: what it may be called cannot depend on the hour.
    fn check_client_ids(&mut self, table: &RuleTable) {
        if let (Some(client_ids), Some(_)) = (&table.client_ids, &table.when) {
            let what = "client ids do not depend on the hour; write them in a rule without `when`";
            self.document
                .mistake(&client_ids.span(), "rule.client_ids", what);
        }
    }

    fn limits(&mut self, table: &RuleTable) -> Limits {
        let all = Limits::default();
        let publishes = !table.publish.0.is_empty() || !table.roles.0.is_empty();
        let subscribes = !table.subscribe.0.is_empty();
        let mut check = |key: &str, at: Option<Range<usize>>, is_about_something: bool| {
            if let Some(at) = at.filter(|_| !is_about_something) {
                let what = "says how far a permission goes, but the rule has no `publish`";
                self.document.mistake(&at, key, what);
            }
        };
        let (qos, retain) = (&table.qos_max, &table.retain);
        let payload = &table.payload_bytes_max;
        let span = |value: &Option<Spanned<bool>>| value.as_ref().map(Spanned::span);
        let qos_span = qos.as_ref().map(Spanned::span);
        check("rule.qos_max", qos_span, publishes || subscribes);
        check("rule.retain", span(retain), publishes);
        let payload_span = payload.as_ref().map(Spanned::span);
        check("rule.payload_bytes_max", payload_span, publishes);
        check("rule.stamp", span(&table.stamp), publishes);
        let qos_max = qos.as_ref().map(|qos| {
            QoS::from_bits(*qos.get_ref()).unwrap_or_else(|| {
                let what = "there are the QoS levels 0, 1 and 2";
                self.document.mistake(&qos.span(), "rule.qos_max", what);
                QoS::AtMostOnce
            })
        });
        Limits {
            qos_max: qos_max.unwrap_or(all.qos_max),
            retain: retain.as_ref().map_or(all.retain, |value| *value.get_ref()),
            payload_len_max: payload
                .as_ref()
                .map_or(all.payload_len_max, |value| *value.get_ref()),
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

    fn subjects(&mut self, table: &mut RuleTable) -> Subjects {
        let (devices, apps) = (table.devices.take(), table.apps.take());
        let groups = table.groups.take();
        if devices.is_none() && apps.is_none() && groups.is_none() {
            return Subjects::Everyone;
        }
        let mut any_of: Vec<Selector> = ids(devices, apps)
            .map(|(kind, pattern)| Selector::Ids(kind, pattern))
            .collect();
        for name in groups.unwrap_or_default().0 {
            any_of.extend(self.groups.selectors(&name, self.document));
        }
        Subjects::AnyOf(any_of)
    }
}

fn ids(
    devices: Option<List<DevicePattern>>,
    apps: Option<List<DevicePattern>>,
) -> impl Iterator<Item = (Kind, DevicePattern)> {
    let of = |kind, list: Option<List<DevicePattern>>| {
        let patterns = list.map(List::values).unwrap_or_default();
        patterns.into_iter().map(move |pattern| (kind, pattern))
    };
    of(Kind::Device, devices).chain(of(Kind::App, apps))
}

fn filters(allow: List<Template>, deny: List<Template>) -> Filters {
    let grants = |list: List<Template>| {
        let templates = list.values().into_iter();
        templates
            .map(|template| Grant {
                template,
                role: None,
            })
            .collect()
    };
    Filters {
        allow: grants(allow),
        deny: grants(deny),
    }
}

fn check_publish(publish: &List<Template>, key: &str, document: &mut Document<'_>) {
    for template in publish
        .0
        .iter()
        .filter(|template| is_brokers_own(template.get_ref().first_text()))
    {
        let what = "only the broker publishes below $SYS and $share; take this filter out";
        document.mistake(&template.span(), key, what);
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
               deny_publish, deny_subscribe, client_ids, roles",
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
                "policy.toml:3: group: selects nobody; write one of devices, apps, cn, ou, o, \
                 issuers, attributes, registered",
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
                 `apps`, `groups`, `listeners`, `when`, `client_ids`, `roles`, `publish`, \
                 `subscribe`, `deny_publish`, `deny_subscribe`, `qos_max`, `retain`, \
                 `payload_bytes_max`, `stamp`",
                "policy.toml:15: rule.devices: an empty list; fill it or leave the key out",
                "policy.toml:16: rule.client_ids: \"{client}\": the one variable in a client id is \
                 {device}",
            ],
        );
    }

    #[test]
    fn mistakes_in_groups_roles_and_conditions_are_told() {
        check(
            "[[group]]\nname = 'g'\nattributes = {}\n\
             [[group]]\nname = 'h'\nou = ''\nroles = 'none'\n\
             [[role]]\nname = 'r'\npublish = '$SYS/x'\n\
             [[role]]\nname = 'r'\n\
             [[rule]]\nroles = ['r', 'q']\nwhen = 'mondays'\nqos_max = 3\n\
             [[rule]]\nsubscribe = 'a'\nqos_max = 1\nretain = false\n\
             payload_bytes_max = -1\nstamp = true\n\
             [[rule]]\nwhen = 'mon'\nclient_ids = '*'\n",
            &[
                "policy.toml:1: group: selects nobody; write one of devices, apps, cn, ou, o, \
                 issuers, attributes, registered",
                "policy.toml:6: group.ou: an empty text matches nothing; write \"*\" for any",
                "policy.toml:7: group.roles: there is no role \"none\"; there are r",
                "policy.toml:10: role.publish: only the broker publishes below $SYS and $share; \
                 take this filter out",
                "policy.toml:11: role: permits and denies nothing; write one of publish, \
                 subscribe, deny_publish, deny_subscribe",
                "policy.toml:12: role.name: there is already a role \"r\"",
                "policy.toml:14: rule.roles: there is no role \"q\"; there are r",
                "policy.toml:15: rule.when: \"mondays\": write days, hours or both, in UTC, as in \
                 \"mon-fri 08:00-18:00\" or \"sat,sun\"",
                "policy.toml:16: rule.qos_max: there are the QoS levels 0, 1 and 2",
                "policy.toml:20: rule.retain: says how far a permission goes, but the rule has no \
                 `publish`",
                "policy.toml:21: rule.payload_bytes_max: invalid value: integer `-1`, expected \
                 usize",
                "policy.toml:22: rule.stamp: says how far a permission goes, but the rule has no \
                 `publish`",
                "policy.toml:25: rule.client_ids: client ids do not depend on the hour; write \
                 them in a rule without `when`",
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
