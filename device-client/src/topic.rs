//! Topic names and topic filters (MQTT 5.0 §4.7).
//!
//! What is malformed is refused here, before it is queued: a broker would close the connection over
//! it, and the message would be sent again with the next one, for ever.

use thiserror::Error;

/// The length of a topic is written in two octets [MQTT-4.7.3-3].
const TOPIC_LEN_MAX: usize = 65_535;

/// Why a text is no topic name or no topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidTopic {
    /// It has no characters.
    #[error("it is empty")]
    Empty,
    /// It does not fit into a packet.
    #[error("it is longer than 65,535 bytes")]
    TooLong,
    /// It contains U+0000.
    #[error("it contains a NUL character")]
    Nul,
    /// A name contains `+` or `#`, which only filters may.
    #[error("it contains `+` or `#`, which stand for other topics in a filter only")]
    Wildcard,
    /// A wildcard in a filter does not stand for a whole level, or `#` is not the last.
    #[error("`+` and `#` must be a whole level, and `#` the last one")]
    MisplacedWildcard,
    /// A shared subscription is not `$share/<group>/<filter>`.
    #[error("a shared subscription is written `$share/<group>/<filter>`")]
    MalformedShare,
}

/// Checks the name of the topic of a message.
pub(crate) fn check_name(name: &str) -> Result<(), InvalidTopic> {
    check_text(name)?;
    if name.contains(['+', '#']) {
        return Err(InvalidTopic::Wildcard);
    }
    Ok(())
}

/// Checks a filter to subscribe.
pub(crate) fn check_filter(filter: &str) -> Result<(), InvalidTopic> {
    check_text(filter)?;
    let Some(shared) = filter.strip_prefix("$share/") else {
        return check_levels(filter);
    };
    match shared.split_once('/') {
        Some((group, filter)) if !group.is_empty() && !filter.is_empty() => {
            // [MQTT-4.8.2-2]
            if group.contains(['+', '#']) {
                return Err(InvalidTopic::MalformedShare);
            }
            check_levels(filter)
        }
        _ => Err(InvalidTopic::MalformedShare),
    }
}

/// Whether messages of `topic` are among those that the subscription `filter` asks for.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let filter = without_share(filter);
    // [MQTT-4.7.2-1]
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = topic.split('/');
    for level in filter.split('/') {
        match (level, names.next()) {
            // `sport/#` matches `sport` too [MQTT 5.0 §4.7.1.2].
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

fn without_share(filter: &str) -> &str {
    filter
        .strip_prefix("$share/")
        .and_then(|shared| shared.split_once('/'))
        .map_or(filter, |(_group, filter)| filter)
}

fn check_text(text: &str) -> Result<(), InvalidTopic> {
    if text.is_empty() {
        Err(InvalidTopic::Empty)
    } else if text.len() > TOPIC_LEN_MAX {
        Err(InvalidTopic::TooLong)
    } else if text.contains('\0') {
        Err(InvalidTopic::Nul)
    } else {
        Ok(())
    }
}

fn check_levels(filter: &str) -> Result<(), InvalidTopic> {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let alone = level.len() == 1;
        let hash = level.contains('#');
        if (hash || level.contains('+')) && !alone || hash && levels.peek().is_some() {
            return Err(InvalidTopic::MisplacedWildcard);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_4_7_1_wildcards_match_whole_levels() {
        for (filter, topic, expected) in [
            ("sport/#", "sport", true),
            ("sport/#", "sport/tennis/1", true),
            ("sport/#", "sports", false),
            ("sport/+", "sport/", true),
            ("sport/+", "sport", false),
            ("sport/+", "sport/tennis/1", false),
            ("+/+", "/finance", true),
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
            ("$share/g/a/+", "a/b", true),
            ("$share/g/a/+", "b/b", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn mqtt_4_7_2_leading_wildcards_do_not_match_dollar_topics() {
        assert!(!matches("#", "$SYS/uptime"));
        assert!(!matches("+/uptime", "$SYS/uptime"));
        assert!(matches("$SYS/#", "$SYS/uptime"));
        assert!(matches("$SYS/+", "$SYS/uptime"));
    }

    #[test]
    fn a_name_is_refused_for_what_a_broker_would_close_over() {
        let long = "a".repeat(TOPIC_LEN_MAX + 1);
        for (name, expected) in [
            ("", Err(InvalidTopic::Empty)),
            (long.as_str(), Err(InvalidTopic::TooLong)),
            ("a\0b", Err(InvalidTopic::Nul)),
            ("a/+", Err(InvalidTopic::Wildcard)),
            ("a#", Err(InvalidTopic::Wildcard)),
            ("/é/ ", Ok(())),
        ] {
            assert_eq!(check_name(name), expected, "{name:.10}");
        }
    }

    #[test]
    fn a_filter_is_refused_where_a_wildcard_stands_wrong() {
        for (filter, expected) in [
            ("#", Ok(())),
            ("+/+/#", Ok(())),
            ("a/#/b", Err(InvalidTopic::MisplacedWildcard)),
            ("a#", Err(InvalidTopic::MisplacedWildcard)),
            ("a+/b", Err(InvalidTopic::MisplacedWildcard)),
            ("$share/g/#", Ok(())),
            ("$share/g", Err(InvalidTopic::MalformedShare)),
            ("$share//a", Err(InvalidTopic::MalformedShare)),
            ("$share/g/", Err(InvalidTopic::MalformedShare)),
            ("$share/+/a", Err(InvalidTopic::MalformedShare)),
        ] {
            assert_eq!(check_filter(filter), expected, "{filter}");
        }
    }
}
