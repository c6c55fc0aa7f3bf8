//! Retained messages: kept at PUBLISH, sent after SUBSCRIBE a few at a time.
//!
//! However many match, a turn sends a bounded number, and the next ones are sent when the socket
//! has taken these. How far that has come outlives a connection but not the process
//! (`docs/storage.md`, *What is promised*).

use super::input::Room;
use super::message::Message;
use super::record::{Record, Target};
use super::router::{Grant, SearchStep};
use super::session::{Pending, SessionId};
use super::statistics::is_watching;
use super::{After, ConnectionId, Engine};
use protocol::packet::QoS;
use std::sync::Arc;

impl Engine {
    /// Keeps a message for its topic, or with an empty payload forgets what was kept
    /// [MQTT-3.3.1-5] [MQTT-3.3.1-6]. What depends on it waits for its record.
    pub(super) fn retain(&mut self, message: &Arc<Message>) -> After {
        if !message.payload().is_empty() {
            let message = message.detached();
            self.record(Record::Retained {
                message: Arc::clone(&message),
            });
            self.retained.set(message);
        } else if self.retained.clear(message.topic()) {
            self.record(Record::RetainedCleared {
                topic: message.topic().clone(),
            });
        }
        // What was cleared by another a moment ago must not be there again after a crash either.
        After::Sync
    }

    /// The connection has written all it was given.
    pub(super) fn drained(&mut self, connection: ConnectionId) {
        let Some(id) = self.sessions.of_connection(connection) else {
            return;
        };
        let session = self.sessions.get_mut(id);
        if let Some(connected) = session.and_then(|session| session.connected_mut()) {
            connected.asked_drained = false;
            connected.is_full = false;
        }
        self.send_retained(id);
    }

    /// Sends the next retained messages a session is to have, if the last ones are gone.
    pub(super) fn send_retained(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let is_asked = session
            .connected()
            .is_none_or(|connected| connected.asked_drained);
        if is_asked || !session.queue.is_empty() {
            return;
        }
        let mut step = SearchStep::default();
        while !step.is_over() {
            let Some(session) = self.sessions.get_mut(id) else {
                return;
            };
            let is_lasting = session.is_lasting;
            let Some(run) = session.subscriptions.run_mut() else {
                return;
            };
            let grant = run.grant;
            if self.room != Room::Enough && is_lasting && grant.qos != QoS::AtMostOnce {
                return;
            }
            if is_watching(&run.filter) {
                run.scan.end();
                let filter = run.filter.clone();
                self.send_statistics(id, &filter, grant);
                step.spend();
                continue;
            }
            self.retained.search(&run.filter, &mut run.scan, &mut step);
            for message in step.take_found() {
                self.offer_retained(id, &message, grant);
            }
        }
        self.ask_drained(id);
    }

    fn ask_drained(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.subscriptions.run_mut().is_none() {
            return;
        }
        let Some(connected) = session.connected_mut() else {
            return;
        };
        connected.asked_drained = true;
        self.effects.ask_drained(connected);
    }

