//! A topic filter in which variables such as `{device}` stand for what is known of whoever asks.
//!
//! A value fills exactly one level, or part of one: it never adds a level, a wildcard or a `$`,
//! and no two values fill one level alike.

use super::principal::{Entry, Principal};
use protocol::Text;
use protocol::topic::{InvalidTopic, TopicFilter};
use std::fmt;
use std::str::FromStr;

/// A topic filter, perhaps with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    written: Box<str>,
    pub(super) levels: Vec<Level>,
}

/// One level: text, with at most one variable in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) before: Box<str>,
    pub(super) variable: Option<Variable>,
    pub(super) after: Box<str>,
}

/// What may stand in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    /// The device id.
    Device,
    /// The client id.
    Client,
    /// The common name of the certificate.
    CommonName,
    /// The organizational unit of the certificate, where it has exactly one.
    Unit,
    /// What the registry says under this name.
    Attribute(Box<str>),
}

/// What a variable stands for when somebody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Fits(Box<str>),
    /// There is none, or it could be read as something other than text in one level.
    Unfit,
    /// It is not known until the device is here.
    Unknown,
}

/// A longer value fills nothing.
const VALUE_LEN_MAX: usize = 1024;
/// More levels than that no filter of a rule needs.
const LEVELS_LEN_MAX: usize = 128;

impl Template {
    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.written
    }

    /// The text of its first level, up to a variable.
    pub(super) fn first_text(&self) -> &str {
        self.levels.first().map_or("", |level| &level.before)
    }

    /// The filter for these values; nothing where a variable has none that fits.
    pub(super) fn filled(&self, value: impl Fn(&Variable) -> Value) -> Option<TopicFilter> {
        let levels: Option<Vec<String>> = self
            .levels
            .iter()
            .map(|level| level.filled(&value))
            .collect();
        TopicFilter::parse(&levels?.join("/")).ok()
    }

    /// As [`Self::filled`], but with any text where a variable has no value that fits.
    pub(super) fn filled_wide(&self, value: impl Fn(&Variable) -> Value) -> Option<TopicFilter> {
        let level = |level: &Level| level.filled(&value).unwrap_or_else(|| "+".to_owned());
        let levels: Vec<String> = self.levels.iter().map(level).collect();
        TopicFilter::parse(&levels.join("/")).ok()
    }

    /// The first variable that has no value that fits.
    pub(super) fn unfilled(&self, value: impl Fn(&Variable) -> Value) -> Option<&Variable> {
        let variables = self
            .levels
            .iter()
            .filter_map(|level| level.variable.as_ref());
        variables
            .into_iter()
            .find(|variable| !matches!(value(variable), Value::Fits(_)))
    }
}

impl Level {
    fn text(text: &str) -> Self {
        Self {
            before: text.into(),
            variable: None,
            after: "".into(),
        }
    }

    fn filled(&self, value: impl Fn(&Variable) -> Value) -> Option<String> {
        let Some(variable) = &self.variable else {
            return Some(self.before.to_string());
        };
        match value(variable) {
            Value::Fits(value) => Some([&*self.before, &value, &self.after].concat()),
            Value::Unfit | Value::Unknown => None,
        }
    }
}

impl Variable {
    /// What it stands for when `principal` asks under this client id.
    pub(super) fn of(
        &self,
        principal: Principal<'_>,
        client_id: &Text,
        entry: Option<&Entry>,
    ) -> Value {
        match self {
            Self::Device => Value::Fits(principal.subject.id.as_str().into()),
            Self::Client => Value::new(Some(client_id.as_str())),
            Self::CommonName => principal.credentials.map_or(Value::Unknown, |credentials| {
                Value::new(credentials.common_name.as_deref())
            }),
            Self::Unit => {
                let units = principal
                    .credentials
                    .and_then(|credentials| credentials.organizational_units.as_deref());
                match units {
                    None => Value::Unknown,
                    Some([only]) => Value::new(Some(only)),
                    Some(_) => Value::Unfit,
                }
            }
            Self::Attribute(name) => {
                let value = entry.and_then(|entry| entry.values.get(name));
                Value::new(value.map(AsRef::as_ref))
            }
        }
    }
}

