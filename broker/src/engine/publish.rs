//! PUBLISH from a client: authorize, retain, route, acknowledge.
//!
//! An acknowledgement is said once what it promises is durable; a message refused is delivered
//! to nobody.

use super::close_reason::CloseReason;
use super::effect::Effect;
use super::message::Message;
use super::record::Record;
use super::session::SessionId;
use super::{After, Engine, Forward};
use protocol::ReasonCode;
use protocol::delivery::Received;
use protocol::packet::{Ack, Packet, PacketId, Publish, QoS, Version};
use protocol::topic::TopicName;
use std::sync::Arc;

/// A message is not taken.
#[derive(Debug)]
struct Refusal {
    topic: TopicName,
    reason: ReasonCode,
}

/// A message was taken: what its publisher is told, and when.
#[derive(Debug)]
struct Taken {
    reason: ReasonCode,
    after: After,
}

impl Engine {
    /// A client has published.
    pub(super) fn publish(&mut self, id: SessionId, publish: Publish) {
        self.counters.messages_received += 1;
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => self.publish_qos1(id, packet_id, publish),
            (QoS::ExactlyOnce, Some(packet_id)) => self.publish_qos2(id, packet_id, publish),
            (QoS::AtMostOnce | QoS::AtLeastOnce | QoS::ExactlyOnce, _) => {
                if let Err(refusal) = self.take(id, publish) {
                    self.refuse_silently(id, refusal);
                }
            }
        }
    }

    fn publish_qos1(&mut self, id: SessionId, packet_id: PacketId, publish: Publish) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Err(error) = session.inbound.publish_qos1(packet_id) {
            return self.broke(id, error);
        }
        // The acknowledgement is as good as sent: it follows whatever becomes of the message.
        session.inbound.acked(packet_id);
        let puback = |reason| Packet::Puback(Ack::new(packet_id, reason));
        match self.take(id, publish) {
            Ok(taken) => self.answer(id, puback(taken.reason), taken.after),
            Err(refusal) if self.has_refusals(id) => {
                self.answer(id, puback(refusal.reason), After::Nothing);
            }
            Err(refusal) => self.refuse_silently(id, refusal),
        }
    }

    fn publish_qos2(&mut self, id: SessionId, packet_id: PacketId, publish: Publish) {
        let pubrec = |reason| Packet::Pubrec(Ack::new(packet_id, reason));
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        match session.inbound.publish_qos2(packet_id) {
            Err(error) => return self.broke(id, error),
            Ok(Received::Duplicate) => {
                let after = After::record(self.lasting(id));
                return self.answer(id, pubrec(ReasonCode::Success), after);
            }
            Ok(Received::Fresh) => {}
        }
        let refusal = match self.take(id, publish) {
            Ok(taken) => return self.answer(id, pubrec(taken.reason), taken.after),
            Err(refusal) => refusal,
        };
        // The identifier stands for nothing: the same packet again is judged again.
        if let Some(session) = self.sessions.get_mut(id) {
            session.inbound.refuse(packet_id);
        }
        if self.has_refusals(id) {
            self.answer(id, pubrec(refusal.reason), After::Nothing);
        } else {
            self.refuse_silently(id, refusal);
        }
    }

    /// Judges a message and gives it to everybody who is to have it.
    fn take(&mut self, id: SessionId, publish: Publish) -> Result<Taken, Refusal> {
        let refuse = |topic: &TopicName, reason| Refusal {
            topic: topic.clone(),
            reason,
        };
        let Some(session) = self.sessions.get(id) else {
            return Err(refuse(&publish.topic, ReasonCode::UnspecifiedError));
        };
        if publish.topic.levels_len() > self.limits.topic_levels_max {
            self.counters.publishes_refused += 1;
            return Err(refuse(&publish.topic, ReasonCode::TopicNameInvalid));
        }
        let Some(permit) = session.rights.permit_publish(&publish.topic) else {
            self.counters.publishes_denied += 1;
            return Err(refuse(&publish.topic, ReasonCode::NotAuthorized));
        };
        if publish.retain && !publish.payload.is_empty() {
            let (len, device) = (publish.payload.len(), &session.key.subject);
            if self.retained.admit(&publish.topic, len, device).is_err() {
                self.counters.publishes_refused += 1;
                return Err(refuse(&publish.topic, ReasonCode::QuotaExceeded));
            }
        }
        let packet_id = publish.packet_id;
        let message = Arc::new(Message::published(permit, publish, &session.key, self.now));
        let after =
            self.record_accepted(id, packet_id.filter(|_| message.qos() == QoS::ExactlyOnce));
        Ok(self.give_out(&message, after))
    }

    /// Remembers a QoS 2 identifier for as long as the session.
    fn record_accepted(&mut self, id: SessionId, packet_id: Option<PacketId>) -> After {
        let (Some(packet_id), Some(session)) = (packet_id, self.lasting(id)) else {
            return After::Nothing;
        };
        self.record(Record::Accepted { session, packet_id });
        After::Sync
    }

    /// Gives a message that has its permit to all who are to have it, here and in other shards.
    fn give_out(&mut self, message: &Arc<Message>, after: After) -> Taken {
        let after = if message.retain() {
            after.max(self.retain(message))
        } else {
            after
        };
        let routed = self.route(message, after);
        if self.shard.count > 1 {
            // As for the receivers here: at QoS 2 nobody gets what might come again as new.
            let is_qos2 = message.qos() == QoS::ExactlyOnce;
            let after = if is_qos2 {
                routed.after
            } else {
                After::Nothing
            };
            let message = Arc::clone(message);
            self.effects
                .push(Effect::Forward(Forward { message, after }));
        }
        // Whether other shards have subscribers is not known here.
        let nobody = !routed.matched && self.shard.count == 1;
        let reason = if nobody {
            ReasonCode::NoMatchingSubscribers
        } else {
            ReasonCode::Success
        };
        Taken {
            reason,
            after: routed.after,
        }
    }

    /// Publishes what nobody waits to have acknowledged: a will.
    pub(super) fn give_out_unasked(&mut self, message: &Arc<Message>) {
        self.give_out(message, After::Nothing);
    }

    /// Whether the client's version can be told that a message is refused.
    fn has_refusals(&self, id: SessionId) -> bool {
        let connected = self
            .sessions
            .get(id)
            .and_then(|session| session.connected());
        connected.is_some_and(|connected| connected.version == Version::V5)
    }

    /// Refuses what cannot be answered: QoS 0 is dropped, but a client of 3.1.1 is closed, or it
    /// would believe that all is well [MQTT-3.3.5-2 of 3.1.1].
    fn refuse_silently(&mut self, id: SessionId, refusal: Refusal) {
        if self.has_refusals(id) {
            return;
        }
        let Refusal { topic, reason } = refusal;
        let why = match reason {
            ReasonCode::NotAuthorized => CloseReason::PublishDenied(topic),
            _ => CloseReason::PublishRefused { topic, reason },
        };
        self.close(id, why);
    }
}
