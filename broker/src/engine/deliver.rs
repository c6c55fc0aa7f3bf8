//! Delivery: what one session is sent, and what waits for it.
//!
//! Messages of one QoS leave a session in the order in which they came [MQTT-4.6.0-6]. Never is
//! more in flight than the client takes and the limits allow.

use super::input::ConnectionId;
use super::message::Delivery;
use super::record::{MessageNumber, Record};
use super::session::{Judged, Pending, Presence, Session, SessionId};
use super::time::Time;
use super::{After, Engine};
use protocol::ReasonCode;
use protocol::delivery::{Pubrec, Resend};
use protocol::packet::{Ack, Packet, PacketId, PublishHead, QoS};
use protocol::wire::TooLarge;

/// Something to be sent again.
enum Due {
    Publish(PacketId, Pending),
    Pubrel(PacketId),
}

impl Engine {
    /// Sends a message to a session's client if it can be sent now, else lets it wait.
    pub(super) fn offer(&mut self, id: SessionId, pending: Pending, after: After) {
        let qos0 = self.qos0();
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        // What a lasting session has waiting is in its records.
        let waits = pending.number.is_some() || (!session.is_lasting && session.has_turns(qos0));
        match pending.qos {
            QoS::AtMostOnce if !waits => {
                return self.send_once(id, pending.delivery(), after);
            }
            QoS::AtLeastOnce | QoS::ExactlyOnce if session.is_next() && session.has_window() => {
                return self.send(id, pending, after);
            }
            QoS::AtMostOnce | QoS::AtLeastOnce | QoS::ExactlyOnce => {}
        }
        let number = pending.number;
        if self.let_wait(id, pending).is_err() {
            self.counters.dropped_queue_full += 1;
            self.settle(id, number);
        }
    }

    /// Sends again what is due, then what waits, as far as the client takes it.
    pub(super) fn pump(&mut self, id: SessionId) {
        self.catch_up(id);
        if self.sessions.get(id).is_none_or(Session::owes_nothing) {
            return;
        }
        self.resend(id);
        while let Some((pending, judged)) = self.next_waiting(id) {
            let Some(session) = self.sessions.get(id) else {
                return;
            };
            let message = &pending.message;
            let is_asked = judged == Judged::Anew || self.policy.has_windows();
            let withheld = is_asked && !session.may_receive(&self.policy, message, self.now);
            if message.is_expired(self.now) {
                self.counters.dropped_expired += 1;
                self.settle(id, pending.number);
            } else if withheld {
                self.counters.dropped_withheld += 1;
                self.settle(id, pending.number);
            } else if pending.qos == QoS::AtMostOnce {
                // Were the record of this lost, it would be sent twice [MQTT-4.3.1-1].
                self.settle(id, pending.number);
                let after = After::record(self.lasting(id).and(pending.number));
                self.send_once(id, pending.delivery(), after);
            } else {
                // Its own records may be waiting yet.
                let after = After::record((message.qos() == QoS::ExactlyOnce).then_some(()));
                self.send(id, pending, after);
            }
        }
        self.load(id);
        self.send_retained(id);
    }

    /// A client that does not read costs its publishers no more than to be asked.
    pub(super) fn outbox_full(&mut self, connection: ConnectionId) {
        let id = self.sessions.of_connection(connection);
        let session = id.and_then(|id| self.sessions.get_mut(id));
        if let Some(connected) = session.and_then(Session::connected_mut) {
            connected.is_full = true;
            self.effects.ask_drained(connected);
        }
    }

    fn next_waiting(&mut self, id: SessionId) -> Option<(Pending, Judged)> {
        let session = self.sessions.get_mut(id)?;
        if session.connected().is_none() || !session.has_window() {
            return None;
        }
        session.queue.pop(&mut self.cache)
    }

    /// Sends a message at QoS 0, if the client is there and its outbox is not full.
    #[inline]
    pub(super) fn send_once(&mut self, id: SessionId, delivery: Delivery<'_>, after: After) {
        let session = self.sessions.get_mut(id);
        let Some(connected) = session.and_then(Session::connected_mut) else {
            return;
        };
        if connected.is_full {
            self.counters.dropped_outbox_full += 1;
            return;
        }
        match self
            .effects
            .deliver(connected, delivery.head(self.now), after)
        {
            Ok(()) => self.counters.messages_sent += 1,
            Err(TooLarge) => self.counters.dropped_too_large += 1,
        }
    }

