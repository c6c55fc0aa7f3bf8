//! Policy: who may publish and subscribe to what, and under which client ids.
//!
//! Deny by default: what no rule permits is refused. A policy exists only without mistakes, and
//! what it permits is a permit, which nothing else can make.

mod document;
pub mod explain;
mod glob;
mod group;
mod index;
mod mistake;
mod parse;
mod permit;
mod principal;
mod rights;
mod rule;
mod stamp;
mod template;
mod window;
mod written;

pub(crate) use document::Document;
pub use mistake::Mistake;
pub use permit::{PublishPermit, SubscribePermit};
pub use principal::{Attributes, Credentials, Entry, Principal};
pub use rights::{Publication, Rights};
pub use rule::{Origin, Rule};
pub(super) use stamp::{Stamp, without_stamp};
pub(crate) use written::{List, Tables, parsed, table};

use glob::{ClientIdPattern, Glob};
use index::{Applicable, Index};
use protocol::{ReasonCode, Text};
use std::sync::Arc;

/// All rules of a broker, and what its registry says of those they are for. Cloning counts a
/// reference.
#[derive(Clone, Debug)]
pub struct Policy(Arc<InForce>);

#[derive(Debug)]
struct InForce {
    index: Arc<Index>,
    attributes: Arc<Attributes>,
}

/// What rules permit and deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// To publish to a topic.
    Publish,
    /// To subscribe to a filter.
    Subscribe,
}

impl Policy {
    /// The policy where none is written: a device publishes and subscribes under
    /// `devices/{device}/#` and subscribes under `broadcast/#`.
    pub fn built_in() -> Self {
        Self::new(vec![Rule::built_in()], ReasonCode::NotAuthorized)
    }

    /// Reads a policy file; `file_name` is what its mistakes and rules are said to stand in.
    ///
    /// # Errors
    /// All mistakes in it. A text without rules is one.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Mistake>> {
        parse::parse(file_name, text)
    }

    fn new(rules: Vec<Rule>, denial: ReasonCode) -> Self {
        Self(Arc::new(InForce {
            index: Arc::new(Index::new(rules, denial)),
            attributes: Arc::default(),
        }))
    }

    /// The same rules, where the registry says this.
    #[must_use]
    pub fn with_attributes(&self, attributes: Arc<Attributes>) -> Self {
        Self(Arc::new(InForce {
            index: Arc::clone(&self.0.index),
            attributes,
        }))
    }

    /// What `principal` may do on a connection with this client id. Every rule for it counts,
    /// whichever of them permits the client id.
    ///
    /// # Errors
    /// [`ClientIdRefused`] where none of them does.
    pub fn rights(
        &self,
        principal: Principal<'_>,
        client_id: &Text,
    ) -> Result<Rights, ClientIdRefused> {
        let entry = self.0.attributes.of(principal.subject);
        let index = self.index();
        let applicable = index.applicable(principal, entry);
        let permitted = client_ids(index, &applicable, principal);
        if !permitted.iter().any(|pattern| pattern.matches(client_id)) {
            return Err(ClientIdRefused { permitted });
        }
        let values = index.values(principal, client_id, entry);
        Ok(Rights::new(self.clone(), applicable, values))
    }

    /// The rules, the built-in one first where it is there.
    pub fn rules(&self) -> &[Rule] {
        &self.index().rules
    }

    /// Whether anything in it depends on the certificate beyond the id, or on the listener, or
    /// tells the certificate.
    pub fn asks_credentials(&self) -> bool {
        self.index().asks_credentials
    }

    /// Whether what it permits changes with the hour.
    #[inline]
    pub fn has_windows(&self) -> bool {
        self.index().has_windows
    }

    /// Whether this is the other one, or a clone of it.
    #[inline]
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn index(&self) -> &Index {
        &self.0.index
    }
}

