//! Room: what the engine no longer takes while the disk is nearly full.
//!
//! A client's message that would be recorded is refused whole (0x97): it is delivered to nobody,
//! and who cannot be told is closed. What is stored stays, is read and is acknowledged, and what
//! needs no record goes on. So does what somebody was promised before: a will, which was taken
//! with its CONNECT, and what another shard has taken. Retained messages that a new subscription
//! is to have, and that would be recorded for it, wait until there is room.

use crate::engine::Engine;
use crate::engine::input::Room;
use crate::engine::message::Message;
use crate::engine::route::is_owed;
use crate::engine::router::Grant;
use crate::engine::session::SessionId;
use protocol::packet::QoS;

impl Engine {
    /// The disk has become full, or has room again.
    pub(in crate::engine) fn heed_room(&mut self, room: Room) {
        self.room = room;
        if room != Room::Exhausted {
            self.take_postponed();
        }
        if room != Room::Enough {
            return;
        }
        let connected: Vec<SessionId> = self.sessions.connected().collect();
        for id in connected {
            self.send_retained(id);
        }
    }

    /// Whether a message that a client publishes is refused for want of room, and counted so.
    #[inline]
    pub(in crate::engine) fn lacks_room_for(&mut self, message: &Message, from: SessionId) -> bool {
        let is_behind = self.lacks_room_to_forward(message);
        let is_full = match self.room {
            Room::Enough => false,
            Room::Full | Room::Exhausted => self.may_be_recorded(message, from),
        };
        self.counters.publishes_refused_full += u64::from(is_full);
        self.counters.publishes_refused_behind += u64::from(is_behind && !is_full);
        is_full || is_behind
    }

    /// Whether a message may be recorded: because it is kept, for the other shards, or for a
    /// receiver. It is for a shared subscription if one of its members lasts, whoever's turn it is.
    fn may_be_recorded(&mut self, message: &Message, from: SessionId) -> bool {
        if is_kept(message) || (self.shard.count > 1 && is_owed(message)) {
            return true;
        }
        let sessions = &self.sessions;
        let lasts = |id: SessionId, grant: Grant| {
            let is_own = grant.no_local && id == from;
            let is_kept = grant.qos.min(message.qos()) != QoS::AtMostOnce && !is_own;
            is_kept && sessions.get(id).is_some_and(|session| session.is_lasting)
        };
        let mut found = false;
        self.router.for_each_match(message.topic(), |subscribers| {
            subscribers.for_each_alone(|id, grant| found |= lasts(id, grant));
            for group in subscribers.groups_mut() {
                found |= group.members().any(|(id, grant)| lasts(id, grant));
            }
        });
        found
    }
}

