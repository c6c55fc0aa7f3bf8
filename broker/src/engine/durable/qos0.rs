//! QoS 0 that waits: by choice it has its turn behind all that waits for a session, and is in the
//! records of one that outlives its connection.
//!
//! It is settled before it is sent: a message at QoS 0 is sent once or not at all [MQTT-4.3.1-1].

use crate::engine::Engine;
use crate::engine::input::Room;
use crate::engine::session::{Session, SessionId};
use protocol::packet::QoS;

/// What becomes of a message at QoS 0 that a session cannot be sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Qos0 {
    /// It is sent before all that waits, or not at all.
    Passes,
    /// It waits, as all do.
    Waits,
    /// It was to wait, and there is no room on the disk for what is recorded.
    Dropped,
}

impl Engine {
    /// Whether a session has a message of this QoS in the records until it has left.
    pub(in crate::engine) fn keeps_for(&self, id: SessionId, qos: QoS) -> bool {
        let session = self.sessions.get(id).filter(|session| session.is_lasting);
        session.is_some_and(|it| qos != QoS::AtMostOnce || it.has_turns(self.qos0()))
    }

    /// What becomes of QoS 0 that is not sent at once. While the disk is nearly full it does not
    /// wait: it promises nothing.
    pub(in crate::engine) fn qos0(&self) -> Qos0 {
        match (self.limits.queue_qos0, self.room) {
            (false, _) => Qos0::Passes,
            (true, Room::Enough) => Qos0::Waits,
            (true, Room::Full | Room::Exhausted) => Qos0::Dropped,
        }
    }
}

