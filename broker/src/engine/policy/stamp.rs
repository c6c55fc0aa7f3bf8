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
    ) -> Result<ForwardedProperties, PropertiesTooLong> {
        let mut parts = properties.parts();
        let own = &mut parts.user_properties;
        own.retain(|(name, _)| !name.as_str().starts_with(PREFIX));
        let text = |text: &str| Text::parse(text).ok();
        let words = self.words.iter();
        own.extend(words.filter_map(|(name, value)| Some((text(name)?, text(value)?))));
        ForwardedProperties::from_parts(&parts)
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
    use crate::engine::ConnectionId;
    use crate::engine::test_world::*;
    use certs::{DeviceId, Kind};
    use protocol::packet::{ForwardedParts, Packet, QoS};

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
        let stamped = stamped.unwrap();
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

    /// What its messages say to a client, each in one text.
    fn heard(world: &mut World, connection: ConnectionId) -> Vec<String> {
        let mut heard = world.take_heard();
        let heard = heard.remove(&connection).unwrap_or_default().into_iter();
        heard
            .filter_map(|(_, heard)| match heard {
                Heard::Packet(Packet::Publish(publish)) => {
                    let forwarded = publish.properties.map(|it| it.forwarded);
                    Some(said(&forwarded.unwrap_or_default()).join(" "))
                }
                _ => None,
            })
            .collect()
    }

    fn forged(packet: Packet) -> Packet {
        let Packet::Publish(mut publish) = packet else {
            panic!("{packet:?}")
        };
        publish.properties.get_or_insert_default().forwarded =
            properties(&[("$by.device", "x"), ("a", "b")]);
        Packet::Publish(publish)
    }

    const STAMPED: &str = "[[rule]]\nclient_ids = '*'\nsubscribe = '#'\npublish = 'plain'\n\
        [[rule]]\npublish = 'told/#'\nstamp = true\n";

    #[test]
    fn a_stamp_survives_queue_retention_and_restart() {
        let mut world = World::ruled(STAMPED);
        let reader = world.enter_with("dev-1", lasting);
        world.subscribe(reader, "#", QoS::AtLeastOnce);
        world.lose(reader);
        let publisher = world.enter_with("dev-2", |connect| {
            connect.will = Some(will("told/will"));
        });
        for (number, topic) in [(1, "told/a"), (2, "told/a"), (3, "plain")] {
            world.send(publisher, forged(qos1(topic, "x", number)));
        }
        world.send(publisher, retained(qos1("told/retained", "x", 4)));
        world.lose(publisher);
        world.die(STAMPED);
        world.wait(1);
        let reader = world.enter_with("dev-1", lasting);
        while world.has_loads() {
            world.answer_load();
        }
        let serial = "07".repeat(20);
        let stamp = format!("$by.device=dev-2 $by.serial={serial} $by.time=2027-01-15T08:00:00Z");
        let told = format!("a=b {stamp}");
        assert_eq!(
            heard(&mut world, reader),
            [&*told, &told, "a=b", &stamp, &stamp]
        );
        let other = world.enter("app/b");
        world.send(other, subscribe(&[("told/retained", QoS::AtMostOnce)]));
        assert_eq!(heard(&mut world, other), [stamp]);
    }

    #[test]
    fn a_client_of_the_old_version_is_stamped_and_told_nothing() {
        let mut world = World::ruled(STAMPED);
        let old = world.enter_with("dev-1", v311);
        let new = world.enter("dev-2");
        for client in [old, new] {
            world.subscribe(client, "#", QoS::AtMostOnce);
        }
        world.send(old, qos0("told/a", "x"));
        assert_eq!(world.heard(old), ["PUBLISH told/a=x q0"]);
        world.send(old, qos0("told/a", "x"));
        let told = heard(&mut world, new);
        assert!(
            told[0].starts_with("$by.device=dev-1 $by.serial=0707"),
            "{told:?}"
        );
    }
}
