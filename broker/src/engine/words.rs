//! Words: what a client that wants to know is told beside a reason code [MQTT-3.1.2-29].
//!
//! They name the kind of rule that was broken, never what stands in it.

use super::Engine;
use super::session::SessionId;
use protocol::packet::{Ack, AckWords, PacketId};
use protocol::{ReasonCode, Text};

impl Engine {
    /// The refusal of a message, with words for who wants any.
    pub(super) fn refused(&self, id: SessionId, packet_id: PacketId, reason: ReasonCode) -> Ack {
        Ack {
            words: self.words(id, &[reason]),
            ..Ack::new(packet_id, reason)
        }
    }

    /// The words for the first of `reasons` that is an error, if the session's client wants any.
    pub(super) fn words(&self, id: SessionId, reasons: &[ReasonCode]) -> Option<Box<AckWords>> {
        let connected = self.sessions.get(id)?.connected()?;
        let error = reasons.iter().find(|reason| reason.is_error())?;
        let words = in_words(*error).filter(|_| connected.wants_words)?;
        let reason_string = Text::parse(words).ok();
        Some(Box::new(AckWords {
            reason_string,
            ..AckWords::default()
        }))
    }
}

fn in_words(reason: ReasonCode) -> Option<&'static str> {
    match reason {
        ReasonCode::NotAuthorized => {
            Some("no rule of the policy permits this topic to this device")
        }
        ReasonCode::QuotaExceeded => Some("as much of it is kept as may be"),
        ReasonCode::TopicNameInvalid | ReasonCode::TopicFilterInvalid => {
            Some("the topic has more levels than are taken here")
        }
        // Unspecified: it is not to be known why.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use protocol::Text;
    use protocol::packet::{Packet, QoS};

    /// The reason strings a device hears when it publishes and subscribes to what it may not.
    fn words_heard(wants_words: bool) -> Vec<Option<Text>> {
        let mut world = World::ruled("");
        let device = world.enter_with("dev-1", |connect| {
            connect.properties.request_problem_information = wants_words;
        });
        world.send(device, qos1("elsewhere", "x", 1));
        world.send(device, qos2("elsewhere", "x", 2));
        world.send(
            device,
            subscribe(&[("broadcast/a", QoS::AtMostOnce), ("#", QoS::AtMostOnce)]),
        );
        let heard = world.last_words(device).into_iter().filter_map(|heard| {
            let words = match heard {
                Heard::Packet(Packet::Puback(ack) | Packet::Pubrec(ack)) => ack.words,
                Heard::Packet(Packet::Suback(suback)) => suback.words,
                _ => return None,
            };
            Some(words.and_then(|words| words.reason_string))
        });
        heard.collect()
    }

    #[test]
    fn mqtt_3_1_2_29_who_wants_to_know_is_told_why() {
        let words = words_heard(true);
        assert_eq!(words.len(), 3);
        assert!(
            words.iter().flatten().all(|words| words.contains("policy")),
            "{words:?}"
        );
        assert!(words.iter().all(Option::is_some), "{words:?}");
        assert_eq!(words_heard(false), [None, None, None]);
    }
}