    /// Sends a message above QoS 0 to a connected client, whose window has room.
    fn send(&mut self, id: SessionId, pending: Pending, after: After) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if !session.takes_packet(&pending.delivery(), now) {
            // Dropped as if it had been sent [MQTT-3.1.2-25].
            self.counters.dropped_too_large += 1;
            return self.settle(id, pending.number);
        }
        let lasting = session.is_lasting.then_some(session.number);
        let Presence::Here(connected) = &mut session.presence else {
            return;
        };
        session.in_flight_bytes += pending.message.payload().len();
        let (qos, number) = (pending.qos, pending.number);
        let Some((packet_id, pending)) = session.outbound.send(pending, qos) else {
            return;
        };
        let mut after = after;
        if let (QoS::ExactlyOnce, Some(session), Some(message)) = (qos, lasting, number) {
            // It is sent again under this identifier, whatever happens to us.
            self.effects.records.push(Record::Sent {
                session,
                message,
                packet_id,
            });
            after = After::Sync;
        }
        let head = PublishHead {
            packet_id: Some(packet_id),
            ..pending.delivery().head(now)
        };
        self.counters.messages_sent += 1;
        // It fits: that was asked before.
        let _ = self.effects.deliver(connected, head, after);
    }

    /// Sends again what an earlier connection did not see acknowledged [MQTT-4.4.0-1].
    fn resend(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.connection().is_none() {
            return;
        }
        if session.outbound.has_room() || session.outbound.is_empty() {
            return;
        }
        let due: Vec<Due> = session
            .outbound
            .resend()
            .map(|resend| Due::new(&resend))
            .collect();
        for due in due {
            match due {
                Due::Publish(packet_id, pending) => self.send_again(id, packet_id, &pending),
                Due::Pubrel(packet_id) => {
                    let pubrel = Packet::Pubrel(Ack::success(packet_id));
                    self.answer(id, &pubrel, After::record(self.lasting(id)));
                }
            }
        }
    }

    fn send_again(&mut self, id: SessionId, packet_id: PacketId, pending: &Pending) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let delivery = pending.delivery();
        if !session.may_receive(&self.policy, delivery.message, now) {
            self.counters.dropped_withheld += 1;
            return self.give_up(id, packet_id);
        }
        if !session.takes_packet(&delivery, now) {
            self.counters.dropped_too_large += 1;
            return self.give_up(id, packet_id);
        }
        let is_recorded = session.is_lasting && delivery.qos == QoS::ExactlyOnce;
        let Some(connected) = session.connected_mut() else {
            return;
        };
        let head = PublishHead {
            dup: true,
            packet_id: Some(packet_id),
            ..delivery.head(now)
        };
        self.counters.messages_sent += 1;
        let after = After::record(is_recorded.then_some(()));
        // It fits: that was asked before.
        let _ = self.effects.deliver(connected, head, after);
    }

    /// Ends a delivery that was begun and is not sent again.
    fn give_up(&mut self, id: SessionId, packet_id: PacketId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Some(pending) = session.give_up(packet_id) {
            self.settle(id, pending.number);
        }
    }

    /// A session needs a message no more.
    pub(super) fn settle(&mut self, id: SessionId, number: Option<MessageNumber>) {
        if let (Some(message), Some(session)) = (number, self.lasting(id)) {
            self.record(Record::Settled { session, message });
        }
    }

    /// Drops what waits for a session and is no longer worth delivering.
    pub(super) fn drop_expired(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if !session.queue.has_expired(now) {
            return;
        }
        for expired in session.queue.take_expired(now, &mut self.cache) {
            self.counters.dropped_expired += 1;
            self.settle(id, expired.number());
        }
    }
}

impl Due {
    fn new(resend: &Resend<'_, Pending>) -> Self {
        match *resend {
            Resend::Publish {
                packet_id,
                qos: _,
                message: pending,
            } => Self::Publish(packet_id, pending.clone()),
            Resend::Pubrel { packet_id } => Self::Pubrel(packet_id),
        }
    }
}

