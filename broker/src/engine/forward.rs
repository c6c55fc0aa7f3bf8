//! Forward: messages between shards, each with the permit it was given where it came in.
//!
//! What is owed to somebody is recorded where it came in until every other shard has recorded that
//! it took it: it survives us all, and no shard takes it twice. What another shard took is never
//! passed on again.

use super::effect::{Forward, ForwardsTaken};
use super::input::Room;
use super::message::Message;
use super::record::{MessageNumber, Record};
use super::route::is_owed;
use super::{After, Engine};
use std::sync::Arc;

impl Engine {
    /// Hands a message to the other shards; what has a number is remembered until they took it.
    pub(super) fn forward(
        &mut self,
        message: &Arc<Message>,
        number: Option<MessageNumber>,
        after: After,
    ) {
        if let Some(number) = number {
            self.forwards.begin(number, message.payload().len());
        }
        self.effects.forwards.push(Forward {
            from: self.shard.index,
            number,
            message: Arc::clone(message),
            after,
        });
    }

    /// Takes a forwarded message, unless it is a repetition. Where there is no room for what may
    /// have to be recorded it waits, and the shard it came from waits for us.
    pub(super) fn take_forward(&mut self, forward: Forward) {
        if forward.number.is_some() && self.room == Room::Exhausted {
            self.counters.forwards_postponed += 1;
            return self.forwards.postpone(forward);
        }
        let Forward {
            from,
            number,
            message,
            after: _,
        } = forward;
        let Some(up_to) = number else {
            return self.route_in_time(&message, After::Nothing);
        };
        if self.forwards.take(from, up_to) {
            // What was taken is recorded with it, or not at all.
            self.record(Record::ForwardsTaken { from, up_to });
            self.keep_and_route(&message);
        }
        let by = self.shard.index;
        self.effects.acknowledge(ForwardsTaken { by, from, up_to });
    }

    /// There is room again: takes what had to wait, in its order.
    pub(super) fn take_postponed(&mut self) {
        for forward in self.forwards.take_postponed() {
            self.take_forward(forward);
        }
    }

    /// Keeps a forwarded message where it is retained, and gives it to our sessions.
    fn keep_and_route(&mut self, message: &Arc<Message>) {
        if message.retain() {
            let len = message.payload().len();
            let device = message.device();
            let has_room =
                device.is_some_and(|it| self.retained.admit(message.topic(), len, it).is_ok());
            if has_room || len == 0 {
                self.retain(message);
            }
        }
        self.route_in_time(message, After::Sync);
    }

    /// What has expired on its way is given to nobody [MQTT-3.3.2-5].
    fn route_in_time(&mut self, message: &Arc<Message>, after: After) {
        if message.is_expired(self.now) {
            self.counters.dropped_expired += 1;
        } else {
            self.route(message, after);
        }
    }

    /// Another shard has taken messages of ours. Once all have, these are forgotten.
    pub(super) fn forwards_taken(&mut self, taken: ForwardsTaken) {
        let others = self.shard.count.saturating_sub(1);
        if let Some(up_to) = self.forwards.taken_by((taken.by, others), taken.up_to) {
            self.record(Record::ForwardsDone { up_to });
        }
    }

    /// Whether a message that a client publishes is refused because the other shards are behind.
    pub(super) fn lacks_room_to_forward(&self, message: &Message) -> bool {
        self.shard.count > 1 && is_owed(message) && self.forwards.is_full(&self.limits)
    }