impl Session {
    /// Whether a message at QoS 0 has its turn, behind all that waits.
    pub(in crate::engine) fn has_turns(&self, qos0: Qos0) -> bool {
        qos0 != Qos0::Passes && !self.is_next()
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use crate::engine::{ConnectionId, Input, Limits, Room, ShardPlace};
    use protocol::packet::QoS;

    fn queues(limits: &mut Limits) {
        limits.queue_qos0 = true;
    }

    /// A lasting subscriber to `a` at QoS 2 who has left, and a publisher.
    fn away(limit: impl FnOnce(&mut Limits)) -> (World, ConnectionId) {
        let mut world = World::limited(|limits| {
            queues(limits);
            limit(limits);
        });
        let subscriber = world.enter_with("dev-1", lasting);
        world.subscribe(subscriber, "a", QoS::ExactlyOnce);
        let publisher = world.enter("dev-2");
        world.lose(subscriber);
        (world, publisher)
    }

    fn queue_len(world: &World) -> usize {
        world.engine.sessions().map(|it| it.queue_len).sum()
    }

    #[test]
    fn it_waits_in_its_order_and_is_settled_before_it_is_sent() {
        let (mut world, publisher) = away(|_| {});
        world.records();
        world.send(publisher, qos0("a", "1"));
        world.send(publisher, qos1("a", "2", 1));
        world.send(publisher, qos0("a", "3"));
        assert_eq!(world.record_names(), ["Message"; 3]);
        let subscriber = world.knock("dev-1", lasting);
        let heard = world.heard(subscriber);
        let all = ["PUBLISH a=1 q0", "PUBLISH a=2 q1 #1", "PUBLISH a=3 q0"];
        assert_eq!(heard[1..], all);
        assert_eq!(world.record_names()[1..], ["Settled", "Settled"]);
        // Who has nothing waiting hears it at once, and nothing is recorded.
        world.send(subscriber, puback(1));
        world.records();
        world.send(publisher, qos0("a", "4"));
        assert_eq!(world.heard(subscriber), ["PUBLISH a=4 q0"]);
        assert_eq!(world.record_names(), [""; 0]);
    }

    #[test]
    fn it_does_not_overtake_what_waits_for_a_client_that_is_there() {
        let (mut world, publisher) = away(|it| it.in_flight_len_max = 1.try_into().unwrap());
        for number in 1..=2 {
            world.send(publisher, qos1("a", &number.to_string(), number));
        }
        world.send(publisher, qos0("a", "3"));
        let subscriber = world.enter_with("dev-1", lasting);
        assert_eq!(world.heard(subscriber), ["PUBLISH a=1 q1 #1"]);
        world.send(publisher, qos0("a", "4"));
        assert_eq!(world.heard(subscriber), [""; 0]);
        world.send(subscriber, puback(1));
        assert_eq!(world.heard(subscriber), ["PUBLISH a=2 q1 #2"]);
        world.send(subscriber, puback(2));
        assert_eq!(
            world.heard(subscriber),
            ["*PUBLISH a=3 q0", "PUBLISH a=4 q0"]
        );
    }

    #[test]
    fn it_outlives_the_process_and_is_not_sent_twice() {
        let (mut world, publisher) = away(|_| {});
        world.send(publisher, qos0("a", "1"));
        for expected in [&["*PUBLISH a=1 q0"][..], &[]] {
            world.die(OPEN);
            let subscriber = world.knock("dev-1", lasting);
            while world.has_loads() {
                world.answer_load();
            }
            assert_eq!(world.heard(subscriber)[1..], *expected);
        }
    }

    #[test]
    fn who_does_not_last_has_it_in_its_order_and_without_a_record() {
        let mut world = World::limited(|limits| {
            queues(limits);
            limits.in_flight_len_max = 1.try_into().unwrap();
        });
        let subscriber = world.enter("dev-1");
        world.subscribe(subscriber, "a", QoS::ExactlyOnce);
        let publisher = world.enter("dev-2");
        world.publish_many(publisher, 1..=2);
        world.send(publisher, qos0("a", "3"));
        assert_eq!(world.heard(subscriber), ["PUBLISH a=1 q1 #1"]);
        world.send(subscriber, puback(1));
        world.send(subscriber, puback(2));
        assert_eq!(
            world.heard(subscriber),
            ["PUBLISH a=2 q1 #2", "PUBLISH a=3 q0"]
        );
        assert_eq!(world.record_names(), [""; 0]);
    }

    #[test]
    fn it_keeps_its_order_when_its_session_is_not_to_last_any_more() {
        let (mut world, publisher) = away(|it| it.in_flight_len_max = 1.try_into().unwrap());
        world.send(publisher, qos1("a", "1", 1));
        world.send(publisher, qos0("a", "2"));
        let subscriber = world.enter_with("dev-1", |connect| connect.clean_start = false);
        assert_eq!(world.heard(subscriber), ["PUBLISH a=1 q1 #1"]);
        world.send(publisher, qos0("a", "3"));
        world.send(subscriber, puback(1));
        assert_eq!(
            world.heard(subscriber),
            ["PUBLISH a=2 q0", "PUBLISH a=3 q0"]
        );
    }

    #[test]
    fn a_full_queue_and_a_full_disk_drop_it_and_count_it() {
        let (mut world, publisher) = away(|limits| limits.queue_len_max = 1);
        world.send(publisher, qos0("a", "1"));
        world.send(publisher, qos0("a", "2"));
        assert_eq!(world.counters().dropped_queue_full, 1);
        assert_eq!(queue_len(&world), 1);
        let (mut world, publisher) = away(|_| {});
        world.input(Input::Storage(Room::Full));
        world.send(publisher, qos0("a", "1"));
        assert_eq!(world.counters().dropped_disk_full, 1);
        assert_eq!(world.counters().publishes_refused_full, 0);
        assert_eq!(queue_len(&world), 0);
    }

    #[test]
    fn a_member_of_a_group_who_is_away_takes_it_when_nobody_else_does() {
        let mut world = World::limited(queues);
        let [leaves, stays] = ["dev-1", "dev-2"].map(|device| {
            let member = world.enter_with(device, lasting);
            world.subscribe(member, "$share/g/a", QoS::AtMostOnce);
            member
        });
        let publisher = world.enter("dev-3");
        world.lose(leaves);
        world.send(publisher, qos1("a", "1", 1));
        assert_eq!(world.heard(stays), ["PUBLISH a=1 q0"]);
        world.lose(stays);
        world.send(publisher, qos1("a", "2", 2));
        assert_eq!(queue_len(&world), 1);
        // Whose session ends leaves it to another one.
        for device in ["dev-1", "dev-2"] {
            let ended = world.enter(device);
            world.lose(ended);
            if queue_len(&world) == 0 {
                break;
            }
        }
        let heir = ["dev-1", "dev-2"].map(|device| world.knock(device, lasting));
        let heard = heir.map(|member| world.heard(member).len());
        assert_eq!(heard.iter().sum::<usize>(), 2, "{heard:?}");
    }

    #[test]
    fn it_waits_in_the_shard_of_its_subscriber() {
        let shard = |index| {
            let mut limits = Limits::default();
            queues(&mut limits);
            World::in_place(limits, OPEN, ShardPlace { index, count: 2 })
        };
        let (mut here, mut there) = (shard(0), shard(1));
        for world in [&mut here, &mut there] {
            let subscriber = world.enter_with("dev-1", lasting);
            world.subscribe(subscriber, "a", QoS::AtLeastOnce);
            world.lose(subscriber);
        }
        let publisher = here.enter("dev-2");
        here.send(publisher, qos0("a", "x"));
        for forward in here.forwards() {
            assert_eq!(forward.number, None, "nobody repeats it");
            there.input(Input::Forward(forward));
        }
        assert_eq!((queue_len(&here), queue_len(&there)), (1, 1));
    }
}