/// Whether it takes the place of a retained message; one without payload only makes room.
fn is_kept(message: &Message) -> bool {
    message.retain() && !message.payload().is_empty()
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use crate::engine::{ConnectionId, Input, Room};
    use protocol::packet::{Connect, QoS};

    /// A world with a subscriber to `a` that lasts, one to `b` that does not, and a full disk.
    fn full() -> (World, ConnectionId, ConnectionId) {
        let mut world = World::open();
        let lasts = world.enter_with("dev-1", lasting);
        world.subscribe(lasts, "a", QoS::ExactlyOnce);
        let passes = world.enter("dev-2");
        world.subscribe(passes, "b", QoS::ExactlyOnce);
        world.input(Input::Storage(Room::Full));
        world.records();
        (world, lasts, passes)
    }

    #[test]
    fn what_would_be_recorded_is_refused_and_delivered_to_nobody() {
        let (mut world, lasts, _) = full();
        let publisher = world.enter("dev-3");
        let cases = [
            (qos1("a", "x", 1), "PUBACK #1 97"),
            (qos2("a", "x", 2), "PUBREC #2 97"),
            (retained(qos1("b", "x", 3)), "PUBACK #3 97"),
            (retained(qos0("c", "x")), ""),
        ];
        for (place, (packet, expected)) in cases.into_iter().enumerate() {
            world.send(publisher, packet);
            assert_eq!(world.heard(publisher).join(""), expected);
            let refused = u64::try_from(place).unwrap() + 1;
            assert_eq!(world.counters().publishes_refused_full, refused);
        }
        assert_eq!(world.heard(lasts), [""; 0]);
        assert_eq!(world.record_names(), [""; 0]);
        assert_eq!(world.engine.retained_len(), 0);
        // The identifier stands for nothing: what is sent again is taken when there is room.
        world.input(Input::Storage(Room::Enough));
        world.send(publisher, qos2("a", "x", 2));
        assert_eq!(world.heard(publisher), ["*PUBREC #2 00"]);
        assert_eq!(world.heard(lasts), ["*PUBLISH a=x q2 #1"]);
    }

    #[test]
    fn who_cannot_be_told_is_closed() {
        for packet in [qos1("a", "x", 1), qos2("a", "x", 1)] {
            let (mut world, lasts, _) = full();
            let publisher = world.enter_with("dev-3", v311);
            world.send(publisher, packet);
            assert_eq!(world.heard(publisher), ["CLOSE 97"]);
            assert_eq!(world.heard(lasts), [""; 0]);
        }
    }

    #[test]
    fn what_needs_no_record_goes_on() {
        let (mut world, lasts, passes) = full();
        let publisher = world.enter_with("dev-3", v311);
        world.send(publisher, qos0("a", "x"));
        world.send(publisher, qos2("b", "x", 1));
        assert_eq!(world.heard(lasts), ["PUBLISH a=x q0"]);
        assert_eq!(world.heard(passes), ["PUBLISH b=x q2 #1"]);
        assert_eq!(world.heard(publisher), ["PUBREC #1 00"]);
        assert_eq!(world.record_names(), [""; 0]);
    }

    #[test]
    fn a_group_with_a_member_that_lasts_is_one() {
        let (mut world, lasts, passes) = full();
        for member in [lasts, passes] {
            world.subscribe(member, "$share/g/s", QoS::AtLeastOnce);
        }
        let publisher = world.enter("dev-3");
        for id in 1..=2 {
            world.send(publisher, qos1("s", "x", id));
        }
        assert_eq!(world.heard(publisher), ["PUBACK #1 97", "PUBACK #2 97"]);
    }

    #[test]
    fn what_was_taken_is_delivered_and_acknowledged_and_a_topic_is_cleared() {
        let (mut world, lasts, _) = full();
        world.input(Input::Storage(Room::Enough));
        let publisher = world.enter("dev-3");
        world.send(publisher, retained(qos1("c", "x", 9)));
        world.send(publisher, qos2("a", "x", 1));
        world.input(Input::Storage(Room::Full));
        world.records();
        world.send(lasts, pubrec(1));
        world.send(lasts, pubcomp(1));
        world.send(publisher, pubrel(1));
        world.send(publisher, retained(qos0("c", "")));
        assert_eq!(
            world.record_names(),
            ["Received", "Completed", "RetainedCleared"]
        );
    }

    #[test]
    fn a_will_was_promised_before() {
        let (mut world, lasts, _) = full();
        let client = world.enter_with("dev-3", |connect: &mut Connect| {
            connect.will = Some(will("a"));
        });
        world.lose(client);
        assert_eq!(world.heard(lasts), ["PUBLISH a=gone q1 #1"]);
        assert_eq!(world.record_names(), ["Message"]);
    }

    #[test]
    fn retained_messages_that_would_be_recorded_wait_for_room() {
        let mut world = World::open();
        let publisher = world.enter("dev-3");
        world.send(publisher, retained(qos1("c", "x", 1)));
        let lasts = world.enter_with("dev-1", lasting);
        world.input(Input::Storage(Room::Full));
        world.subscribe(lasts, "c", QoS::AtMostOnce);
        assert_eq!(world.heard(lasts), ["PUBLISH c=x q0 retain"]);
        world.subscribe(lasts, "c", QoS::AtLeastOnce);
        assert_eq!(world.heard(lasts), [""; 0]);
        world.input(Input::Storage(Room::Enough));
        assert_eq!(world.heard(lasts), ["PUBLISH c=x q1 #1 retain"]);
    }
}
