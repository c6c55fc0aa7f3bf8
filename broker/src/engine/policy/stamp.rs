//! Stamp: what the broker itself says of who published a message, in user properties.
//!
//! Names that begin with `$by.` are the broker's: what a client sends under such a name is taken
//! out, so that whoever reads one can believe it.

use super::explain::Moment;
use crate::engine::time::Time;
use certs::Subject;
use protocol::Text;
use protocol::packet::{ForwardedProperties, PropertiesTooLong};

/// Who published a message, by which certificate, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Stamp {
    words: Vec<(&'static str, String)>,
}

const PREFIX: &str = "$by.";

impl Stamp {
    pub(in crate::engine) fn new(subject: &Subject, serial: Option<&str>, now: Time) -> Self {
        let serial = serial.map(|serial| ("$by.serial", serial.to_owned()));
        let device = ("$by.device", subject.to_string());
        let time = ("$by.time", Moment(now).to_string());
        let words = [Some(device), serial, Some(time)];
        Self {
            words: words.into_iter().flatten().collect(),
        }
    }

    /// The properties with this stamp, in place of what the client said.
    pub(in crate::engine) fn put_on(
        &self,
        properties: &ForwardedProperties,
    ) -> Option<Result<ForwardedProperties, PropertiesTooLong>> {
        let mut parts = properties.parts();
        let own = &mut parts.user_properties;
        own.retain(|(name, _)| !name.as_str().starts_with(PREFIX));
        let text = |text: &str| Text::parse(text).ok();
        let words = self.words.iter();
        own.extend(words.filter_map(|(name, value)| Some((text(name)?, text(value)?))));
        Some(ForwardedProperties::from_parts(&parts))
    }
}

/// The properties without what only the broker says; nothing where they are good as they are.
#[inline]
pub(in crate::engine) fn without_stamp(
    properties: &ForwardedProperties,
) -> Option<Result<ForwardedProperties, PropertiesTooLong>> {
    let block = properties.as_bytes();
    // Whoever has no such octets has no such name, and nothing is taken apart.
    let is_suspect = block
        .windows(PREFIX.len())
        .any(|octets| octets == PREFIX.as_bytes());
    if !is_suspect {
        return None;
    }
    let mut parts = properties.parts();
    let before = parts.user_properties.len();
    let own = &mut parts.user_properties;
    own.retain(|(name, _)| !name.as_str().starts_with(PREFIX));
    (own.len() < before).then(|| ForwardedProperties::from_parts(&parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use certs::{DeviceId, Kind};
    use protocol::packet::ForwardedParts;

    fn properties(user: &[(&str, &str)]) -> ForwardedProperties {
        let text = |text: &str| Text::parse(text).unwrap();
        let parts = ForwardedParts {
            content_type: Some(text("text/$by.time")),
            user_properties: user
                .iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            ..ForwardedParts::default()
        };
        ForwardedProperties::from_parts(&parts).unwrap()
    }

    fn said(properties: &ForwardedProperties) -> Vec<String> {
        let own = properties.parts().user_properties;
        own.iter()
            .map(|(name, value)| format!("{}={}", name.as_str(), value.as_str()))
            .collect()
    }

    #[test]
    fn what_a_client_says_under_our_names_is_taken_out() {
        let forged = properties(&[("$by.device", "x"), ("a", "b"), ("$by.", ""), ("$by", "c")]);
        assert_eq!(
            said(&without_stamp(&forged).unwrap().unwrap()),
            ["a=b", "$by=c"]
        );
        assert!(without_stamp(&properties(&[("a", "$by.device")])).is_none());
        assert!(without_stamp(ForwardedProperties::none()).is_none());
    }

    #[test]
    fn a_stamp_says_who_by_which_certificate_and_when() {
        let subject = Subject {
            kind: Kind::App,
            id: DeviceId::parse("a").unwrap(),
        };
        let now = Time::from_millis(1_767_605_415_007);
        let stamp = Stamp::new(&subject, Some("07ff"), now);
        let stamped = stamp.put_on(&properties(&[("$by.device", "x"), ("a", "b")]));
        let stamped = stamped.unwrap().unwrap();
        assert_eq!(
            said(&stamped),
            [
                "a=b",
                "$by.device=app/a",
                "$by.serial=07ff",
                "$by.time=2026-01-05T09:30:15.007Z"
            ]
        );
        assert!(stamped.parts().content_type.is_some());
    }
}
