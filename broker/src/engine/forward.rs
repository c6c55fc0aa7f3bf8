//! Forward: a message that came to another shard, for our sessions.
//!
//! It has its permit, and is never passed on again.

use super::{After, Engine, Forward};

impl Engine {
    /// Keeps a forwarded message where it is retained, and gives it to our sessions.
    pub(super) fn take_forward(&mut self, forward: Forward) {
        let Forward { message, after: _ } = forward;
        let mut after = After::Nothing;
        if message.retain() {
            let len = message.payload().len();
            let device = message.device();
            let has_room =
                device.is_some_and(|it| self.retained.admit(message.topic(), len, it).is_ok());
            if has_room || len == 0 {
                after = self.retain(&message);
            }
        }
        self.route(&message, after);
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use crate::engine::{After, Input, Limits, ShardPlace};
    use protocol::packet::QoS;

    fn shard(index: u32) -> World {
        World::in_place(Limits::default(), OPEN, ShardPlace { index, count: 2 })
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
        assert_eq!(here.heard(publisher), ["PUBACK #1 00"]);
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
}