impl Pending {
    fn delivery(&self) -> Delivery<'_> {
        Delivery {
            message: &self.message,
            qos: self.qos,
            retain: self.retain,
            subscription_ids: &self.subscription_ids,
        }
    }
}

impl Session {
    /// Whether the client accepts so long a packet [MQTT-3.1.2-24].
    pub(super) fn takes_packet(&self, delivery: &Delivery<'_>, now: Time) -> bool {
        let Some(connected) = self.connected() else {
            return true;
        };
        if !connected.has_packet_size_limit() {
            return true;
        }
        let len = delivery.encoded_len(connected.version, now);
        u32::try_from(len).is_ok_and(|len| len <= connected.packet_size_max().get())
    }

    /// Whether nothing waits to be sent, or to be sent again.
    fn owes_nothing(&self) -> bool {
        let nothing_again = self.outbound.is_empty() || self.outbound.has_room();
        nothing_again && self.queue.is_empty() && !self.subscriptions.has_runs()
    }

    /// Ends a delivery whose PUBLISH was not answered.
    fn give_up(&mut self, packet_id: PacketId) -> Option<Pending> {
        let pending = match self.outbound.puback(packet_id) {
            Ok(pending) => pending,
            Err(_) => match self
                .outbound
                .pubrec(packet_id, ReasonCode::UnspecifiedError)
            {
                Pubrec::Refused(pending) => {
                    self.has_given_up = true;
                    pending
                }
                Pubrec::Received(_) | Pubrec::Repeated | Pubrec::Unknown => return None,
            },
        };
        self.in_flight_bytes -= pending.message.payload().len();
        Some(pending)
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use crate::engine::{ConnectionId, Input, Limits};
    use protocol::packet::{Connect, Packet, Publish, QoS};

    /// A lasting subscriber to `a` at QoS 2, and a publisher.
    fn pair(limit: impl FnOnce(&mut Limits)) -> (World, ConnectionId, ConnectionId) {
        let mut world = World::limited(limit);
        let subscriber = world.enter_with("dev-1", lasting);
        world.subscribe(subscriber, "a", QoS::ExactlyOnce);
        let publisher = world.enter("dev-2");
        (world, subscriber, publisher)
    }

    #[test]
    fn mqtt_4_9_0_2_never_more_is_in_flight_than_the_client_takes() {
        let (mut world, _, publisher) = pair(|_| {});
        let subscriber = world.enter_with("dev-1", |connect| {
            lasting(connect);
            connect.properties.receive_maximum = 2.try_into().unwrap();
        });
        world.publish_many(publisher, 1..=4);
        assert_eq!(
            world.heard(subscriber),
            ["PUBLISH a=1 q1 #1", "PUBLISH a=2 q1 #2"]
        );
        world.send(subscriber, puback(2));
        assert_eq!(world.heard(subscriber), ["PUBLISH a=3 q1 #3"]);
        world.send(subscriber, puback(1));
        world.send(subscriber, puback(3));
        assert_eq!(world.heard(subscriber), ["PUBLISH a=4 q1 #4"]);
    }

    #[test]
    fn never_more_is_in_flight_than_the_limits_allow() {
        let (mut world, subscriber, publisher) =
            pair(|limits| limits.in_flight_len_max = 3.try_into().unwrap());
        world.publish_many(publisher, 1..=5);
        assert_eq!(world.heard(subscriber).len(), 3);
        let (mut world, subscriber, publisher) = pair(|limits| limits.in_flight_bytes_max = 100);
        for id in 1..=3 {
            world.send(publisher, qos1("a", &"x".repeat(80), id));
        }
        // The second begins below the limit, the third does not.
        assert_eq!(world.heard(subscriber).len(), 2);
        world.send(subscriber, puback(1));
        assert_eq!(world.heard(subscriber).len(), 1);
    }

    #[test]
    fn qos_0_is_sent_however_much_is_in_flight_and_never_waits() {
        let (mut world, subscriber, publisher) =
            pair(|limits| limits.in_flight_len_max = 1.try_into().unwrap());
        world.publish_many(publisher, 1..=2);
        world.send(publisher, qos0("a", "now"));
        assert_eq!(
            world.heard(subscriber),
            ["PUBLISH a=1 q1 #1", "PUBLISH a=now q0"]
        );
        world.lose(subscriber);
        world.send(publisher, qos0("a", "never"));
        assert_eq!(world.engine.sessions().next().unwrap().queue_len, 1);
    }

    #[test]
    fn a_full_queue_drops_the_newcomer_and_counts_it() {
        let (mut world, subscriber, publisher) = pair(|limits| limits.queue_len_max = 3);
        world.lose(subscriber);
        world.publish_many(publisher, 1..=5);
        assert_eq!(world.counters().dropped_queue_full, 2);
        let subscriber = world.enter_with("dev-1", lasting);
        let heard = world.heard(subscriber);
        assert_eq!(
            heard,
            [
                "PUBLISH a=1 q1 #1",
                "PUBLISH a=2 q1 #2",
                "PUBLISH a=3 q1 #3"
            ]
        );
        // The publisher is acknowledged all the same: it does not wait for slow receivers.
        assert_eq!(world.heard(publisher).len(), 5);
    }

    #[test]
    fn a_connection_whose_outbox_is_full_is_given_no_qos_0_until_it_is_drained() {
        let (mut world, subscriber, publisher) = pair(|_| {});
        world.input(Input::Full {
            connection: subscriber,
        });
        assert_eq!(world.heard(subscriber), ["drained?"]);
        world.send(publisher, qos0("a", "lost"));
        world.send(publisher, qos1("a", "kept", 1));
        assert_eq!(world.heard(subscriber), ["PUBLISH a=kept q1 #1"]);
        assert_eq!(world.counters().dropped_outbox_full, 1);
        world.input(Input::Drained {
            connection: subscriber,
        });
        world.send(publisher, qos0("a", "again"));
        assert_eq!(world.heard(subscriber), ["PUBLISH a=again q0"]);
        assert_eq!(world.counters().dropped(), 1);
    }

    #[test]
    fn a_queue_is_bounded_in_bytes() {
        let (mut world, subscriber, publisher) = pair(|limits| limits.queue_bytes_max = 100);
        world.lose(subscriber);
        for (id, len) in [(1, 60), (2, 60), (3, 40)] {
            world.send(publisher, qos1("a", &"x".repeat(len), id));
        }
        assert_eq!(world.counters().dropped_queue_full, 1);
        assert_eq!(world.engine.sessions().next().unwrap().queue_len, 2);
    }

    #[test]
    fn what_has_expired_makes_room_in_a_full_queue() {
        let (mut world, subscriber, publisher) = pair(|limits| limits.queue_len_max = 2);
        world.lose(subscriber);
        for (id, seconds) in [(1, Some(5)), (2, None)] {
            let brief = publish("a", "old", QoS::AtLeastOnce, id);
            world.send(publisher, Packet::Publish(expiring(brief, seconds)));
        }
        world.wait(5);
        world.send(publisher, qos1("a", "new", 3));
        let subscriber = world.enter_with("dev-1", lasting);
        assert_eq!(
            world.heard(subscriber),
            ["PUBLISH a=old q1 #1", "PUBLISH a=new q1 #2"]
        );
        assert_eq!(world.counters().dropped_expired, 1);
        assert_eq!(world.counters().dropped_queue_full, 0);
    }

    #[test]
    fn mqtt_3_3_2_5_and_6_what_waits_grows_old() {
        let (mut world, subscriber, publisher) = pair(|_| {});
        world.lose(subscriber);
        for (id, seconds) in [(1, 10), (2, 60)] {
            let brief = publish("a", "x", QoS::AtLeastOnce, id);
            world.send(publisher, Packet::Publish(expiring(brief, Some(seconds))));
        }
        world.wait(20);
        let subscriber = world.enter_with("dev-1", lasting);
        assert_eq!(world.heard(subscriber), ["PUBLISH a=x q1 #1 expires[40]"]);
        assert_eq!(world.counters().dropped_expired, 1);
    }

    #[test]
    fn mqtt_4_4_0_1_what_was_not_acknowledged_is_sent_again_in_its_order() {
        let (mut world, subscriber, publisher) = pair(|_| {});
        world.send(publisher, qos1("a", "1", 1));
        world.send(publisher, qos2("a", "2", 2));
        world.send(publisher, qos2("a", "3", 3));
        world.send(subscriber, pubrec(2));
        world.lose(subscriber);
        world.publish_many(publisher, 4..=5);
        let subscriber = world.enter_with("dev-1", lasting);
        let expected = [
            // Behind the CONNACK, which waits.
            "PUBREL #2 00",
            "PUBLISH a=1 q1 #1 dup",
            "PUBLISH a=3 q2 #3 dup",
            "PUBLISH a=4 q1 #4",
            "PUBLISH a=5 q1 #5",
        ];
        assert_eq!(world.heard(subscriber), expected);
    }

    #[test]
    fn what_is_sent_again_counts_into_a_smaller_window() {
        let (mut world, subscriber, publisher) = pair(|_| {});
        world.publish_many(publisher, 1..=3);
        world.lose(subscriber);
        world.publish_many(publisher, 4..=4);
        let subscriber = world.enter_with("dev-1", |connect| {
            lasting(connect);
            connect.properties.receive_maximum = 1.try_into().unwrap();
        });
        for id in 1..=4 {
            let dup = if id < 4 { " dup" } else { "" };
            assert_eq!(
                world.heard(subscriber),
                [format!("PUBLISH a={id} q1 #{id}{dup}")]
            );
            world.send(subscriber, puback(id));
        }
    }

    #[test]
    fn mqtt_3_1_2_24_a_message_too_long_for_the_client_counts_as_sent() {
        let small = |connect: &mut Connect| {
            lasting(connect);
            connect.properties.maximum_packet_size = Some(30.try_into().unwrap());
        };
        let (mut world, subscriber, publisher) = pair(|_| {});
        world.send(publisher, qos1("a", &"x".repeat(40), 1));
        world.lose(subscriber);
        world.send(publisher, qos2("a", &"y".repeat(40), 2));
        world.send(publisher, qos1("a", "z", 3));
        let subscriber = world.enter_with("dev-1", small);
        assert_eq!(world.heard(subscriber), ["PUBLISH a=z q1 #2"]);
        assert_eq!(world.counters().dropped_too_large, 2);
        // A 5.0 PUBLISH at QoS 0 to `a` has 6 bytes besides its payload.
        for (len, expected) in [(24, 1), (25, 0)] {
            world.send(publisher, qos0("a", &"x".repeat(len)));
            assert_eq!(world.heard(subscriber).len(), expected);
        }
    }

    #[test]
    fn an_outgoing_qos_2_message_of_a_lasting_session_is_recorded_before_it_is_sent() {
        let (mut world, subscriber, publisher) = pair(|_| {});
        world.records();
        world.send(publisher, qos2("a", "x", 1));
        assert_eq!(world.record_names(), ["Message", "Sent"]);
        assert_eq!(world.heard(subscriber), ["*PUBLISH a=x q2 #1"]);
        world.send(subscriber, pubrec(1));
        assert_eq!(world.record_names(), ["Received"]);
        assert_eq!(world.heard(subscriber), ["*PUBREL #1 00"]);
        world.send(subscriber, pubcomp(1));
        assert_eq!(world.record_names(), ["Completed"]);
    }

    #[test]
    fn nothing_is_recorded_where_nothing_lasts() {
        let mut world = World::open();
        let (publisher, subscriber) = (world.enter("dev-1"), world.enter("dev-2"));
        world.subscribe(subscriber, "a", QoS::ExactlyOnce);
        for (id, packet) in [(1, qos1("a", "x", 1)), (2, qos2("a", "x", 2))] {
            world.send(publisher, packet);
            world.send(publisher, pubrel(id));
            world.send(subscriber, puback(id));
            world.send(subscriber, pubrec(id));
            world.send(subscriber, pubcomp(id));
        }
        world.send(subscriber, unsubscribe(&["a"]));
        world.lose(subscriber);
        assert!(world.records().is_empty());
        let heard = world.heard(subscriber);
        assert!(!heard.iter().any(|line| line.starts_with('*')), "{heard:?}");
    }

    #[test]
    fn an_identifier_that_the_client_may_remember_is_not_used_again() {
        let (mut world, subscriber, publisher) = pair(|_| {});
        world.send(publisher, qos2("a", "1", 1));
        world.lose(subscriber);
        world.load_policy(&(OPEN.to_owned() + r#"deny_subscribe = ["a"]"#));
        // What it has, perhaps, is not sent again; and it need not say anything.
        let subscriber = world.enter_with("dev-1", lasting);
        world.lose(subscriber);
        assert_eq!(world.counters().dropped_withheld, 1);
        world.load_policy(OPEN);
        let subscriber = world.enter_with("dev-1", lasting);
        world.subscribe(subscriber, "a", QoS::ExactlyOnce);
        world.send(publisher, qos2("a", "2", 2));
        assert_eq!(world.heard(subscriber), ["*PUBLISH a=2 q2 #2"]);
    }

    #[test]
    fn nor_is_it_by_the_next_process() {
        let (mut world, subscriber, publisher) = pair(|_| {});
        world.send(publisher, qos2("a", "1", 1));
        world.send(publisher, qos1("a", "not remembered", 2));
        world.lose(subscriber);
        world.load_policy(&(OPEN.to_owned() + r#"deny_subscribe = ["a"]"#));
        let subscriber = world.enter_with("dev-1", lasting);
        world.lose(subscriber);
        assert_eq!(world.counters().dropped_withheld, 2);
        for id in 2..=3 {
            world.die(OPEN);
            let publisher = world.enter("dev-2");
            // What the client does not remember may come again.
            let subscriber = world.enter_with("dev-1", lasting);
            world.subscribe(subscriber, "a", QoS::ExactlyOnce);
            world.send(publisher, qos2("a", "2", 1));
            let expected = format!("*PUBLISH a=2 q2 #{id}");
            assert_eq!(world.heard(subscriber), [expected]);
            world.send(subscriber, pubrec(id));
            world.send(subscriber, pubcomp(id));
        }
    }

    #[test]
    fn packet_ids_are_counted_from_1_and_not_used_twice_at_once() {
        let (mut world, subscriber, publisher) = pair(|_| {});
        world.publish_many(publisher, 1..=3);
        world.send(subscriber, puback(1));
        world.publish_many(publisher, 4..=4);
        let ids: Vec<_> = world
            .heard(subscriber)
            .iter()
            .map(|line| line.rsplit('#').next().unwrap().to_owned())
            .collect();
        assert_eq!(ids, ["1", "2", "3", "4"]);
    }

    #[test]
    fn mqtt_3_1_2_24_a_new_alias_that_does_not_fit_is_left_out() {
        let mut world = World::open();
        let subscriber = world.enter_with("dev-1", |connect| {
            connect.properties.topic_alias_maximum = 1;
            connect.properties.maximum_packet_size = 60.try_into().ok();
        });
        world.subscribe(subscriber, "a", QoS::AtLeastOnce);
        let publisher = world.enter("dev-2");
        // A 5.0 PUBLISH at QoS 1 to `a` has 8 bytes besides its payload, an alias 3 more.
        let fits = "x".repeat(52);
        for (payload, id) in [(fits.as_str(), 1), ("y", 2), (&fits, 3)] {
            world.send(publisher, qos1("a", payload, id));
            assert_eq!(
                world.heard(subscriber),
                [format!("PUBLISH a={payload} q1 #{id}")]
            );
        }
    }

    #[test]
    fn what_is_in_flight_keeps_no_read_buffer() {
        let (mut world, subscriber, publisher) = pair(|_| {});
        let other = world.enter_with("dev-3", lasting);
        world.subscribe(other, "a", QoS::AtLeastOnce);
        let frame = bytes::Bytes::from(vec![b'x'; 4096]);
        let small = publish("a", "", QoS::AtLeastOnce, 1);
        world.send(
            publisher,
            Packet::Publish(Publish {
                payload: frame.slice(..8),
                ..small
            }),
        );
        world.heard(subscriber);
        world.heard(other);
        world.records();
        assert!(frame.is_unique(), "a small message keeps a large buffer");
    }
}
