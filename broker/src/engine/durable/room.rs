//! Room: what the engine no longer takes while the disk is nearly full.
//!
//! A client's message that would be recorded is refused whole (0x97): it is delivered to nobody,
//! and who cannot be told is closed. What is stored stays, is read and is acknowledged, and what
//! needs no record goes on. So does what somebody was promised before: a will, which was taken
//! with its CONNECT, and what another shard has taken. Retained messages that a new subscription
//! is to have, and that would be recorded for it, wait until there is room.
//!
//! These take from the reserve. When that is nearly used up, no session is made that lasts, no will
//! is taken that might be recorded unless more waits for whoever brings it, lasting sessions
//! subscribe to nothing new, and what other shards have taken waits there. The rest is for
//! acknowledgements, which make room again.

use crate::engine::Engine;
use crate::engine::input::Room;
use crate::engine::message::Message;
use crate::engine::route::is_owed;
use crate::engine::router::Grant;
use crate::engine::session::SessionId;
use protocol::packet::{Connect, QoS, Will};

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

    /// Whether a CONNECT is refused for want of room, whose session, if there is one, is `known`:
    /// one that goes on needs none, but for a will that is longer than what waits for it.
    pub(in crate::engine) fn lacks_room_for_session(
        &self,
        known: Option<SessionId>,
        connect: &Connect,
    ) -> bool {
        if self.room != Room::Exhausted {
            return false;
        }
        let goes_on = known.filter(|_| !connect.clean_start);
        let lasts = match goes_on {
            Some(id) => self.lasting(id).is_some(),
            None => self.expiry_of(connect) > 0,
        };
        let lacks_room_for_will = |will: &Will| {
            let is_kept = lasts || will.qos != QoS::AtMostOnce || will.retain;
            is_kept && !goes_on.is_some_and(|id| self.has_more_waiting(id, will))
        };
        let is_made = goes_on.is_none();
        (is_made && lasts) || connect.will.as_ref().is_some_and(lacks_room_for_will)
    }

    /// Whether more is to be acknowledged by a session than its will takes: where every device has
    /// a will, none could come and make room otherwise.
    fn has_more_waiting(&self, id: SessionId, will: &Will) -> bool {
        let will_len = will.topic.as_str().len() + will.payload.len() + will.forwarded.len();
        let session = self.sessions.get(id);
        session.is_some_and(|it| it.is_lasting && it.queue.bytes() >= will_len)
    }

    /// Whether a session is refused a new subscription for want of room.
    pub(in crate::engine) fn lacks_room_for_subscription(&self, id: SessionId) -> bool {
        self.room == Room::Exhausted && self.lasting(id).is_some()
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
    use protocol::packet::{Connect, QoS, Will};

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

    type Change = fn(&mut Connect);

    fn exhausted() -> (World, ConnectionId) {
        let (mut world, lasts, _) = full();
        world.input(Input::Storage(Room::Exhausted));
        (world, lasts)
    }

    #[test]
    fn with_the_reserve_used_up_no_session_is_made_that_lasts_and_no_will_taken() {
        let anew = |connect: &mut Connect| {
            lasting(connect);
            connect.clean_start = true;
        };
        let wills = |connect: &mut Connect| connect.will = Some(will("b"));
        let of_little_worth = |connect: &mut Connect| {
            connect.will = Some(Will {
                qos: QoS::AtMostOnce,
                ..will("b")
            });
        };
        let goes_on_with_will = |connect: &mut Connect| {
            lasting(connect);
            connect.will = Some(Will {
                qos: QoS::AtMostOnce,
                ..will("b")
            });
        };
        let cases: [(&str, Change, &str); 8] = [
            ("dev-3", lasting, "CONNACK 97 refused"),
            ("dev-1", anew, "CONNACK 97 refused"),
            ("dev-3", wills, "CONNACK 97 refused"),
            ("dev-1", goes_on_with_will, "CONNACK 97 refused"),
            ("dev-3", of_little_worth, "*CONNACK 00"),
            ("dev-3", |_| {}, "*CONNACK 00"),
            ("dev-1", lasting, "*CONNACK 00 present"),
            ("dev-1", |it| it.clean_start = true, "*CONNACK 00"),
        ];
        for (device, change, expected) in cases {
            let (mut world, lasts) = exhausted();
            world.lose(lasts);
            world.records();
            let client = world.knock(device, change);
            assert_eq!(world.heard(client).join(" "), expected);
            let is_refused = expected.ends_with("refused");
            let counters = world.counters();
            assert_eq!(counters.connects_refused_full, u64::from(is_refused));
            assert!(!is_refused || world.records().is_empty());
            world.input(Input::Storage(Room::Full));
            let client = world.knock(device, change);
            assert!(world.heard(client).join(" ").contains("CONNACK 00"));
        }
    }

    #[test]
    fn with_the_reserve_used_up_who_comes_for_more_than_its_will_takes_is_let_in() {
        let with_will = |connect: &mut Connect| {
            lasting(connect);
            connect.will = Some(will("gone"));
        };
        for (waiting, expected) in [
            ("1234567", "CONNACK 97 refused"),
            ("12345678", "*CONNACK 00 present PUBLISH a=12345678 q1 #1"),
        ] {
            let (mut world, lasts, _) = full();
            world.input(Input::Storage(Room::Enough));
            world.lose(lasts);
            let publisher = world.enter("dev-3");
            world.send(publisher, qos1("a", waiting, 1));
            world.input(Input::Storage(Room::Exhausted));
            let client = world.knock("dev-1", with_will);
            assert_eq!(world.heard(client).join(" "), expected);
        }
    }

    #[test]
    fn with_the_reserve_used_up_who_lasts_subscribes_to_nothing_new() {
        let (mut world, lasts) = exhausted();
        let [at_0, at_2] = [QoS::AtMostOnce, QoS::ExactlyOnce];
        world.send(lasts, subscribe(&[("a", at_0), ("new", at_2)]));
        assert_eq!(world.heard(lasts), ["*SUBACK [00 97]"]);
        assert_eq!(world.record_names(), ["Subscribed"]);
        assert_eq!(world.counters().subscriptions_refused_full, 1);
        let passes = world.enter("dev-3");
        world.subscribe(passes, "new", QoS::AtLeastOnce);
        world.send(lasts, unsubscribe(&["a"]));
        assert_eq!(world.heard(lasts), ["*UNSUBACK [00]"]);
    }

    #[test]
    fn with_the_reserve_used_up_what_was_taken_is_delivered_and_acknowledged() {
        let (mut world, lasts, _) = full();
        world.input(Input::Storage(Room::Enough));
        world.lose(lasts);
        let publisher = world.enter("dev-3");
        world.send(publisher, qos2("a", "x", 1));
        world.input(Input::Storage(Room::Exhausted));
        world.records();
        let lasts = world.enter_with("dev-1", lasting);
        assert_eq!(world.heard(lasts), ["PUBLISH a=x q2 #1"]);
        world.send(lasts, pubrec(1));
        world.send(lasts, pubcomp(1));
        world.send(publisher, qos1("a", "y", 2));
        assert_eq!(world.heard(publisher), ["*PUBREC #1 00", "PUBACK #2 97"]);
        let names = ["SessionResumed", "Sent", "Received", "Completed"];
        assert_eq!(world.record_names(), names);
    }
}