impl Value {
    fn new(text: Option<&str>) -> Self {
        let fits = |text: &&str| {
            (1..=VALUE_LEN_MAX).contains(&text.len())
                && !text.contains(['+', '#', '/', '$'])
                && !text.contains(char::is_control)
        };
        text.filter(fits)
            .map_or(Self::Unfit, |text| Self::Fits(text.into()))
    }
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let levels: Result<Vec<Level>, _> = text.split('/').map(Level::from_str).collect();
        let template = Self {
            written: text.into(),
            levels: levels?,
        };
        if template.levels.len() > LEVELS_LEN_MAX {
            return Err(InvalidTemplate::Levels(template.levels.len()));
        }
        // The longest device id, so that no device is left without a filter that others have.
        let longest = "0".repeat(64);
        let sample = |variable: &Variable| match variable {
            Variable::Device => Value::Fits(longest.as_str().into()),
            Variable::Client | Variable::CommonName | Variable::Unit | Variable::Attribute(_) => {
                Value::Fits("0".into())
            }
        };
        let levels: Vec<String> = template
            .levels
            .iter()
            .filter_map(|level| level.filled(sample))
            .collect();
        let filter = TopicFilter::parse(&levels.join("/"))
            .map_err(|cause| InvalidTemplate::Filter(text.into(), cause))?;
        if filter.share_group().is_some() {
            return Err(InvalidTemplate::Shared(text.into()));
        }
        Ok(template)
    }
}

impl FromStr for Level {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let Some((before, rest)) = text.split_once('{') else {
            if text.contains('}') {
                return Err(InvalidTemplate::Braces(text.into()));
            }
            return Ok(Self::text(text));
        };
        let (name, after) = rest
            .split_once('}')
            .ok_or_else(|| InvalidTemplate::Braces(text.into()))?;
        if after.contains('{') {
            return Err(InvalidTemplate::TwoVariables(text.into()));
        }
        if before.contains('}') || after.contains('}') {
            return Err(InvalidTemplate::Braces(text.into()));
        }
        Ok(Self {
            before: before.into(),
            variable: Some(name.parse()?),
            after: after.into(),
        })
    }
}

impl FromStr for Variable {
    type Err = InvalidTemplate;

    fn from_str(name: &str) -> Result<Self, InvalidTemplate> {
        match name {
            "device" => Ok(Self::Device),
            "client" => Ok(Self::Client),
            "cn" => Ok(Self::CommonName),
            "ou" => Ok(Self::Unit),
            other => match other.strip_prefix("attr.") {
                Some(attribute) if !attribute.is_empty() => Ok(Self::Attribute(attribute.into())),
                _ => Err(InvalidTemplate::Variable(other.into())),
            },
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device => f.write_str("{device}"),
            Self::Client => f.write_str("{client}"),
            Self::CommonName => f.write_str("{cn}"),
            Self::Unit => f.write_str("{ou}"),
            Self::Attribute(name) => write!(f, "{{attr.{name}}}"),
        }
    }
}

