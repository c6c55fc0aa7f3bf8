//! PUBLISH from a client: authorize, retain, route, acknowledge.
//!
//! An acknowledgement is said once what it promises is durable; a message refused is delivered
//! to nobody.

use super::close_reason::CloseReason;
use super::message::{Contents, Message};
use super::policy::{Publication, PublishPermit, Stamp, without_stamp};
use super::record::{Reach, Record};
use super::route::{Scratch, is_owed};
use super::session::SessionId;
use super::{After, Engine};
use protocol::ReasonCode;
use protocol::delivery::Received;
use protocol::packet::{
    Ack, Packet, PacketId, PropertiesTooLong, Publish, PublishProperties, QoS, Version,
};
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
            (QoS::AtMostOnce, _) if self.gives_up_qos0() => {}
            (QoS::AtMostOnce | QoS::AtLeastOnce | QoS::ExactlyOnce, _) => {
                if let Err(refusal) = self.take(id, publish) {
                    self.refuse_silently(id, refusal);
                }
            }
        }
    }

    fn publish_qos1(&mut self, id: SessionId, packet_id: PacketId, publish: Publish) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        if let Err(error) = session.inbound.publish_qos1() {
            return self.broke(id, error);
        }
        let puback = |reason| Packet::Puback(Ack::new(packet_id, reason));
        match self.take(id, publish) {
            Ok(taken) => self.answer(id, &puback(taken.reason), taken.after),
            Err(refusal) if self.has_refusals(id) => {
                let puback = Packet::Puback(self.refused(id, packet_id, refusal.reason));
                self.answer(id, &puback, After::Nothing);
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
                return self.answer(id, &pubrec(ReasonCode::Success), after);
            }
            Ok(Received::Fresh) => {}
        }
        let refusal = match self.take(id, publish) {
            Ok(taken) => return self.answer(id, &pubrec(taken.reason), taken.after),
            Err(refusal) => refusal,
        };
        // The identifier stands for nothing: the same packet again is judged again.
        if let Some(session) = self.sessions.get_mut(id) {
            session.inbound.refuse(packet_id);
        }
        if self.has_refusals(id) {
            let pubrec = Packet::Pubrec(self.refused(id, packet_id, refusal.reason));
            self.answer(id, &pubrec, After::Nothing);
        } else {
            self.refuse_silently(id, refusal);
        }
    }

    /// Judges a message and gives it to everybody who is to have it.
    fn take(&mut self, id: SessionId, publish: Publish) -> Result<Taken, Refusal> {
        let Publish {
            topic,
            packet_id,
            properties,
            payload,
            qos,
            retain,
            dup: _,
        } = publish;
        let publication = Publication {
            qos,
            retain,
            payload_len: payload.len(),
            at: self.now,
        };
        let permit = self.permit(id, topic, &publication)?;
        let properties = self.tell_publisher(id, &permit, properties)?;
        if retain && !payload.is_empty() {
            self.admit_retained(id, permit.topic(), payload.len())?;
        }
        let contents = Contents {
            payload,
            properties,
            qos,
            retain,
        };
        let message = Message::published(permit, contents, self.now);
        if self.lacks_memory() || self.lacks_room_for(&message, id) {
            return Err(Refusal {
                topic: message.topic().clone(),
                reason: ReasonCode::QuotaExceeded,
            });
        }
        let after = self.record_accepted(id, packet_id.filter(|_| qos == QoS::ExactlyOnce));
        Ok(self.give_out(message, id, after))
    }

    #[inline]
    fn permit(
        &mut self,
        id: SessionId,
        topic: TopicName,
        publication: &Publication,
    ) -> Result<PublishPermit, Refusal> {
        let Some(session) = self.sessions.get_mut(id) else {
            let reason = ReasonCode::UnspecifiedError;
            return Err(Refusal { topic, reason });
        };
        let topic = match session.lane.permit(topic, publication) {
            Ok(permit) => return Ok(permit),
            Err(topic) => topic,
        };
        if has_too_many_levels(&topic, self.limits.topic_levels_max) {
            self.counters.publishes_refused += 1;
            let reason = ReasonCode::TopicNameInvalid;
            return Err(Refusal { topic, reason });
        }
        let rights = session.rights(&self.policy);
        let permit = rights.and_then(|rights| rights.permit_publish(&topic, publication));
        let Some(permit) = permit else {
            self.counters.publishes_denied += 1;
            let reason = ReasonCode::NotAuthorized;
            return Err(Refusal { topic, reason });
        };
        session.lane.note(&permit);
        Ok(permit)
    }

    /// Takes out what a client says of the publisher, for only we say that, and says it where a
    /// rule asks for it.
    #[inline]
    fn tell_publisher(
        &self,
        id: SessionId,
        permit: &PublishPermit,
        properties: Option<Box<PublishProperties>>,
    ) -> Result<Option<Box<PublishProperties>>, Refusal> {
        if properties.is_none() && !permit.stamps() {
            return Ok(None);
        }
        let mut properties = properties.unwrap_or_default();
        let stamp = self.stamp(id, permit);
        if let Some(told) = stamp.map_or_else(
            || without_stamp(&properties.forwarded),
            |stamp| Some(stamp.put_on(&properties.forwarded)),
        ) {
            properties.forwarded = told.map_err(|PropertiesTooLong| Refusal {
                topic: permit.topic().clone(),
                reason: ReasonCode::PacketTooLarge,
            })?;
        }
        Ok(Some(properties))
    }

    /// What is to be said of a publisher, if a rule asks for it.
    pub(super) fn stamp(&self, id: SessionId, permit: &PublishPermit) -> Option<Stamp> {
        let session = self.sessions.get(id).filter(|_| permit.stamps())?;
        let serial = session.credentials().and_then(|it| it.serial.as_deref());
        Some(Stamp::new(&session.key.subject, serial, self.now))
    }

    fn admit_retained(
        &mut self,
        id: SessionId,
        topic: &TopicName,
        len: usize,
    ) -> Result<(), Refusal> {
        let session = self.sessions.get(id);
        let admitted = session.is_some_and(|session| {
            let device = &session.key.subject;
            self.retained.admit(topic, len, device).is_ok()
        });
        if admitted {
            return Ok(());
        }
        self.counters.publishes_refused += 1;
        Err(Refusal {
            topic: topic.clone(),
            reason: ReasonCode::QuotaExceeded,
        })
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
    /// `from` is the session that published it.
    fn give_out(&mut self, message: Message, from: SessionId, after: After) -> Taken {
        let mut scratch = std::mem::take(&mut self.scratch);
        let may_wait = is_owed(&message) || self.limits.queue_qos0;
        let (matched, after) = if may_wait || self.shard.count > 1 {
            let matched = self.find_receivers(&message, Some(from), &mut scratch);
            let message = match self.sessions.get(from) {
                Some(publisher) => message.by(&publisher.key).kept(),
                None => message.kept(),
            };
            (matched, self.give_out_kept(&message, &mut scratch, after))
        } else {
            (self.tell(&message, from, &mut scratch), after)
        };
        self.scratch = scratch;
        // Whether other shards have subscribers is not known here.
        let nobody = !matched && self.shard.count == 1;
        let reason = if nobody {
            ReasonCode::NoMatchingSubscribers
        } else {
            ReasonCode::Success
        };
        Taken { reason, after }
    }

    /// Gives out a message that somebody keeps longer than this turn.
    fn give_out_kept(
        &mut self,
        message: &Arc<Message>,
        scratch: &mut Scratch,
        after: After,
    ) -> After {
        let kept = if message.retain() {
            self.retain(message)
        } else {
            After::Nothing
        };
        let after = match message.qos() {
            // Nobody is told that it is kept.
            QoS::AtMostOnce => after,
            QoS::AtLeastOnce | QoS::ExactlyOnce => after.max(kept),
        };
        let reach = if self.shard.count > 1 {
            Reach::Everywhere
        } else {
            Reach::Here
        };
        self.give((message, reach), scratch, after)
    }

    /// Publishes what nobody waits to have acknowledged: a will.
    pub(super) fn give_out_unasked(&mut self, message: Message, from: SessionId) {
        self.give_out(message, from, After::Nothing);
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
        if let Some(session) = self.sessions.get(id) {
            self.pauses.note(&session.key.subject, self.now);
        }
        self.close(id, why);
    }
}