/// What the rules say about client ids; where none says anything, what holds by default. Of a
/// device that is away, what may hold.
fn client_ids(index: &Index, applicable: &Applicable, principal: Principal<'_>) -> Vec<Glob> {
    let of = |pattern: &ClientIdPattern| pattern.of(&principal.subject.id);
    let is_stated = |rule: &&usize| applicable.is_certain(**rule);
    let is_known = index.stating_client_ids.iter().any(|rule| is_stated(&rule));
    let mut permitted: Vec<Glob> = index
        .stating_client_ids
        .iter()
        .filter(|rule| applicable.possible().contains(**rule))
        .filter_map(|rule| index.rules.get(*rule)?.client_ids.as_ref())
        .flatten()
        .map(of)
        .collect();
    if !is_known {
        permitted.extend(ClientIdPattern::defaults().iter().map(of));
    }
    permitted
}

/// The client id is none that this device may use (0x85; 3.1.1: 0x02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdRefused {
    permitted: Vec<Glob>,
}

impl std::error::Error for ClientIdRefused {}

impl std::fmt::Display for ClientIdRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the client id is not one of those that this certificate may use:")?;
        let mut separator = " ";
        for pattern in &self.permitted {
            write!(f, "{separator}{pattern}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// The policy that a new broker begins with: it teaches the format, and lets applications read
/// what devices say.
pub fn example() -> &'static str {
    include_str!("example.toml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use certs::{DeviceId, Kind, Subject};
    use protocol::topic::{TopicFilter, TopicName};

    const SMALL: Publication = Publication::PLAIN;

    fn here<'a>(subject: &'a Subject, credentials: &'a Credentials) -> Principal<'a> {
        Principal {
            subject,
            credentials: Some(credentials),
        }
    }

    fn subject(name: &str) -> Subject {
        let (kind, id) = match name.strip_prefix("app/") {
            Some(id) => (Kind::App, id),
            None => (Kind::Device, name),
        };
        Subject {
            kind,
            id: DeviceId::parse(id).unwrap(),
        }
    }

    fn rights(policy: &Policy, name: &str) -> Rights {
        let subject = subject(name);
        let credentials = Credentials::default();
        let principal = here(&subject, &credentials);
        policy
            .rights(principal, &Text::parse(subject.id.as_str()).unwrap())
            .unwrap()
    }

    #[track_caller]
    fn check_publish(policy: &Policy, name: &str, topic: &str, expected: bool) {
        let topic = TopicName::parse(topic).unwrap();
        let permit = rights(policy, name).permit_publish(&topic, &SMALL);
        assert_eq!(permit.is_some(), expected, "{name} {topic}");
    }

    #[track_caller]
    fn check_subscribe(policy: &Policy, name: &str, filter: &str, expected: bool) {
        let filter = TopicFilter::parse(filter).unwrap();
        let permit = rights(policy, name).permit_subscribe(&filter, SMALL.at);
        assert_eq!(permit.is_some(), expected, "{name} {filter}");
    }

    #[track_caller]
    fn check_client_id(policy: &Policy, name: &str, client_id: &str, expected: bool) {
        let subject = subject(name);
        let credentials = Credentials::default();
        let principal = here(&subject, &credentials);
        let rights = policy.rights(principal, &Text::parse(client_id).unwrap());
        assert_eq!(rights.is_ok(), expected, "{name} {client_id}");
    }

    fn check_built_in(policy: &Policy) {
        check_publish(policy, "dev-1", "devices/dev-1", true);
        check_publish(policy, "dev-1", "devices/dev-1/a/b", true);
        check_publish(policy, "dev-1", "devices/dev-2/a", false);
        check_publish(policy, "dev-1", "devices/dev-10", false);
        check_publish(policy, "dev-1", "broadcast/a", false);
        check_subscribe(policy, "dev-1", "devices/dev-1/#", true);
        check_subscribe(policy, "dev-1", "$share/g/devices/dev-1/commands/+", true);
        check_subscribe(policy, "dev-1", "broadcast/#", true);
        check_subscribe(policy, "dev-1", "devices/#", false);
        check_subscribe(policy, "dev-1", "devices/+/commands", false);
        check_subscribe(policy, "dev-1", "#", false);
        check_subscribe(policy, "dev-1", "$SYS/#", false);
    }

    #[test]
    fn built_in_is_what_a_device_says_and_what_is_said_to_it() {
        let policy = Policy::built_in();
        check_built_in(&policy);
        // An application that has the id of a device is still not that device.
        check_publish(&policy, "app/dev-1", "devices/dev-1/a", false);
        check_subscribe(&policy, "app/dev-1", "devices/dev-1/#", false);
    }

    #[test]
    fn built_in_false_leaves_nothing_but_the_rules() {
        let text = "built_in = false\n[[rule]]\npublish = 'a'";
        let policy = Policy::parse("policy.toml", text).unwrap();
        check_publish(&policy, "dev-1", "a", true);
        check_publish(&policy, "dev-1", "devices/dev-1/a", false);
        check_subscribe(&policy, "dev-1", "broadcast/a", false);
    }

    #[test]
    fn the_example_lets_applications_read_and_command_devices() {
        let policy = Policy::parse("policy.toml", example()).unwrap();
        check_built_in(&policy);
        check_subscribe(&policy, "app/app-1", "devices/+/#", true);
        check_subscribe(&policy, "app/app-1", "devices/dev-1/temperature", true);
        check_subscribe(&policy, "app/app-1", "$SYS/#", true);
        check_subscribe(&policy, "app/app-1", "devices/#", false);
        check_subscribe(&policy, "app/app-1", "broadcast/#", false);
        check_subscribe(&policy, "app/app-1", "#", false);
        check_publish(&policy, "app/app-1", "devices/dev-1/commands/reboot", true);
        check_publish(&policy, "app/app-1", "broadcast/news", true);
        check_publish(&policy, "app/app-1", "devices/dev-1/temperature", false);
        check_publish(&policy, "app/app-1", "$SYS/a", false);
        check_client_id(&policy, "app/app-1", "app-1:reader", true);
    }

    #[test]
    fn what_the_example_shows_in_comments_is_a_policy_too() {
        let uncommented = |line: &str| match line.strip_prefix('#') {
            Some(code) if code.starts_with(|c: char| c != ' ' && c != '#') => code.to_owned(),
            _ => line.to_owned(),
        };
        let text: Vec<String> = example().lines().map(uncommented).collect();
        let policy = Policy::parse("policy.toml", &text.join("\n")).unwrap();
        assert_eq!(policy.rules().len(), 4);
        check_publish(&policy, "oven-7", "kitchen/oven-7/heat", true);
        check_publish(&policy, "oven-7", "kitchen/oven-7/recipe", false);
        check_publish(&policy, "dev-1", "kitchen/dev-1/heat", false);
        check_subscribe(&policy, "fridge-1", "kitchen/#", true);
        check_subscribe(&policy, "fridge-1", "kitchen/fridge-1/secret/a", false);
        check_client_id(&policy, "gateway-1", "anything at/all", true);
    }

    #[test]
    fn a_rule_is_for_those_it_names_and_without_names_for_all() {
        let text = "[[group]]\nname = 'g'\ndevices = ['g-1', 'h-*']\n\
                    [[rule]]\npublish = 'all'\n\
                    [[rule]]\ndevices = 's-*'\npublish = 's'\n\
                    [[rule]]\ndevices = 'x'\ngroups = ['g', 'apps']\npublish = 'g'\n\
                    [[rule]]\ngroups = 'devices'\npublish = 'd'\n";
        let policy = Policy::parse("policy.toml", text).unwrap();
        for (name, topics) in [
            ("dev-1", &["all", "d"][..]),
            ("s-1", &["all", "s", "d"]),
            ("g-1", &["all", "g", "d"]),
            ("h-2", &["all", "g", "d"]),
            ("x", &["all", "g", "d"]),
            ("g-10", &["all", "d"]),
            ("app/a", &["all", "g"]),
            ("app/s-1", &["all", "g"]),
        ] {
            for topic in ["all", "s", "g", "d"] {
                check_publish(&policy, name, topic, topics.contains(&topic));
            }
        }
    }

    #[test]
    fn a_client_id_is_the_device_id_or_begins_with_it_by_default() {
        let policy = Policy::built_in();
        for name in ["dev-1", "app/dev-1"] {
            check_client_id(&policy, name, "dev-1", true);
            check_client_id(&policy, name, "dev-1/a", true);
            check_client_id(&policy, name, "dev-1:a/b:c", true);
            for other in [
                "", "dev-10", "dev-2", "dev-1-a", "DEV-1", "adev-1", "dev-", "*",
            ] {
                check_client_id(&policy, name, other, false);
            }
        }
    }

    #[test]
    fn client_ids_that_rules_state_hold_instead_of_the_default() {
        let text = "[[rule]]\ndevices = 'gw-*'\nclient_ids = '*'\n\
                    [[rule]]\ndevices = 'strict'\nclient_ids = '{device}'\n\
                    [[rule]]\ndevices = 'm'\nclient_ids = ['a-*', '{device}-{device}']\n\
                    [[rule]]\ndevices = 'm'\nclient_ids = 'b'\npublish = 'x'\n";
        let policy = Policy::parse("policy.toml", text).unwrap();
        check_client_id(&policy, "gw-1", "whatever/+#$", true);
        check_client_id(&policy, "dev-1", "whatever", false);
        check_client_id(&policy, "strict", "strict", true);
        check_client_id(&policy, "strict", "strict/a", false);
        check_client_id(&policy, "m", "a-1", true);
        check_client_id(&policy, "m", "m-m", true);
        check_client_id(&policy, "m", "b", true);
        check_client_id(&policy, "m", "m", false);
    }

    #[test]
    fn a_refused_client_is_told_which_ids_it_may_use() {
        let subject = subject("dev-1");
        let credentials = Credentials::default();
        let principal = here(&subject, &credentials);
        let refused = Policy::built_in().rights(principal, &Text::parse("x").unwrap());
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the client id is not one of those that this certificate may use: \
             dev-1, dev-1/*, dev-1:*"
        );
    }

    #[test]
    fn cve_2017_7650_a_client_id_gives_no_more_than_its_level() {
        let text = "[[rule]]\nclient_ids = '*'\npublish = ['c/{client}/#', 'open/#']\n\
                    subscribe = 'c/{client}/#'\ndeny_publish = 'open/{client}'\n";
        let policy = Policy::parse("policy.toml", text).unwrap();
        let rights = |client_id: &str| {
            let subject = subject("dev-1");
            let credentials = Credentials::default();
            let principal = here(&subject, &credentials);
            let client_id = Text::parse(client_id).unwrap();
            policy.rights(principal, &client_id).unwrap()
        };
        let publishes = |rights: &Rights, topic: &str| {
            rights
                .permit_publish(&TopicName::parse(topic).unwrap(), &SMALL)
                .is_some()
        };
        let plain = rights("x");
        assert!(publishes(&plain, "c/x/a") && publishes(&plain, "open/y"));
        assert!(!publishes(&plain, "c/y/a") && !publishes(&plain, "open/x"));
        for client_id in ["+", "#", "x/y", "$x", "a\nb"] {
            let rights = rights(client_id);
            let filter = TopicFilter::parse("c/+/#").unwrap();
            let permit = rights.permit_subscribe(&filter, SMALL.at);
            assert!(permit.is_none(), "{client_id:?}");
            assert!(!publishes(&rights, "c/x/y"), "{client_id:?}");
            assert!(
                !publishes(&rights, "open/x/y"),
                "{client_id:?}: the deny is shaken off"
            );
        }
    }
}
