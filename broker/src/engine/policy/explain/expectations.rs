//! Expectations: what a policy is to allow and to deny, written as a table and judged as tests.

use super::{Decision, Moment, Question};
use crate::engine::policy::Publication;
use crate::engine::policy::document::Document;
use crate::engine::policy::written::{List, Tables};
use crate::engine::policy::{Attributes, Credentials, Entry, Mistake, Policy, Principal};
use crate::engine::time::Time;
use certs::{DeviceId, Kind, Subject};
use protocol::Text;
use protocol::packet::QoS;
use protocol::topic::{TopicFilter, TopicName};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use toml::Spanned;

/// All that may be written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ExpectationsFile {
    policy: Option<String>,
    test: Tables<TestTable>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TestTable {
    name: Option<String>,
    device: Option<Spanned<String>>,
    app: Option<Spanned<String>>,
    client_id: Option<Spanned<String>>,
    cn: Option<String>,
    ou: List<String>,
    o: List<String>,
    anchor: Option<String>,
    issuer_key: Option<String>,
    listener: Option<String>,
    attributes: BTreeMap<String, String>,
    registered: List<String>,
    at: Option<Written<Moment>>,
    qos: u8,
    retain: bool,
    payload_bytes: usize,
    allow_connect: List<Written<Text>>,
    deny_connect: List<Written<Text>>,
    allow_publish: List<Written<TopicName>>,
    deny_publish: List<Written<TopicName>>,
    allow_subscribe: List<Written<TopicFilter>>,
    deny_subscribe: List<Written<TopicFilter>>,
}

/// What was made of a string.
#[derive(Debug)]
struct Written<T>(T);

/// What a policy is to allow and to deny.
#[derive(Debug)]
pub struct Expectations {
    policy: Option<String>,
    cases: Vec<Case>,
}

/// One of them.
#[derive(Debug)]
struct Case {
    line: usize,
    name: String,
    who: Arc<Who>,
    client_id: Text,
    what: What,
    is_allowed: bool,
}

#[derive(Debug)]
struct Who {
    subject: Subject,
    credentials: Credentials,
    attributes: Arc<Attributes>,
}

#[derive(Debug)]
enum What {
    Connect,
    Publish(TopicName, Publication),
    Subscribe(TopicFilter, Time),
}

/// How one expectation was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The line of the expectation.
    pub line: usize,
    /// Who was to be allowed or denied what.
    pub name: String,
    /// What the policy decided.
    pub decision: Decision,
    /// Whether that was expected.
    pub is_met: bool,
}

impl Expectations {
    /// Reads a file of expectations.
    ///
    /// # Errors
    /// All mistakes in it. A text without expectations is one.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Mistake>> {
        let mut document = Document::new(file_name, text);
        let file: Option<ExpectationsFile> = document.read();
        let expectations = file.map(|file| {
            let tables = file.test.0.into_iter();
            let cases: Vec<Case> = tables
                .flat_map(|table| cases(table, &mut document))
                .collect();
            if cases.is_empty() && !document.is_wrong("test") {
                document.mistake_of_all("", "expects nothing; write at least one `[[test]]`");
            }
            Self {
                policy: file.policy,
                cases,
            }
        });
        document.finish(expectations)
    }

    /// The policy file that they are about, as seen from theirs.
    pub fn policy_file(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// Asks a policy all of it.
    pub fn judge(&self, policy: &Policy) -> Vec<Outcome> {
        let judge = |case: &Case| {
            let policy = policy.with_attributes(Arc::clone(&case.who.attributes));
            let principal = Principal {
                subject: &case.who.subject,
                credentials: Some(&case.who.credentials),
            };
            let question = match &case.what {
                What::Connect => Question::Connect,
                What::Publish(topic, publication) => Question::Publish(topic, *publication),
                What::Subscribe(filter, now) => Question::Subscribe(filter, *now),
            };
            let decision = policy.explain(principal, &case.client_id, question);
            Outcome {
                line: case.line,
                name: case.name.clone(),
                is_met: decision.is_allowed() == case.is_allowed,
                decision,
            }
        };
        self.cases.iter().map(judge).collect()
    }
}