    /// Hands over again what may not have arrived, before anything new.
    pub(super) fn repeat_forwards(&mut self) {
        let from = self.shard.index;
        let repeated = self.forwards.take_repeated().into_iter();
        let repeated = repeated.map(|(number, message)| Forward {
            from,
            number: Some(number),
            message,
            after: After::Nothing,
        });
        self.effects.forwards.extend(repeated);
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use crate::engine::{
        After, Forward, ForwardsTaken, Input, Limits, MessageNumber, Restored, Room, ShardPlace,
    };
    use protocol::packet::{Packet, QoS};

    fn shard(index: u32) -> World {
        one_of(2, index, |_| {})
    }

    fn one_of(count: u32, index: u32, limit: impl FnOnce(&mut Limits)) -> World {
        let mut limits = Limits::default();
        limit(&mut limits);
        World::in_place(limits, OPEN, ShardPlace { index, count })
    }

    fn number(number: u64) -> MessageNumber {
        MessageNumber(number.try_into().unwrap())
    }

    fn taken(by: u32, up_to: u64) -> Input {
        let (from, up_to) = (0, number(up_to));
        Input::ForwardsTaken(ForwardsTaken { by, from, up_to })
    }

    fn numbers(forwards: &[Forward]) -> Vec<Option<u64>> {
        let number = |it: &Forward| Some(it.number?.0.get());
        forwards.iter().map(number).collect()
    }

    #[test]
    fn a_message_taken_goes_to_the_other_shards_and_no_further() {
        let (mut here, mut there) = (shard(0), shard(1));
        let publisher = here.enter("dev-1");
        let [near, far] = [&mut here, &mut there].map(|world| {
            let subscriber = world.enter("dev-2");
            world.subscribe(subscriber, "a", QoS::AtLeastOnce);
            subscriber
        });
        here.send(publisher, qos1("a", "x", 1));
        for forward in here.forwards() {
            there.input(Input::Forward(forward));
        }
        assert_eq!(here.heard(near), ["PUBLISH a=x q1 #1"]);
        assert_eq!(there.heard(far), ["PUBLISH a=x q1 #1"]);
        assert!(there.forwards().is_empty());
    }

    #[test]
    fn a_denied_message_goes_nowhere() {
        let mut here = shard(0);
        let publisher = here.enter("dev-1");
        here.send(publisher, qos1("$x", "x", 1));
        assert!(here.forwards().is_empty());
    }

    #[test]
    fn whether_other_shards_have_subscribers_is_not_claimed() {
        let mut here = shard(0);
        let publisher = here.enter("dev-1");
        here.send(publisher, qos1("a", "x", 1));
        assert_eq!(here.heard(publisher), ["*PUBACK #1 00"]);
    }

    #[test]
    fn a_retained_message_and_a_will_are_forwarded_too() {
        let (mut here, mut there) = (shard(0), shard(1));
        let publisher = here.enter_with("dev-1", |connect| connect.will = Some(will("w")));
        here.send(publisher, retained(qos1("a", "x", 1)));
        here.lose(publisher);
        let forwards = here.forwards();
        assert_eq!(forwards.len(), 2);
        for forward in forwards {
            there.input(Input::Forward(forward));
        }
        let late = there.enter("late");
        there.subscribe(late, "a", QoS::AtMostOnce);
        assert_eq!(there.heard(late), ["PUBLISH a=x q0 retain"]);
    }

    #[test]
    fn at_qos_2_a_forward_waits_for_the_record() {
        let mut here = shard(0);
        let publisher = here.enter_with("dev-1", lasting);
        here.send(publisher, qos1("a", "x", 1));
        here.send(publisher, qos2("a", "x", 2));
        let after: Vec<_> = here
            .forwards()
            .iter()
            .map(|forward| forward.after)
            .collect();
        assert_eq!(after, [After::Nothing, After::Sync]);
    }

    #[test]
    fn what_is_owed_is_forwarded_again_by_the_next_process_until_all_others_have_taken_it() {
        let mut here = one_of(3, 0, |_| {});
        let publisher = here.enter("dev-1");
        here.send(publisher, qos0("a", "lost"));
        here.send(publisher, retained(qos0("a", "1")));
        here.send(publisher, qos1("a", "2", 2));
        here.send(publisher, qos2("a", "3", 3));
        assert_eq!(numbers(&here.forwards()), [None, Some(1), Some(2), Some(3)]);
        here.input(taken(1, 3));
        here.input(taken(2, 1));
        here.die(OPEN);
        here.input(Input::Tick);
        let again = here.forwards();
        assert_eq!(numbers(&again), [Some(2), Some(3)]);
        assert!(again.iter().all(|it| it.after == After::Nothing));
        here.input(taken(2, 3));
        assert!(here.record_names().is_empty(), "shard 1 is yet to say so");
        here.input(taken(1, 3));
        assert!(here.restored_of_log().forwards.is_empty());
        here.input(taken(1, 3));
        assert!(here.records().is_empty(), "that is no news");
    }

    #[test]
    fn a_repetition_is_acknowledged_and_goes_to_nobody() {
        let (mut here, mut there) = (shard(0), shard(1));
        let publisher = here.enter("dev-1");
        let subscriber = there.enter_with("dev-2", lasting);
        there.subscribe(subscriber, "a", QoS::ExactlyOnce);
        here.send(publisher, qos2("a", "x", 1));
        let [forward] = here.forwards().try_into().unwrap();
        there.records();
        there.input(Input::Forward(forward.clone()));
        let names = there.record_names();
        assert_eq!(names, ["ForwardsTaken", "Message", "Sent"]);
        assert_eq!(there.heard(subscriber), ["*PUBLISH a=x q2 #1"]);
        assert_eq!(there.taken().len(), 1);
        there.input(Input::Forward(forward));
        assert_eq!(there.record_names(), [""; 0]);
        assert_eq!(there.heard(subscriber), [""; 0]);
        let expected = ForwardsTaken {
            by: 1,
            from: 0,
            up_to: number(1),
        };
        assert_eq!(there.taken(), [expected]);
    }

    #[test]
    fn what_came_at_qos_2_is_delivered_once_it_is_recorded_that_it_was_taken() {
        let (mut here, mut there) = (shard(0), shard(1));
        let publisher = here.enter("dev-1");
        let subscriber = there.enter("dev-2");
        there.subscribe(subscriber, "a", QoS::AtMostOnce);
        here.send(publisher, qos2("a", "x", 1));
        for forward in here.forwards() {
            there.input(Input::Forward(forward));
        }
        assert_eq!(there.heard(subscriber), ["*PUBLISH a=x q0"]);
    }

    #[test]
    fn what_is_passed_on_until_it_is_taken_is_delivered_at_qos_0_once_that_is_recorded() {
        let (mut here, mut there) = (shard(0), shard(1));
        let publisher = here.enter("dev-1");
        let [near, far] = [&mut here, &mut there].map(|world| {
            let subscriber = world.enter("dev-2");
            world.subscribe(subscriber, "+", QoS::AtMostOnce);
            subscriber
        });
        here.send(publisher, retained(qos0("a", "kept")));
        here.send(publisher, qos0("b", "not"));
        for forward in here.forwards() {
            there.input(Input::Forward(forward));
        }
        // What comes from its publisher comes once.
        assert_eq!(here.heard(near), ["PUBLISH a=kept q0", "PUBLISH b=not q0"]);
        assert_eq!(there.heard(far), ["*PUBLISH a=kept q0", "PUBLISH b=not q0"]);
    }

    #[test]
    fn what_expires_on_its_way_is_taken_and_goes_to_nobody() {
        let (mut here, mut there) = (shard(0), shard(1));
        let publisher = here.enter("dev-1");
        let subscriber = there.enter_with("dev-2", lasting);
        there.subscribe(subscriber, "a", QoS::AtLeastOnce);
        for qos in [QoS::AtLeastOnce, QoS::AtMostOnce] {
            let message = expiring(publish("a", "x", qos, 1), Some(3));
            here.send(publisher, Packet::Publish(message));
        }
        there.now = here.now.after_seconds(3);
        there.records();
        for forward in here.forwards() {
            there.input(Input::Forward(forward));
        }
        assert_eq!(there.heard(subscriber), [""; 0]);
        assert_eq!(there.record_names(), ["ForwardsTaken"]);
        assert_eq!(there.taken().len(), 1);
        assert_eq!(there.counters().dropped_expired, 2);
    }

    #[test]
    fn no_number_that_another_shard_knows_is_given_to_another_message() {
        let (mut here, mut there) = (shard(0), shard(1));
        let publisher = here.enter("dev-1");
        for id in 1..=3 {
            here.send(publisher, qos1("a", "x", id));
        }
        for forward in here.forwards() {
            there.input(Input::Forward(forward));
        }
        // The log of the one has nothing of it, that of the other all.
        let mut all = [Restored::default(), there.restored_of_log()];
        Restored::begin_together(&mut all);
        let [nothing, _] = all;
        here.crash(OPEN, nothing);
        let publisher = here.enter("dev-1");
        here.send(publisher, qos1("a", "x", 1));
        assert_eq!(numbers(&here.forwards()), [Some(4)]);
    }

    #[test]
    fn while_the_others_are_behind_what_is_to_be_forwarded_is_refused() {
        for (limit, refused) in [
            ((|it| it.forwards_len_max = 2) as fn(&mut Limits), 3),
            (|it| it.forwards_bytes_max = 3, 4),
        ] {
            let mut here = one_of(2, 0, limit);
            let publisher = here.enter("dev-1");
            for id in 1..=refused {
                here.send(publisher, qos1("a", "x", id));
            }
            let heard = here.heard(publisher);
            assert_eq!(heard.last().unwrap(), &format!("PUBACK #{refused} 97"));
            assert_eq!(heard.len(), usize::from(refused));
            assert_eq!(here.counters().publishes_refused_behind, 1);
            here.send(publisher, qos0("a", "x"));
            assert_eq!(here.forwards().len(), usize::from(refused));
            here.input(taken(1, 1));
            here.send(publisher, qos1("a", "x", 9));
            assert_eq!(here.heard(publisher), ["*PUBACK #9 00"]);
        }
    }

    #[test]
    fn where_the_reserve_is_used_up_forwards_wait_in_their_order() {
        let (mut here, mut there) = (shard(0), shard(1));
        let publisher = here.enter("dev-1");
        let subscriber = there.enter_with("dev-2", lasting);
        there.subscribe(subscriber, "a", QoS::AtLeastOnce);
        for id in 1..=2 {
            here.send(publisher, qos1("a", &id.to_string(), id));
        }
        here.send(publisher, qos0("a", "3"));
        there.input(Input::Storage(Room::Exhausted));
        there.records();
        for forward in here.forwards() {
            there.input(Input::Forward(forward));
        }
        assert_eq!(there.heard(subscriber), ["PUBLISH a=3 q0"]);
        assert_eq!(there.record_names(), [""; 0]);
        assert!(there.taken().is_empty());
        assert_eq!(there.counters().forwards_postponed, 2);
        there.input(Input::Storage(Room::Full));
        let heard = there.heard(subscriber);
        assert_eq!(heard, ["PUBLISH a=1 q1 #1", "PUBLISH a=2 q1 #2"]);
        assert_eq!(there.taken().last().unwrap().up_to, number(2));
    }
}
