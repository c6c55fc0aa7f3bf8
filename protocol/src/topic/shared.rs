//! The grammar of shared subscriptions: `$share/{group}/{filter}` [MQTT 5.0 §4.8.2].
//!
//! It says where the filter proper begins; the filter itself is not looked at here.

use super::InvalidTopic;

const PREFIX: &str = "$share/";

/// Where the pattern begins in the text of a filter: 0 where it is not shared.
///
/// # Errors
/// If the group is missing or has a wildcard, or no filter comes behind it [MQTT-4.8.2-1]
/// [MQTT-4.8.2-2].
pub(super) fn pattern_start(text: &str) -> Result<u16, InvalidTopic> {
    let Some(rest) = text.strip_prefix(PREFIX) else {
        return Ok(0);
    };
    let group = rest.split('/').next().unwrap_or_default();
    if group.is_empty() || group.contains(['+', '#']) {
        return Err(InvalidTopic::ShareGroup);
    }
    let start = PREFIX.len() + group.len() + 1;
    if start >= text.len() {
        return Err(InvalidTopic::ShareFilter);
    }
    u16::try_from(start).map_err(|_| InvalidTopic::ShareFilter)
}

/// The group of a text whose pattern begins at `start`.
pub(super) fn group(text: &str, start: u16) -> Option<&str> {
    let end = usize::from(start).checked_sub(1)?;
    text.get(PREFIX.len()..end)
}