/// The expectations of one table.
fn cases(table: Spanned<TestTable>, document: &mut Document<'_>) -> Vec<Case> {
    let at = table.span();
    let mut table = table.into_inner();
    let subject = match (table.device.take(), table.app.take()) {
        (Some(id), None) => subject(Kind::Device, &id, document),
        (None, Some(id)) => subject(Kind::App, &id, document),
        (None, None) | (Some(_), Some(_)) => {
            if !["device", "app"]
                .iter()
                .any(|key| document.is_left_out(&at, key))
            {
                document.mistake(&at, "test", "write who asks: either `device` or `app`");
            }
            None
        }
    };
    let qos = QoS::from_bits(table.qos);
    if qos.is_none() {
        document.mistake(&at, "test.qos", "there are the QoS levels 0, 1 and 2");
    }
    let client_id = client_id(&mut table, subject.as_ref(), document);
    let (Some(subject), Some(qos), Some(client_id)) = (subject, qos, client_id) else {
        return Vec::new();
    };
    let now = table.at.as_ref().map_or(Time::default(), |at| at.0.0);
    let publication = Publication {
        qos,
        retain: table.retain,
        payload_len: table.payload_bytes,
        at: now,
    };
    let mut writer = Writer {
        name: table.name.take(),
        who: Arc::new(who(&mut table, subject)),
        client_id,
        document,
        cases: Vec::new(),
    };
    for (is_allowed, ids) in [(true, table.allow_connect), (false, table.deny_connect)] {
        for id in ids.0 {
            let said = format!("connect as {}", id.get_ref().0.as_str());
            let own = std::mem::replace(&mut writer.client_id, id.get_ref().0.clone());
            writer.add(&id, is_allowed, (said, What::Connect));
            writer.client_id = own;
        }
    }
    for (is_allowed, topics) in [(true, table.allow_publish), (false, table.deny_publish)] {
        for topic in topics.0 {
            let name = topic.get_ref().0.clone();
            let said = format!("publish {}", name.as_str());
            writer.add(&topic, is_allowed, (said, What::Publish(name, publication)));
        }
    }
    for (is_allowed, filters) in [(true, table.allow_subscribe), (false, table.deny_subscribe)] {
        for filter in filters.0 {
            let pattern = filter.get_ref().0.clone();
            let said = format!("subscribe {}", pattern.as_str());
            writer.add(&filter, is_allowed, (said, What::Subscribe(pattern, now)));
        }
    }
    writer.cases
}

/// The cases of one table, as they are added.
struct Writer<'d, 't> {
    name: Option<String>,
    who: Arc<Who>,
    client_id: Text,
    document: &'d mut Document<'t>,
    cases: Vec<Case>,
}

impl Writer<'_, '_> {
    fn add<T>(&mut self, written: &Spanned<T>, is_allowed: bool, (said, what): (String, What)) {
        let verb = if is_allowed { "may" } else { "may not" };
        let prefix = self.name.as_deref().map(|name| format!("{name}: "));
        self.cases.push(Case {
            line: self.document.line(&written.span()),
            name: format!(
                "{}{} {verb} {said}",
                prefix.unwrap_or_default(),
                self.who.subject
            ),
            who: Arc::clone(&self.who),
            client_id: self.client_id.clone(),
            what,
            is_allowed,
        });
    }
}

fn subject(kind: Kind, id: &Spanned<String>, document: &mut Document<'_>) -> Option<Subject> {
    let parsed = DeviceId::parse(id.get_ref());
    let key = format!("test.{}", kind.as_str());
    let parsed = parsed.map_err(|error| document.mistake(&id.span(), &key, error));
    parsed.ok().map(|id| Subject { kind, id })
}

fn client_id(
    table: &mut TestTable,
    subject: Option<&Subject>,
    document: &mut Document<'_>,
) -> Option<Text> {
    match table.client_id.take() {
        None => Text::parse(subject?.id.as_str()).ok(),
        Some(text) => {
            let parsed = Text::parse(text.get_ref());
            let parsed =
                parsed.map_err(|error| document.mistake(&text.span(), "test.client_id", error));
            parsed.ok()
        }
    }
}

fn who(table: &mut TestTable, subject: Subject) -> Who {
    let names = |list: &mut List<String>| std::mem::take(list).values().into_iter();
    let values = std::mem::take(&mut table.attributes).into_iter();
    let entry = Entry {
        groups: names(&mut table.registered).map(Into::into).collect(),
        values: values
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
    };
    Who {
        credentials: Credentials {
            common_name: table.cn.take().map(Into::into),
            organizational_units: Some(names(&mut table.ou).map(Into::into).collect()),
            organizations: Some(names(&mut table.o).map(Into::into).collect()),
            anchor: table.anchor.take().map(Into::into),
            issuer_key_id: table.issuer_key.take().map(Into::into),
            serial: None,
            listener: table.listener.take().map(Into::into),
        },
        attributes: Arc::new([(subject.clone(), entry)].into_iter().collect()),
        subject,
    }
}

impl FromStr for Written<TopicName> {
    type Err = protocol::topic::InvalidTopic;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        TopicName::parse(text).map(Self)
    }
}

impl FromStr for Written<TopicFilter> {
    type Err = protocol::topic::InvalidTopic;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        TopicFilter::parse(text).map(Self)
    }
}