    /// Gives a session a message that was there before its subscription.
    pub(super) fn offer_retained(&mut self, id: SessionId, message: &Arc<Message>, grant: Grant) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let is_own = grant.no_local && message.publisher() == Some(&session.key);
        if message.is_expired(self.now) || is_own {
            return;
        }
        let is_asked = grant.withholds || !session.is_judged(self.rejudging.version());
        if is_asked && !session.may_receive(&self.policy, message, self.now) {
            self.counters.dropped_withheld += 1;
            return;
        }
        let qos = grant.qos.min(message.qos());
        let mut pending = Pending {
            message: Arc::clone(message),
            number: None,
            subscription_ids: grant.id.into_iter().collect(),
            share: None,
            qos,
            retain: true,
        };
        if qos != QoS::AtMostOnce {
            self.record_pending(id, &mut pending);
        }
        // The record it is retained by may be waiting yet.
        let after = After::record((message.qos() == QoS::ExactlyOnce).then_some(()));
        self.offer(id, pending, after);
    }

    /// Records a message that one more session is to get, if that session lasts.
    pub(super) fn record_pending(&mut self, id: SessionId, pending: &mut Pending) {
        let of = pending.number.take();
        let Some(session) = self.lasting(id) else {
            return;
        };
        let target = Target {
            session,
            qos: pending.qos,
            retain: pending.retain,
            subscription_ids: pending.subscription_ids.clone(),
            share: pending.share.clone(),
        };
        pending.number = Some(self.record_copy(of, &pending.message, target));
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use crate::engine::{ConnectionId, Input};
    use protocol::packet::{Packet, Publish, QoS, RetainHandling, Subscription};

    fn retain(world: &mut World, topic: &str, payload: &str) {
        let publisher = world.enter("publisher");
        world.send(publisher, retained(qos1(topic, payload, 1)));
        world.lose(publisher);
    }

    #[test]
    fn that_nothing_is_retained_is_said_once_that_is_durable() {
        let mut world = World::open();
        let publisher = world.enter("publisher");
        world.send(publisher, retained(qos1("a", "x", 1)));
        world.send(publisher, retained(qos2("a", "", 2)));
        world.heard(publisher);
        world.send(publisher, retained(qos1("a", "", 3)));
        assert_eq!(world.heard(publisher), ["*PUBACK #3 10"]);
    }

    /// What a subscription brings at once.
    fn brings(world: &mut World, filter: &str) -> Vec<String> {
        let subscriber = world.enter("subscriber");
        world.subscribe(subscriber, filter, QoS::AtMostOnce);
        world.heard(subscriber)
    }

    #[test]
    fn mqtt_3_3_1_5_and_6_the_last_message_is_kept_until_an_empty_one_comes() {
        let mut world = World::open();
        retain(&mut world, "a", "1");
        retain(&mut world, "a", "2");
        assert_eq!(brings(&mut world, "a"), ["PUBLISH a=2 q0 retain"]);
        retain(&mut world, "a", "");
        assert_eq!(brings(&mut world, "a"), [""; 0]);
        assert_eq!(world.engine.retained_len(), 0);
    }

    #[test]
    fn mqtt_3_3_1_8_a_message_that_is_not_retained_changes_nothing() {
        let mut world = World::open();
        retain(&mut world, "a", "1");
        let publisher = world.enter("publisher");
        world.send(publisher, qos1("a", "2", 1));
        world.send(publisher, qos1("a", "", 1));
        assert_eq!(brings(&mut world, "a"), ["PUBLISH a=1 q0 retain"]);
    }

    #[test]
    fn filters_bring_what_they_match_and_shared_ones_nothing() {
        let mut world = World::open();
        for topic in ["a", "a/b", "a/b/c", "a-b", "b/b"] {
            retain(&mut world, topic, "x");
        }
        let cases: &[(&str, &[&str])] = &[
            ("a/#", &["a", "a/b", "a/b/c"]),
            ("+/b", &["a/b", "b/b"]),
            ("#", &["a", "a/b", "a/b/c", "a-b", "b/b"]),
            ("+", &["a", "a-b"]),
            ("c", &[]),
            ("$share/g/#", &[]),
        ];
        for (filter, topics) in cases {
            let expected: Vec<_> = topics
                .iter()
                .map(|topic| format!("PUBLISH {topic}=x q0 retain"))
                .collect();
            assert_eq!(brings(&mut world, filter), expected, "{filter}");
        }
    }

    #[test]
    fn mqtt_3_3_1_9_to_11_retain_handling_says_when() {
        let cases = [
            (RetainHandling::Send, [1, 1]),
            (RetainHandling::SendIfNew, [1, 0]),
            (RetainHandling::DoNotSend, [0, 0]),
        ];
        for (retain_handling, expected) in cases {
            let mut world = World::open();
            retain(&mut world, "a", "x");
            let subscriber = world.enter("subscriber");
            for len in expected {
                let wish = Subscription {
                    retain_handling,
                    ..subscription("a", QoS::AtMostOnce)
                };
                world.send(subscriber, subscribe_to(vec![wish], None));
                assert_eq!(
                    world.heard(subscriber).len(),
                    1 + len,
                    "{retain_handling:?}"
                );
            }
        }
    }

    #[test]
    fn retained_messages_follow_the_suback_with_identifier_and_the_lower_qos() {
        let mut world = World::open();
        retain(&mut world, "a", "x");
        let subscriber = world.enter("subscriber");
        let wish = subscription("a", QoS::ExactlyOnce);
        world.send(subscriber, subscribe_to(vec![wish], Some(5)));
        assert_eq!(
            world.heard(subscriber),
            ["SUBACK [02]", "PUBLISH a=x q1 #1 retain ids[5]"]
        );
    }

    #[test]
    fn no_local_keeps_the_own_retained_message() {
        let mut world = World::open();
        let client = world.enter("dev-1");
        world.send(client, retained(qos0("a", "x")));
        let wish = Subscription {
            no_local: true,
            ..subscription("a", QoS::AtMostOnce)
        };
        world.send(client, subscribe_to(vec![wish], None));
        assert_eq!(world.heard(client), ["SUBACK [00]"]);
    }

    #[test]
    fn a_retained_message_expires() {
        let mut world = World::open();
        let publisher = world.enter("dev-1");
        let brief = publish("a", "x", QoS::AtMostOnce, 0);
        let brief = Publish {
            retain: true,
            ..expiring(brief, Some(10))
        };
        world.send(publisher, Packet::Publish(brief));
        world.wait(4);
        assert_eq!(
            brings(&mut world, "a"),
            ["PUBLISH a=x q0 retain expires[6]"]
        );
        world.records();
        world.wait(6);
        assert_eq!(world.engine.retained_len(), 0);
        assert_eq!(world.record_names(), ["RetainedCleared"]);
        assert_eq!(brings(&mut world, "a"), [""; 0]);
    }

    #[test]
    fn what_is_retained_is_acknowledged_once_it_is_recorded() {
        let mut world = World::open();
        let publisher = world.enter("dev-1");
        world.send(publisher, retained(qos1("a", "x", 1)));
        world.send(publisher, retained(qos1("a", "", 2)));
        world.send(publisher, retained(qos1("a", "", 3)));
        assert_eq!(
            world.heard(publisher),
            ["*PUBACK #1 10", "*PUBACK #2 10", "*PUBACK #3 10"]
        );
        assert_eq!(world.record_names(), ["Retained", "RetainedCleared"]);
    }

    #[test]
    fn each_limit_refuses_the_newcomer_and_keeps_what_is_there() {
        let limits: [fn(&mut crate::engine::Limits); 3] = [
            |limits| limits.retained_len_max = 2,
            |limits| limits.retained_per_device_max = 2,
            |limits| limits.retained_bytes_max = 20,
        ];
        for limit in limits {
            let mut world = World::limited(limit);
            let publisher = world.enter("dev-1");
            for (id, topic) in [(1, "a"), (2, "b"), (3, "c"), (4, "b")] {
                world.send(publisher, retained(qos1(topic, "0123456789", id)));
            }
            let expected = [
                "*PUBACK #1 10",
                "*PUBACK #2 10",
                "PUBACK #3 97",
                "*PUBACK #4 10",
            ];
            assert_eq!(world.heard(publisher), expected);
            world.send(publisher, retained(qos1("a", "", 5)));
            world.send(publisher, retained(qos2("c", "0123456789", 6)));
            assert_eq!(world.heard(publisher), ["*PUBACK #5 10", "*PUBREC #6 10"]);
            let old = world.enter_with("dev-1", v311);
            world.send(old, retained(qos1("d", "0123456789", 1)));
            assert_eq!(world.heard(old), ["CLOSE 97"]);
        }
    }

    #[test]
    fn another_device_has_a_quota_of_its_own() {
        let mut world = World::limited(|limits| limits.retained_per_device_max = 1);
        for (device, topic, expected) in [
            ("dev-1", "a", "10"),
            ("dev-2", "b", "10"),
            ("dev-2", "a", "97"),
            ("dev-1", "a", "10"),
        ] {
            let publisher = world.enter(device);
            world.send(publisher, retained(qos1(topic, "x", 1)));
            let heard = world.heard(publisher).join("");
            assert!(heard.ends_with(expected), "{device} {topic}: {heard}");
        }
    }

    #[test]
    fn a_refused_retained_message_is_delivered_to_nobody() {
        let mut world = World::limited(|limits| limits.retained_len_max = 0);
        let subscriber = world.enter("dev-1");
        world.subscribe(subscriber, "a", QoS::AtMostOnce);
        let publisher = world.enter("dev-2");
        world.send(publisher, retained(qos0("a", "x")));
        world.send(publisher, retained(qos1("a", "x", 1)));
        assert_eq!(world.heard(subscriber), [""; 0]);
        assert_eq!(world.counters().publishes_refused, 2);
    }

    /// Takes what came, says that it is written, and counts the messages until none come.
    fn drain(world: &mut World, connection: ConnectionId) -> usize {
        let mut len = 0;
        loop {
            let heard = world.heard(connection);
            let (last, messages) = heard.split_last().unwrap();
            if last != "drained?" {
                return len + heard.len();
            }
            assert!(messages.len() <= 64, "{}", messages.len());
            len += messages.len();
            world.input(Input::Drained { connection });
        }
    }

    #[test]
    fn many_retained_messages_are_sent_as_the_socket_takes_them() {
        let mut world = World::open();
        let publisher = world.enter("dev-1");
        for number in 0..1000 {
            world.send(publisher, retained(qos1(&format!("a/{number}/b"), "x", 1)));
        }
        let subscriber = world.enter("dev-2");
        world.subscribe(subscriber, "a/#", QoS::AtMostOnce);
        assert_eq!(world.heard(subscriber).len(), 65);
        // Others are served between two steps, and nothing is sent twice or unasked.
        world.send(publisher, qos0("a/now", "x"));
        assert_eq!(world.heard(subscriber), ["PUBLISH a/now=x q0"]);
        world.input(Input::Drained {
            connection: subscriber,
        });
        assert_eq!(64 + drain(&mut world, subscriber), 1000);
        // Asked again, it begins anew.
        world.subscribe(subscriber, "a/#", QoS::AtMostOnce);
        world.subscribe(subscriber, "a/#", QoS::AtMostOnce);
        assert_eq!(world.heard(subscriber).len(), 65);
        world.input(Input::Drained {
            connection: subscriber,
        });
        assert_eq!(drain(&mut world, subscriber), 1000);
    }

    #[test]
    fn retained_messages_above_qos_0_wait_for_room_and_none_is_dropped() {
        let mut world = World::limited(|limits| limits.queue_len_max = 100);
        let publisher = world.enter("dev-1");
        for number in 0..500 {
            world.send(publisher, retained(qos1(&format!("a/{number}"), "x", 1)));
        }
        let subscriber = world.enter_with("dev-2", |connect| {
            connect.properties.receive_maximum = 10.try_into().unwrap();
        });
        world.subscribe(subscriber, "#", QoS::AtLeastOnce);
        let mut len = 0;
        loop {
            let heard = world.heard(subscriber);
            if heard.is_empty() {
                break;
            }
            for line in heard {
                match line.split_once('#') {
                    Some((_, id)) => {
                        len += 1;
                        let id = id.split(' ').next().unwrap().parse().unwrap();
                        world.send(subscriber, puback(id));
                    }
                    None => world.input(Input::Drained {
                        connection: subscriber,
                    }),
                }
            }
        }
        assert_eq!(len, 500);
        assert_eq!(world.counters().dropped(), 0);
    }

    #[test]
    fn what_was_not_yet_sent_is_sent_to_the_next_connection_but_not_after_unsubscribe() {
        let mut world = World::open();
        let publisher = world.enter("dev-1");
        for number in 0..200 {
            world.send(publisher, retained(qos1(&format!("a/{number}"), "x", 1)));
        }
        let first = world.enter_with("dev-2", lasting);
        world.subscribe(first, "#", QoS::AtMostOnce);
        world.lose(first);
        let second = world.enter_with("dev-2", lasting);
        assert_eq!(world.heard(second).len(), 65);
        world.send(second, unsubscribe(&["#"]));
        world.heard(second);
        world.input(Input::Drained { connection: second });
        assert_eq!(world.heard(second), [""; 0]);
    }
}
