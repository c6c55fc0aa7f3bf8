//! UNSUBSCRIBE: no more of some filters [MQTT 5.0 §3.10].
//!
//! What was sent is still delivered to its end; what waits of a shared subscription goes to
//! another member.

use super::record::Record;
use super::session::SessionId;
use super::{After, Engine};
use protocol::ReasonCode;
use protocol::packet::{Packet, Unsuback, Unsubscribe};
use protocol::topic::TopicFilter;

impl Engine {
    /// A client has unsubscribed.
    pub(super) fn unsubscribe(&mut self, id: SessionId, unsubscribe: &Unsubscribe) {
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            let existed = self.remove_subscription(id, filter);
            let reason = if existed {
                ReasonCode::Success
            } else {
                ReasonCode::NoSubscriptionExisted
            };
            reasons.push(reason);
        }
        let unsuback = Unsuback {
            packet_id: unsubscribe.packet_id,
            reasons,
            words: None,
        };
        let after = After::record(self.lasting(id));
        self.answer(id, &Packet::Unsuback(Box::new(unsuback)), after);
    }

    /// Removes a subscription of a session. Whether there was one.
    pub(super) fn remove_subscription(&mut self, id: SessionId, filter: &TopicFilter) -> bool {
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        if !session.subscriptions.remove(filter) {
            return false;
        }
        self.router.unsubscribe(id, filter);
        self.unwatch_statistics(filter);
        if let Some(session) = self.lasting(id) {
            let filter = filter.detached();
            self.record(Record::Unsubscribed { session, filter });
        }
        if filter.share_group().is_some() {
            self.leave_group(id, filter);
        }
        true
    }

    /// Gives what waits in a session and came by a shared filter to the other members.
    fn leave_group(&mut self, id: SessionId, filter: &TopicFilter) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        for waiting in session.queue.take_shared(filter, &mut self.cache) {
            let number = waiting.number();
            self.hand_on_waiting(waiting);
            self.settle(id, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use protocol::packet::QoS;

    #[test]
    fn mqtt_3_10_4_1_only_the_very_same_filter_is_removed() {
        let mut world = World::open();
        let device = world.enter("dev-1");
        for filter in ["a/+", "a/#", "$share/g/a/b"] {
            world.subscribe(device, filter, QoS::AtMostOnce);
        }
        world.send(device, unsubscribe(&["a/b", "a/+", "$share/h/a/b", "a/+"]));
        assert_eq!(world.heard(device), ["UNSUBACK [11 00 11 11]"]);
        world.send(device, qos0("a/b", "x"));
        assert_eq!(world.heard(device).len(), 2);
    }

    #[test]
    fn mqtt_3_10_4_3_what_was_begun_is_delivered_to_its_end() {
        let mut world = World::open();
        let publisher = world.enter("dev-2");
        let device = world.enter_with("dev-1", |connect| {
            connect.properties.receive_maximum = 1.try_into().unwrap();
        });
        world.subscribe(device, "a", QoS::ExactlyOnce);
        world.send(publisher, qos2("a", "1", 1));
        world.send(publisher, qos2("a", "2", 2));
        world.send(device, unsubscribe(&["a"]));
        world.send(publisher, qos2("a", "3", 3));
        world.send(device, pubrec(1));
        world.send(device, pubcomp(1));
        let expected = [
            "PUBLISH a=1 q2 #1",
            "UNSUBACK [00]",
            "PUBREL #1 00",
            "*PUBLISH a=2 q2 #2",
        ];
        assert_eq!(world.heard(device), expected);
    }

    #[test]
    fn who_leaves_a_group_leaves_what_waits_to_the_others() {
        let mut world = World::open();
        let publisher = world.enter("dev-3");
        let slow = world.enter_with("dev-1", |connect| {
            connect.properties.receive_maximum = 1.try_into().unwrap();
        });
        world.subscribe(slow, "$share/g/a", QoS::AtLeastOnce);
        for id in 1..=3 {
            world.send(publisher, qos1("a", &id.to_string(), id));
        }
        let other = world.enter("dev-2");
        world.subscribe(other, "$share/g/a", QoS::AtLeastOnce);
        world.send(slow, unsubscribe(&["$share/g/a"]));
        assert_eq!(world.heard(slow), ["PUBLISH a=1 q1 #1", "UNSUBACK [00]"]);
        assert_eq!(
            world.heard(other),
            ["*PUBLISH a=2 q1 #1", "PUBLISH a=3 q1 #2"]
        );
    }
}
