//! The end of a session: its subscriptions, its will and its messages find their end too.
//!
//! Nothing names a session that has ended.

use super::Engine;
use super::record::Record;
use super::route::Offer;
use super::session::{Pending, SessionId, Waiting};
use protocol::packet::QoS;

impl Engine {
    /// Ends a session that nobody is connected to. Its will, if it still has one, is published.
    pub(super) fn end_session(&mut self, id: SessionId) {
        self.cancel_deadlines(id);
        self.publish_will(id);
        let Some(mut session) = self.sessions.remove(id) else {
            return;
        };
        for (filter, _) in session.subscriptions.iter() {
            self.router.unsubscribe(id, filter);
            self.unwatch_statistics(filter);
        }
        // What was sent at QoS 2 may have arrived: it goes to nobody else [MQTT-4.8.2-5].
        let sent: Vec<Pending> = session.outbound.drain().collect();
        let may_go_on = |pending: &Pending| pending.qos == QoS::AtLeastOnce;
        let sent = sent.into_iter().filter(may_go_on).map(Waiting::Ready);
        let unsent: Vec<Waiting> = session.queue.take_all(&mut self.cache).collect();
        for mut waiting in sent.chain(unsent) {
            if let (Waiting::Ready(pending), false) = (&mut waiting, session.is_lasting) {
                pending.number = None;
            }
            self.hand_on_waiting(waiting);
        }
        self.loading.remove(&session.number);
        // The last of its records: what it leaves behind has found its way.
        if session.is_lasting {
            self.record(Record::SessionEnded {
                session: session.number,
            });
        }
    }

    /// As [`Self::hand_on`], where the message has waited. What can go to somebody else has its
    /// content.
    pub(super) fn hand_on_waiting(&mut self, waiting: Waiting) {
        match waiting.into_pending() {
            Some(pending) => self.hand_on(pending),
            None => self.counters.dropped_session_end += 1,
        }
    }

    /// Gives a message whose session does not get it to another member of its shared
    /// subscription, if there is one.
    fn hand_on(&mut self, pending: Pending) {
        let sessions = &self.sessions;
        let offer = Offer {
            message: &pending.message,
            policy: &self.policy,
            version: self.rejudging.version(),
            qos0: self.qos0(),
            now: self.now,
        };
        let picked = pending.share.as_deref().and_then(|filter| {
            let group = self.router.group_mut(filter)?;
            group.pick(|id, grant| sessions.get(id)?.shared_room(&offer, grant))
        });
        let Some((id, grant)) = picked else {
            self.counters.dropped_session_end += 1;
            return;
        };
        let mut pending = Pending {
            qos: grant.qos.min(pending.message.qos()),
            retain: pending.message.retain() && grant.retain_as_published,
            subscription_ids: grant.id.into_iter().collect(),
            ..pending
        };
        if self.keeps_for(id, pending.qos) {
            self.record_pending(id, &mut pending);
        } else {
            pending.number = None;
        }
        self.offer(id, pending, super::After::Sync);
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::ConnectionId;
    use crate::engine::test_world::*;
    use protocol::packet::QoS;

    /// Two members of a group; the first to be given messages acknowledges nothing.
    fn group() -> (World, [ConnectionId; 2], ConnectionId) {
        let mut world = World::open();
        let stuck = world.enter("dev-1");
        world.subscribe(stuck, "$share/g/a", QoS::ExactlyOnce);
        let publisher = world.enter("dev-3");
        world.send(publisher, qos1("a", "1", 1));
        world.send(publisher, qos2("a", "2", 2));
        world.send(publisher, qos2("a", "3", 3));
        let heir = world.enter("dev-2");
        world.subscribe(heir, "$share/g/a", QoS::ExactlyOnce);
        (world, [stuck, heir], publisher)
    }

    #[test]
    fn mqtt_4_8_2_5_what_a_member_leaves_behind_goes_on_but_not_what_it_may_have_at_qos_2() {
        let (mut world, [stuck, heir], _) = group();
        world.lose(stuck);
        assert_eq!(world.heard(heir), ["*PUBLISH a=1 q1 #1"]);
    }

    #[test]
    fn what_was_never_sent_goes_on_at_any_qos() {
        let mut world = World::limited(|limits| limits.in_flight_len_max = 1.try_into().unwrap());
        let stuck = world.enter("dev-1");
        world.subscribe(stuck, "$share/g/a", QoS::ExactlyOnce);
        let publisher = world.enter("dev-3");
        for id in 1..=3 {
            world.send(publisher, qos2("a", &id.to_string(), id));
        }
        let heir = world.enter("dev-2");
        world.subscribe(heir, "$share/g/a", QoS::ExactlyOnce);
        world.lose(stuck);
        world.send(heir, pubrec(1));
        world.send(heir, pubcomp(1));
        assert_eq!(
            world.heard(heir),
            ["*PUBLISH a=2 q2 #1", "PUBREL #1 00", "*PUBLISH a=3 q2 #2"]
        );
    }

    #[test]
    fn nothing_goes_on_while_the_session_lasts() {
        let mut world = World::open();
        let first = world.enter_with("dev-1", lasting);
        world.subscribe(first, "$share/g/a", QoS::AtLeastOnce);
        let publisher = world.enter("dev-3");
        world.send(publisher, qos1("a", "1", 1));
        let heir = world.enter_with("dev-2", lasting);
        world.subscribe(heir, "$share/g/a", QoS::AtLeastOnce);
        world.records();
        world.lose(first);
        assert_eq!(world.heard(heir), [""; 0]);
        // Then its time is over, and the message recorded for it gets another target.
        world.wait(3600);
        assert_eq!(world.heard(heir), ["*PUBLISH a=1 q1 #1"]);
        assert_eq!(
            world.record_names(),
            ["SessionLeft", "Copy", "SessionEnded"]
        );
    }

    #[test]
    fn without_another_member_it_is_dropped_and_counted() {
        let (mut world, [stuck, heir], _) = group();
        world.lose(heir);
        world.lose(stuck);
        assert_eq!(world.counters().dropped_session_end, 1);
        assert_eq!(world.engine.subscriptions_len(), 0);
    }

    #[test]
    fn an_ended_session_leaves_nothing() {
        let mut world = World::open();
        for round in 0..3 {
            let client = world.enter_with("dev-1", |connect| {
                lasting(connect);
                connect.clean_start = true;
                connect.will = Some(will("a"));
            });
            for filter in ["a", "a/+/b", "$share/g/a", "$SYS/#"] {
                world.subscribe(client, filter, QoS::AtLeastOnce);
            }
            world.lose(client);
            world.wait(3600);
            assert_eq!(world.engine.sessions_len(), 0, "{round}");
            assert_eq!(world.engine.subscriptions_len(), 0);
            assert_eq!(world.engine.deadline(), None);
        }
    }
}
