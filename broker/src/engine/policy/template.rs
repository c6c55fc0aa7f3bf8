//! A topic filter in which `{device}` and `{client}` stand for whoever asks.
//!
//! What a client chose fills exactly one level, or part of one: it never adds a level, a wildcard
//! or a `$`, and no two clients fill one level alike.

use certs::DeviceId;
use protocol::Text;
use protocol::topic::{InvalidTopic, TopicFilter};
use std::str::FromStr;

/// A topic filter, perhaps with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Level>);

/// One level: text, with at most one variable in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    before: Box<str>,
    variable: Option<Variable>,
    after: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    Device,
    Client,
}

/// What the variables stand for on one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    device: &'a str,
    /// Nothing where the client id could be read as something other than text in one level.
    client: Option<&'a str>,
}

impl<'a> Values<'a> {
    pub(super) fn new(device: &'a DeviceId, client_id: &'a Text) -> Self {
        let fits = !client_id.is_empty()
            && !client_id.contains(['+', '#', '/', '$'])
            && !client_id.contains(char::is_control);
        Self {
            device: device.as_str(),
            client: fits.then_some(client_id.as_str()),
        }
    }

    fn of(&self, variable: Variable) -> Option<&'a str> {
        match variable {
            Variable::Device => Some(self.device),
            Variable::Client => self.client,
        }
    }
}

impl Template {
    /// `devices/{device}/#`, what a device may always use.
    pub(super) fn own_topics() -> Self {
        let device = Level {
            before: "".into(),
            variable: Some(Variable::Device),
            after: "".into(),
        };
        Self(vec![Level::text("devices"), device, Level::text("#")])
    }

    /// `broadcast/#`, what is said to all.
    pub(super) fn broadcast() -> Self {
        Self(vec![Level::text("broadcast"), Level::text("#")])
    }

    /// The text of its first level, up to a variable.
    pub(super) fn first_text(&self) -> &str {
        self.0.first().map_or("", |level| &level.before)
    }

    /// The filter for these values; nothing where a variable has no value.
    pub(super) fn filter(&self, values: &Values<'_>) -> Option<TopicFilter> {
        let levels: Option<Vec<String>> = self.0.iter().map(|level| level.filled(values)).collect();
        TopicFilter::parse(&levels?.join("/")).ok()
    }

    /// The filter for these values, or else one that is wider: a client must not shake off a deny
    /// by calling itself something that fits in no level.
    pub(super) fn filter_or_wider(&self, values: &Values<'_>) -> Option<TopicFilter> {
        self.filter(values).or_else(|| {
            let client = Some(Variable::Client);
            let known = self.0.iter().take_while(|level| level.variable != client);
            let mut levels: Vec<String> = known.filter_map(|level| level.filled(values)).collect();
            levels.push("#".to_owned());
            TopicFilter::parse(&levels.join("/")).ok()
        })
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

    fn filled(&self, values: &Values<'_>) -> Option<String> {
        let value = self
            .variable
            .map_or(Some(""), |variable| values.of(variable))?;
        Some([&self.before, value, &self.after].concat())
    }
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let levels: Result<Vec<Level>, _> = text.split('/').map(Level::from_str).collect();
        let template = Self(levels?);
        // The longest device id, so that no device is left without a filter that others have.
        let longest = "0".repeat(64);
        let values = Values {
            device: &longest,
            client: Some("0"),
        };
        let levels: Option<Vec<String>> = template
            .0
            .iter()
            .map(|level| level.filled(&values))
            .collect();
        let filter = TopicFilter::parse(&levels.unwrap_or_default().join("/"))
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
        let variable = match name {
            "device" => Variable::Device,
            "client" => Variable::Client,
            other => return Err(InvalidTemplate::Variable(other.into())),
        };
        Ok(Self {
            before: before.into(),
            variable: Some(variable),
            after: after.into(),
        })
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
    #[error("there is no variable {{{0}}}; there are {{device}} and {{client}}")]
    Variable(String),
    /// `a-{device}-{client}` of one pair of ids would be that of another.
    #[error("{0:?}: one level holds at most one variable, so that no two ids fill it alike")]
    TwoVariables(String),
    /// A brace that opens or closes nothing.
    #[error("{0:?}: braces stand around variables only, as in \"devices/{{device}}/#\"")]
    Braces(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, client_id: &str) -> (Option<String>, Option<String>) {
        let device = DeviceId::parse("dev-1").unwrap();
        let client_id = Text::parse(client_id).unwrap();
        let values = Values::new(&device, &client_id);
        let template: Template = template.parse().unwrap();
        let text = |filter: Option<TopicFilter>| filter.map(|filter| filter.as_str().to_owned());
        (
            text(template.filter(&values)),
            text(template.filter_or_wider(&values)),
        )
    }

    #[track_caller]
    fn check(template: &str, client_id: &str, expected: &str) {
        let filter = Some(expected.to_owned());
        assert_eq!(
            filled(template, client_id),
            (filter.clone(), filter),
            "{template:?}"
        );
    }

    #[test]
    fn variables_stand_for_the_ids() {
        check("devices/{device}/#", "c", "devices/dev-1/#");
        check("{device}", "c", "dev-1");
        check("a/{device}/b/{client}", "c 1", "a/dev-1/b/c 1");
        check("from-{device}-x/+", "c", "from-dev-1-x/+");
        check("plain/+/#", "#", "plain/+/#");
        check("$SYS/{device}", "c", "$SYS/dev-1");
    }

    #[test]
    fn what_a_client_chose_is_never_more_than_text_in_a_level() {
        for client_id in [
            "", "+", "#", "a/b", "$SYS", "a$", "a\nb", "a\u{85}", "\u{7f}",
        ] {
            let filled = filled("a/{device}/{client}/b", client_id);
            assert_eq!(filled, (None, Some("a/dev-1/#".into())), "{client_id:?}");
        }
        assert_eq!(filled("{client}/b", "a/b"), (None, Some("#".into())));
        assert_eq!(filled("a/x-{client}", "a/b"), (None, Some("a/#".into())));
    }

    #[test]
    fn a_client_id_as_long_as_a_filter_makes_no_filter_and_shakes_off_no_deny() {
        let longest = "c".repeat(Text::LEN_MAX);
        assert_eq!(filled("a/{client}/#", &longest), (None, Some("a/#".into())));
    }

    #[test]
    fn braces_in_a_value_are_not_filled_again() {
        check("a/{client}", "{device}", "a/{device}");
    }

    #[test]
    fn a_template_says_what_is_wrong_with_it() {
        use InvalidTemplate::{Braces, Filter, Shared, TwoVariables, Variable};
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
            ("a/{}", Variable(String::new())),
            (
                "a/{device}{client}",
                TwoVariables("{device}{client}".into()),
            ),
            ("a/{device", Braces("{device".into())),
            ("a/device}", Braces("device}".into())),
            ("a/}{device}", Braces("}{device}".into())),
            ("a/{device}}", Braces("{device}}".into())),
        ] {
            assert_eq!(Template::from_str(text), Err(error), "{text:?}");
        }
        let too_long = format!("{}/{{device}}", "a".repeat(65_500));
        assert!(matches!(Template::from_str(&too_long), Err(Filter(..))));
    }

    #[test]
    fn what_is_built_in_could_be_written() {
        assert_eq!(Ok(Template::own_topics()), "devices/{device}/#".parse());
        assert_eq!(Ok(Template::broadcast()), "broadcast/#".parse());
    }
}