/// Why a text is not a topic filter of a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidTemplate {
    /// It is no topic filter whatever the variables stand for.
    #[error("{0:?} is not a topic filter: {1}")]
    Filter(String, InvalidTopic),
    /// A rule is about what a shared subscription receives, not about its group.
    #[error("{0:?}: write the filter without `$share/<group>/`; it holds for every group")]
    Shared(String),
    /// No such variable.
    #[error(
        "there is no variable {{{0}}}; there are {{device}}, {{client}}, {{cn}}, {{ou}} and \
         {{attr.<name>}}"
    )]
    Variable(String),
    /// `a-{device}-{client}` of one pair of ids would be that of another.
    #[error("{0:?}: one level holds at most one variable, so that no two ids fill it alike")]
    TwoVariables(String),
    /// A brace that opens or closes nothing.
    #[error("{0:?}: braces stand around variables only, as in \"devices/{{device}}/#\"")]
    Braces(String),
    /// Deeper than any topic.
    #[error("a filter of {0} levels; at most {LEVELS_LEN_MAX}")]
    Levels(usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::Credentials;
    use certs::{DeviceId, Kind, Subject};

    fn value(name: &str, client_id: &str, credentials: Option<&Credentials>) -> Value {
        let subject = Subject {
            kind: Kind::Device,
            id: DeviceId::parse("dev-1").unwrap(),
        };
        let principal = Principal {
            subject: &subject,
            credentials,
        };
        let entry = Entry {
            values: [
                ("site".into(), "berlin".into()),
                ("bad".into(), "a/b".into()),
            ]
            .into(),
            ..Entry::default()
        };
        let client_id = Text::parse(client_id).unwrap();
        name.parse::<Variable>()
            .unwrap()
            .of(principal, &client_id, Some(&entry))
    }

    fn filled(template: &str, client_id: &str) -> Option<String> {
        let template: Template = template.parse().unwrap();
        let value = |variable: &Variable| {
            let name = variable.to_string();
            value(name.trim_matches(['{', '}']), client_id, None)
        };
        template
            .filled(value)
            .map(|filter| filter.as_str().to_owned())
    }

    #[test]
    fn variables_stand_for_what_is_known() {
        for (template, client_id, expected) in [
            ("devices/{device}/#", "c", "devices/dev-1/#"),
            ("{device}", "c", "dev-1"),
            ("a/{device}/b/{client}", "c 1", "a/dev-1/b/c 1"),
            ("from-{device}-x/+", "c", "from-dev-1-x/+"),
            ("plain/+/#", "#", "plain/+/#"),
            ("$SYS/{device}", "c", "$SYS/dev-1"),
            ("sites/{attr.site}/+", "c", "sites/berlin/+"),
            ("a/{client}", "{device}", "a/{device}"),
        ] {
            assert_eq!(filled(template, client_id).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_somebody_chose_is_never_more_than_text_in_a_level() {
        let long = "c".repeat(VALUE_LEN_MAX + 1);
        for text in [
            "", "+", "#", "a/b", "$SYS", "a$", "a\nb", "a\u{85}", "\u{7f}", &long,
        ] {
            assert_eq!(value("client", text, None), Value::Unfit, "{text:?}");
            let credentials = Credentials {
                common_name: Some(text.into()),
                organizational_units: Some(vec![text.into()]),
                ..Credentials::default()
            };
            for name in ["cn", "ou"] {
                assert_eq!(
                    value(name, "c", Some(&credentials)),
                    Value::Unfit,
                    "{text:?}"
                );
            }
        }
        assert_eq!(value("attr.bad", "c", None), Value::Unfit);
        assert_eq!(value("attr.none", "c", None), Value::Unfit);
        assert_eq!(Value::new(Some("a\0")), Value::Unfit);
    }

    #[test]
    fn a_unit_is_a_value_where_there_is_one_alone() {
        let mut credentials = Credentials::default();
        assert_eq!(value("ou", "c", None), Value::Unknown);
        assert_eq!(value("cn", "c", None), Value::Unknown);
        assert_eq!(value("ou", "c", Some(&credentials)), Value::Unknown);
        credentials.organizational_units = Some(vec!["ovens".into()]);
        assert_eq!(
            value("ou", "c", Some(&credentials)),
            Value::Fits("ovens".into())
        );
        credentials.organizational_units = Some(vec!["ovens".into(), "fridges".into()]);
        assert_eq!(value("ou", "c", Some(&credentials)), Value::Unfit);
    }

    #[test]
    fn a_template_says_what_is_wrong_with_it() {
        use InvalidTemplate::{Braces, Filter, Levels, Shared, TwoVariables, Variable};
        for (text, error) in [
            ("", Filter(String::new(), InvalidTopic::Empty)),
            (
                "a/#/b",
                Filter("a/#/b".into(), InvalidTopic::LevelsAfterHash),
            ),
            (
                "+{device}",
                Filter("+{device}".into(), InvalidTopic::WildcardInLevel),
            ),
            ("$share/g/a", Shared("$share/g/a".into())),
            ("$share/{device}/a", Shared("$share/{device}/a".into())),
            ("a/{devise}", Variable("devise".into())),
            ("a/{attr.}", Variable("attr.".into())),
            ("a/{}", Variable(String::new())),
            (
                "a/{device}{client}",
                TwoVariables("{device}{client}".into()),
            ),
            ("a/{device", Braces("{device".into())),
            ("a/device}", Braces("device}".into())),
            ("a/}{device}", Braces("}{device}".into())),
            ("a/{device}}", Braces("{device}}".into())),
            (&"a/".repeat(128), Levels(129)),
        ] {
            assert_eq!(Template::from_str(text), Err(error), "{text:?}");
        }
        let too_long = format!("{}/{{device}}", "a".repeat(65_500));
        assert!(matches!(Template::from_str(&too_long), Err(Filter(..))));
    }
}
