//! PUBACK, PUBREC, PUBREL, PUBCOMP: how deliveries go on and end [MQTT 5.0 §4.3].
//!
//! What an acknowledgement promises is durable before it is said.

use super::record::Record;
use super::session::{Pending, Session, SessionId};
use super::{After, Engine};
use protocol::ReasonCode;
use protocol::delivery::{Pubrec, Release};
use protocol::packet::{Ack, Packet, PacketId};

impl Engine {
    /// The client has a QoS 1 message, or refuses it: there is no other end.
    pub(super) fn puback(&mut self, id: SessionId, ack: &Ack) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Ok(pending) = session.outbound.puback(ack.packet_id) else {
            self.counters.unknown_acknowledgements += 1;
            return;
        };
        session.in_flight_ended(&pending);
        self.settle(id, pending.number);
        self.pump(id);
    }

    /// The client has a QoS 2 message, or refuses it.
    pub(super) fn pubrec(&mut self, id: SessionId, ack: &Ack) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        match session.outbound.pubrec(ack.packet_id, ack.reason) {
            Pubrec::Received(pending) => {
                session.in_flight_ended(&pending);
                if let (Some(session), Some(message)) = (self.lasting(id), pending.number) {
                    let packet_id = ack.packet_id;
                    self.record(Record::Received {
                        session,
                        message,
                        packet_id,
                    });
                }
                self.release(id, Ack::success(ack.packet_id));
            }
            Pubrec::Repeated => self.release(id, Ack::success(ack.packet_id)),
            Pubrec::Refused(pending) => {
                // Nobody else gets it, shared or not [MQTT-4.8.2-6].
                session.in_flight_ended(&pending);
                self.settle(id, pending.number);
            }
            Pubrec::Unknown => {
                self.counters.unknown_acknowledgements += 1;
                self.release(
                    id,
                    Ack::new(ack.packet_id, ReasonCode::PacketIdentifierNotFound),
                );
            }
        }
        self.pump(id);
    }

    fn release(&mut self, id: SessionId, pubrel: Ack) {
        self.answer(id, &Packet::Pubrel(pubrel), After::record(self.lasting(id)));
    }

    /// The client has released a QoS 2 message of its own: another may have its identifier.
    pub(super) fn pubrel(&mut self, id: SessionId, ack: &Ack) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let packet_id = ack.packet_id;
        let reason = match session.inbound.pubrel(packet_id) {
            Release::Known => {
                self.record_released(id, packet_id);
                ReasonCode::Success
            }
            Release::Unknown => ReasonCode::PacketIdentifierNotFound,
        };
        let pubcomp = Packet::Pubcomp(Ack::new(packet_id, reason));
        self.answer(id, &pubcomp, After::record(self.lasting(id)));
    }

    fn record_released(&mut self, id: SessionId, packet_id: PacketId) {
        if let Some(session) = self.lasting(id) {
            self.record(Record::Released { session, packet_id });
        }
    }

    /// The client has completed a QoS 2 delivery.
    pub(super) fn pubcomp(&mut self, id: SessionId, ack: &Ack) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let packet_id = ack.packet_id;
        if session.outbound.pubcomp(packet_id).is_err() {
            self.counters.unknown_acknowledgements += 1;
            return;
        }
        if let Some(session) = self.lasting(id) {
            self.record(Record::Completed { session, packet_id });
        }
        self.pump(id);
    }
}

impl Session {
    /// A message that was in flight no longer takes room.
    fn in_flight_ended(&mut self, pending: &Pending) {
        self.in_flight_bytes -= pending.message.payload().len();
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::ConnectionId;
    use crate::engine::test_world::*;
    use protocol::ReasonCode;
    use protocol::packet::{Ack, Packet, QoS};

    fn pair() -> (World, ConnectionId, ConnectionId) {
        let mut world = World::limited(|limits| limits.in_flight_len_max = 1.try_into().unwrap());
        let subscriber = world.enter("dev-1");
        world.subscribe(subscriber, "a", QoS::ExactlyOnce);
        let publisher = world.enter("dev-2");
        (world, subscriber, publisher)
    }

    #[test]
    fn qos_2_takes_four_packets_and_then_its_place_is_free() {
        let (mut world, subscriber, publisher) = pair();
        world.send(publisher, qos2("a", "x", 1));
        world.send(publisher, qos2("a", "y", 2));
        assert_eq!(world.heard(subscriber), ["PUBLISH a=x q2 #1"]);
        world.send(subscriber, pubrec(1));
        assert_eq!(world.heard(subscriber), ["PUBREL #1 00"]);
        world.send(subscriber, pubrec(1));
        assert_eq!(world.heard(subscriber), ["PUBREL #1 00"]);
        world.send(subscriber, pubcomp(1));
        // What came at QoS 2 and waited may wait for its own record yet.
        assert_eq!(world.heard(subscriber), ["*PUBLISH a=y q2 #2"]);
    }

    #[test]
    fn an_acknowledgement_of_nothing_is_answered_or_ignored() {
        let (mut world, subscriber, _) = pair();
        world.send(subscriber, puback(9));
        world.send(subscriber, pubcomp(9));
        assert_eq!(world.heard(subscriber), [""; 0]);
        world.send(subscriber, pubrec(9));
        world.send(subscriber, pubrel(9));
        assert_eq!(world.heard(subscriber), ["PUBREL #9 92", "PUBCOMP #9 92"]);
        assert_eq!(world.counters().unknown_acknowledgements, 3);
    }

    #[test]
    fn the_acknowledgement_of_another_qos_ends_nothing() {
        let (mut world, subscriber, publisher) = pair();
        world.send(publisher, qos2("a", "x", 1));
        world.send(subscriber, puback(1));
        world.send(subscriber, pubcomp(1));
        assert_eq!(world.counters().unknown_acknowledgements, 2);
        world.send(subscriber, pubrec(1));
        assert_eq!(
            world.heard(subscriber),
            ["PUBLISH a=x q2 #1", "PUBREL #1 00"]
        );
    }

    #[test]
    fn mqtt_4_8_2_6_a_message_refused_by_a_member_goes_to_nobody_else() {
        for (packet, refusal) in [
            (qos1("a", "x", 1), Packet::Puback as fn(Ack) -> Packet),
            (qos2("a", "x", 1), Packet::Pubrec as fn(Ack) -> Packet),
        ] {
            let mut world = World::open();
            let members = ["dev-1", "dev-2"].map(|device| world.enter(device));
            for member in members {
                world.subscribe(member, "$share/g/a", QoS::ExactlyOnce);
            }
            let publisher = world.enter("dev-3");
            world.send(publisher, packet);
            let had = members
                .iter()
                .position(|member| !world.heard(*member).is_empty())
                .unwrap();
            world.send(
                members[had],
                refusal(Ack::new(id(1), ReasonCode::QuotaExceeded)),
            );
            world.lose(members[had]);
            assert_eq!(world.heard(members[had]), [""; 0]);
            assert_eq!(world.heard(members[1 - had]), [""; 0]);
        }
    }

    #[test]
    fn a_refused_message_makes_room_for_the_next() {
        let (mut world, subscriber, publisher) = pair();
        world.send(publisher, qos2("a", "x", 1));
        world.send(publisher, qos1("a", "y", 2));
        world.send(
            subscriber,
            Packet::Pubrec(Ack::new(id(1), ReasonCode::UnspecifiedError)),
        );
        assert_eq!(
            world.heard(subscriber),
            ["PUBLISH a=x q2 #1", "PUBLISH a=y q1 #2"]
        );
    }
}