impl FromStr for Written<Text> {
    type Err = protocol::InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Text::parse(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for Written<Moment> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::engine::policy::written::parsed(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "[[group]]\nname = 'ovens'\nou = 'ovens'\n\
        [[rule]]\ngroups = 'ovens'\npublish = 'kitchen/{attr.room}/#'\nqos_max = 0\n\
        [[rule]]\nlisteners = 'inside'\nwhen = 'mon'\nsubscribe = 'night/#'\n";

    fn failures(text: &str) -> Vec<String> {
        let policy = Policy::parse("policy.toml", POLICY).unwrap();
        let expectations = Expectations::parse("tests.toml", text).unwrap();
        let outcomes = expectations.judge(&policy).into_iter();
        outcomes
            .filter(|outcome| !outcome.is_met)
            .map(|outcome| format!("{}: {}: {}", outcome.line, outcome.name, outcome.decision))
            .collect()
    }

    #[test]
    fn what_was_expected_is_met() {
        let text = "[[test]]\ndevice = 'oven-1'\nou = 'ovens'\nattributes = { room = 'hall' }\n\
            allow_publish = ['kitchen/hall/heat']\ndeny_publish = ['kitchen/room/heat', '$SYS/a']\n\
            [[test]]\napp = 'x'\nlistener = 'inside'\nat = '2026-01-05T00:00'\n\
            allow_subscribe = 'night/+'\ndeny_subscribe = '#'\nallow_connect = 'x'\n\
            deny_connect = 'y'\n\
            [[test]]\ndevice = 'oven-1'\nou = 'ovens'\nattributes = { room = 'hall' }\nqos = 1\n\
            deny_publish = 'kitchen/hall/heat'\n\
            [[test]]\napp = 'x'\nlistener = 'inside'\nat = '2026-01-06T00:00'\n\
            deny_subscribe = 'night/+'\n";
        assert_eq!(failures(text), [""; 0]);
    }

    #[test]
    fn what_is_not_met_is_told_with_its_line_and_the_reason() {
        let text = "[[test]]\nname = 'first'\ndevice = 'oven-1'\ndeny_publish = [\n\
            'devices/oven-1/a',\n]\n[[test]]\napp = 'x'\nallow_subscribe = 'night/+'\n";
        assert_eq!(
            failures(text),
            [
                "5: first: oven-1 may not publish devices/oven-1/a: allowed by the built-in rule \
                 with \"devices/{device}/#\"",
                "9: app/x may subscribe night/+: denied: no rule permits it; the rule at \
                 policy.toml:8 with \"night/#\" would, but it is not in force at this listener, it \
                 is in force mon UTC",
            ]
        );
    }

    #[test]
    fn mistakes_in_expectations_are_told() {
        let text = "[[test]]\nallow_publish = 'a'\n[[test]]\ndevice = 'a/b'\nqos = 3\n\
            allow_publish = 'a/+'\nat = 'now'\n";
        let mistakes = Expectations::parse("tests.toml", text).unwrap_err();
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(mistakes.len(), 5, "{mistakes:?}");
        let nothing = Expectations::parse("tests.toml", "").unwrap_err();
        assert!(nothing[0].to_string().contains("expects nothing"));
    }

    /// The blocks in the documentation that begin with this line.
    fn documented(fence: &str) -> Vec<String> {
        let documentation = include_str!("../../../../../docs/policy.md");
        let begins = format!("```{fence}\n");
        let blocks = documentation.split(&begins).skip(1);
        blocks
            .map(|rest| rest.split("```").next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn what_the_documentation_shows_is_so() {
        let policies: Vec<Policy> = documented("toml")
            .iter()
            .map(|text| Policy::parse("policy.toml", text).unwrap())
            .collect();
        assert_eq!(policies.len(), 3);
        let tables = documented("toml expectations");
        assert_eq!(tables.len(), 1);
        let outcomes = Expectations::parse("tests.toml", &tables[0])
            .unwrap()
            .judge(&policies[0]);
        assert_eq!(outcomes.len(), 11);
        for outcome in outcomes {
            assert!(outcome.is_met, "{}: {}", outcome.name, outcome.decision);
        }
        let said = documented("console").concat();
        let asked = said.lines().filter(|line| line.starts_with('$'));
        let answers: Vec<&str> = said.lines().filter(|line| !line.starts_with('$')).collect();
        for (question, answer) in asked.zip(answers) {
            let words: Vec<&str> = question.split(' ').collect();
            let subject = Subject {
                kind: Kind::Device,
                id: DeviceId::parse(words[7]).unwrap(),
            };
            let principal = Principal {
                subject: &subject,
                credentials: Some(&Credentials::default()),
            };
            let topic = TopicName::parse(words[9]).unwrap();
            let client_id = Text::parse(words[7]).unwrap();
            let question = Question::Publish(&topic, Publication::PLAIN);
            let decision = policies[0].explain(principal, &client_id, question);
            assert_eq!(decision.to_string(), answer);
        }
    }
}
