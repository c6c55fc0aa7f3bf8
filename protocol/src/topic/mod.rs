//! Topic names, which messages are published to, and topic filters, which subscriptions ask for
//! [MQTT 5.0 §4.7].
//!
//! Both exist only in a valid form. A topic is a list of levels between slashes; a level may be
//! empty [MQTT-4.7.1-1 to 4.7.3-4].

mod filter;
mod name;
mod shared;

pub use filter::TopicFilter;
pub use name::TopicName;

use crate::InvalidText;

/// The levels of a topic name or filter, in their order; at least one, perhaps an empty one.
pub type Levels<'a> = std::str::Split<'a, char>;

/// Why a text is not a topic name or not a topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidTopic {
    /// No characters at all [MQTT-4.7.3-1].
    #[error("empty")]
    Empty,
    /// A name with `+` or `#` [MQTT-4.7.1-1 of 5.0, MQTT-3.3.2-2].
    #[error("a topic name with a wildcard")]
    WildcardInName,
    /// A filter whose `+` or `#` shares its level with something else [MQTT-4.7.1-1]
    /// [MQTT-4.7.1-2].
    #[error("a wildcard that does not fill its level")]
    WildcardInLevel,
    /// A filter that goes on behind its `#` [MQTT-4.7.1-1].
    #[error("levels behind `#`")]
    LevelsAfterHash,
    /// `$share/` without a group, or with a wildcard in it [MQTT-4.8.2-1] [MQTT-4.8.2-2].
    #[error("`$share` without a valid group name")]
    ShareGroup,
    /// `$share/group` without a topic filter [MQTT-4.8.2-2].
    #[error("`$share` without a topic filter")]
    ShareFilter,
    /// Not a string of MQTT to begin with [MQTT-4.7.3-2] [MQTT-4.7.3-3].
    #[error("{0}")]
    Text(InvalidText),
}

impl From<InvalidText> for InvalidTopic {
    fn from(error: InvalidText) -> Self {
        Self::Text(error)
    }
}