/// Whether a topic name has more than `max` levels; the length alone says it of most.
pub(super) fn has_too_many_levels(topic: &TopicName, max: usize) -> bool {
    topic.as_str().len() >= max && topic.levels_len() > max
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use protocol::packet::{Connect, Packet, Publish, QoS, Version};

    /// Devices publish and subscribe under their own name, and one app reads and commands.
    const APPS: &str = r#"
        [[rule]]
        name = "apps"
        groups = ["apps"]
        subscribe = ["devices/#"]
        publish = ["devices/+/commands/#"]
    "#;

    #[test]
    fn each_qos_is_acknowledged_in_its_way() {
        let cases = [
            (qos0("a", "x"), ["PUBLISH a=x q0", ""]),
            (qos1("a", "x", 7), ["PUBLISH a=x q1 #1", "PUBACK #7 00"]),
            (qos2("a", "x", 7), ["PUBLISH a=x q2 #1", "PUBREC #7 00"]),
        ];
        for (packet, [delivered, acknowledged]) in cases {
            let mut world = World::open();
            let publisher = world.enter("dev-1");
            let subscriber = world.enter("dev-2");
            world.subscribe(subscriber, "a", QoS::ExactlyOnce);
            world.send(publisher, packet);
            assert_eq!(world.heard(subscriber), [delivered]);
            assert_eq!(world.heard(publisher).join(""), acknowledged);
        }
    }

    #[test]
    fn a_publisher_is_told_that_nobody_listens() {
        let mut world = World::open();
        let publisher = world.enter("dev-1");
        world.send(publisher, qos1("a", "x", 1));
        world.send(publisher, qos2("a", "x", 2));
        assert_eq!(world.heard(publisher), ["PUBACK #1 10", "PUBREC #2 10"]);
    }

    #[test]
    fn a_denied_publish_is_delivered_to_nobody() {
        let cases = [
            // A 5.0 client is told where QoS has words for it.
            (QoS::AtMostOnce, false, ""),
            (QoS::AtLeastOnce, false, "PUBACK #7 87"),
            (QoS::ExactlyOnce, false, "PUBREC #7 87"),
            // A 3.1.1 client is closed without an acknowledgement.
            (QoS::AtMostOnce, true, "CLOSE 87"),
            (QoS::AtLeastOnce, true, "CLOSE 87"),
            (QoS::ExactlyOnce, true, "CLOSE 87"),
        ];
        for (qos, is_v311, expected) in cases {
            let mut world = World::ruled(APPS);
            let app = world.enter("app/a");
            world.subscribe(app, "devices/#", QoS::ExactlyOnce);
            let device = world.enter_with("dev-1", |connect| {
                if is_v311 {
                    v311(connect);
                }
            });
            world.send(
                device,
                Packet::Publish(publish("devices/dev-2/x", "x", qos, 7)),
            );
            assert_eq!(world.heard(device).join(""), expected);
            assert_eq!(world.heard(app), [""; 0]);
            assert_eq!(world.counters().publishes_denied, 1);
        }
    }

    #[test]
    fn nobody_publishes_below_dollar() {
        for topic in ["$x", "$", "$/", "$share/a/b", "$SYS/broker/uptime"] {
            let mut world = World::open();
            let device = world.enter("dev-1");
            world.send(device, qos1(topic, "x", 1));
            assert_eq!(world.heard(device), ["PUBACK #1 87"], "{topic}");
        }
    }

    #[test]
    fn a_topic_with_too_many_levels_is_refused() {
        let mut world = World::limited(|limits| limits.topic_levels_max = 3);
        let device = world.enter("dev-1");
        world.send(device, qos1("a/b/c", "x", 1));
        world.send(device, qos1("a/b/c/", "x", 2));
        assert_eq!(world.heard(device), ["PUBACK #1 10", "PUBACK #2 90"]);
        assert_eq!(world.counters().publishes_refused, 1);
        let old = world.enter_with("dev-2", v311);
        world.send(old, qos1(&"/".repeat(60_000), "x", 2));
        assert_eq!(world.heard(old), ["CLOSE 90"]);
    }

    #[test]
    fn mqtt_4_3_3_10_a_qos_2_message_is_delivered_once_until_it_is_released() {
        let mut world = World::open();
        let publisher = world.enter("dev-1");
        let subscriber = world.enter("dev-2");
        world.subscribe(subscriber, "a", QoS::AtMostOnce);
        for _ in 0..3 {
            world.send(publisher, qos2("a", "x", 7));
        }
        assert_eq!(world.heard(publisher), ["PUBREC #7 00"; 3]);
        assert_eq!(world.heard(subscriber), ["PUBLISH a=x q0"]);
        world.send(publisher, pubrel(7));
        world.send(publisher, qos2("a", "y", 7));
        assert_eq!(world.heard(publisher), ["PUBCOMP #7 00", "PUBREC #7 00"]);
        assert_eq!(world.heard(subscriber), ["PUBLISH a=y q0"]);
    }

    #[test]
    fn a_qos_2_message_is_delivered_once_across_connections() {
        let mut world = World::open();
        let subscriber = world.enter("dev-2");
        world.subscribe(subscriber, "a", QoS::AtMostOnce);
        let first = world.enter_with("dev-1", lasting);
        world.send(first, qos2("a", "x", 7));
        world.lose(first);
        let second = world.enter_with("dev-1", lasting);
        world.send(second, qos2("a", "x", 7));
        assert_eq!(world.heard(second), ["*PUBREC #7 00"]);
        assert_eq!(world.heard(subscriber), ["*PUBLISH a=x q0"]);
    }

    #[test]
    fn a_refused_qos_2_message_sent_again_is_never_delivered() {
        let mut world = World::ruled(APPS);
        let app = world.enter("app/a");
        world.subscribe(app, "devices/#", QoS::AtMostOnce);
        let device = world.enter_with("dev-1", lasting);
        for dup in [false, true, true] {
            let again = publish("devices/dev-2/x", "x", QoS::ExactlyOnce, 7);
            world.send(device, Packet::Publish(Publish { dup, ..again }));
        }
        world.send(device, pubrel(7));
        let refused = "PUBREC #7 87";
        assert_eq!(
            world.heard(device),
            [refused, refused, refused, "*PUBCOMP #7 92"]
        );
        assert_eq!(world.heard(app), [""; 0]);
    }

    #[test]
    fn a_message_taken_is_delivered_once_though_the_permit_goes_before_pubrel() {
        let mut world = World::open();
        let subscriber = world.enter("app/a");
        world.subscribe(subscriber, "#", QoS::AtMostOnce);
        let device = world.enter("dev-1");
        world.send(device, qos2("a", "x", 7));
        world.load_policy(&OPEN.replace(r##"publish = ["#"]"##, ""));
        world.send(device, qos2("a", "x", 7));
        world.send(device, pubrel(7));
        assert_eq!(
            world.heard(device),
            ["PUBREC #7 00", "PUBREC #7 00", "PUBCOMP #7 00"]
        );
        assert_eq!(world.heard(subscriber), ["PUBLISH a=x q0"]);
    }

    #[test]
    fn mqtt_3_3_4_9_more_messages_at_once_than_allowed_close_the_connection() {
        let mut world = World::limited(|limits| limits.receive_maximum = 2.try_into().unwrap());
        let device = world.enter("dev-1");
        world.send(device, qos2("a", "x", 1));
        world.send(device, qos2("a", "x", 2));
        // One more of QoS 1 would be the third.
        world.send(device, qos1("a", "x", 3));
        let heard = world.heard(device);
        assert_eq!(heard, ["PUBREC #1 10", "PUBREC #2 10", "CLOSE 93"]);
    }

    #[test]
    fn a_3_1_1_client_knows_no_receive_maximum() {
        let mut world = World::limited(|limits| limits.receive_maximum = 2.try_into().unwrap());
        let device = world.enter_with("dev-1", v311);
        for id in 1..=100 {
            world.send(device, qos2("a", "x", id));
        }
        assert_eq!(world.engine.sessions().next().unwrap().unreleased_len, 100);
    }

    #[test]
    fn one_qos_2_identifier_without_end_takes_no_memory() {
        let mut world = World::open();
        let device = world.enter("dev-1");
        for dup in [false, true].into_iter().cycle().take(1000) {
            let again = publish("a", "x", QoS::ExactlyOnce, 7);
            world.send(device, Packet::Publish(Publish { dup, ..again }));
        }
        assert_eq!(world.engine.sessions().next().unwrap().unreleased_len, 1);
        assert_eq!(world.engine.connected_len(), 1);
    }

    #[test]
    fn acknowledgements_come_in_the_order_of_the_messages() {
        let mut world = World::open();
        let device = world.enter("dev-1");
        for id in 1..=50 {
            world.send(device, qos1("a", "x", id));
        }
        let expected: Vec<_> = (1..=50).map(|id| format!("PUBACK #{id} 10")).collect();
        assert_eq!(world.heard(device), expected);
    }

    #[test]
    fn acknowledged_means_recorded_where_a_receiver_lasts() {
        let mut world = World::open();
        let publisher = world.enter("dev-1");
        let subscriber = world.enter_with("dev-2", lasting);
        world.subscribe(subscriber, "one", QoS::AtLeastOnce);
        world.subscribe(subscriber, "zero", QoS::AtMostOnce);
        world.send(publisher, qos1("one", "x", 1));
        world.send(publisher, qos1("zero", "x", 2));
        world.send(publisher, qos2("one", "x", 3));
        let heard = world.heard(publisher);
        assert_eq!(heard, ["*PUBACK #1 00", "PUBACK #2 00", "*PUBREC #3 00"]);
        // At QoS 2 the receiver waits too.
        let heard = world.heard(subscriber);
        assert_eq!(
            heard,
            [
                "PUBLISH one=x q1 #1",
                "PUBLISH zero=x q0",
                "*PUBLISH one=x q1 #2"
            ]
        );
    }

    #[test]
    fn a_lasting_publishers_qos_2_message_reaches_nobody_before_it_is_recorded() {
        let mut world = World::open();
        let publisher = world.enter_with("dev-1", lasting);
        let subscriber = world.enter("dev-2");
        world.subscribe(subscriber, "a", QoS::AtMostOnce);
        world.send(publisher, qos2("a", "x", 1));
        assert_eq!(world.heard(subscriber), ["*PUBLISH a=x q0"]);
        assert_eq!(world.heard(publisher), ["*PUBREC #1 00"]);
    }

    #[test]
    fn a_3_1_1_client_that_is_closed_again_and_again_comes_once_in_a_while() {
        let mut world = World::open();
        let v311 = |connect: &mut Connect| connect.version = Version::V311;
        let too_deep = ["a"; 200].join("/");
        for _ in 0..3 {
            let client = world.enter_with("dev-1", v311);
            world.send(client, qos1(&too_deep, "x", 1));
            assert_eq!(world.heard(client).concat(), "CLOSE 90");
        }
        let refused = world.knock("dev-1", v311);
        assert!(world.heard(refused).join(" ").contains("CONNACK 88"));
        world.enter("dev-1");
        world.enter_with("dev-2", v311);
        world.wait(10);
        world.enter_with("dev-1", v311);
    }
}
