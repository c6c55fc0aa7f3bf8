//! Loading: what waits with its content in the log is here again before its turn to be sent.
//!
//! The order of a session's messages is the same whether they waited here or there: once the
//! content of one is in the log alone, so is that of all behind it.

use crate::engine::Engine;
use crate::engine::effect::Load;
use crate::engine::message::Message;
use crate::engine::record::{MessageNumber, SessionNumber};
use crate::engine::session::{Batch, Full, Pending, Reader, Session, SessionId, Stored};
use std::sync::Arc;

/// What is loaded at once for a session.
const BATCH: Batch = Batch {
    len_max: 1024,
    bytes_max: 256 * 1024,
};
/// The same while there is little room for it.
const SMALL_BATCH: Batch = Batch {
    len_max: 64,
    bytes_max: 16 * 1024,
};

impl Engine {
    /// Lets a message wait for a session: here while there is room, else in the log, if it is
    /// recorded there.
    ///
    /// # Errors
    /// If the session's queue is full.
    pub(in crate::engine) fn let_wait(
        &mut self,
        id: SessionId,
        pending: Pending,
    ) -> Result<(), Full> {
        let Some(session) = self.sessions.get_mut(id) else {
            return Ok(());
        };
        let has_room = self.cache.has_room(session.reader());
        match pending.number {
            Some(number) if session.queue.has_stored() || !has_room => {
                session.queue.store(Stored::new(pending, number))?;
            }
            Some(_) | None => session.queue.push(pending, &mut self.cache)?,
        }
        self.load(id);
        Ok(())
    }

    /// Asks for what a connected session is to be sent next, if little of it is here.
    pub(in crate::engine) fn load(&mut self, id: SessionId) {
        let waits = |session: &Session| session.queue.has_stored() && session.is_here();
        if !self.sessions.get(id).is_some_and(waits) {
            return;
        }
        self.drop_expired(id);
        let has_room = self.cache.has_room(Reader::Away);
        let batch = if has_room { BATCH } else { SMALL_BATCH };
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Some(messages) = session.queue.next_load(batch) {
            let session = session.number;
            self.loading.insert(session, id);
            self.effects.loads.push(Load { session, messages });
        }
    }

    /// The log has what was asked for.
    pub(in crate::engine) fn loaded(
        &mut self,
        session: SessionNumber,
        mut messages: Vec<(MessageNumber, Arc<Message>)>,
    ) {
        // Who has ended since needs nothing.
        let Some(id) = self.loading.remove(&session) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if !session.is_here() {
            // It asks again when it comes back.
            messages.clear();
        }
        session.queue.loaded(messages, &mut self.cache);
        self.pump(id);
    }

    /// A client has left: where there is little room, what waits for it waits in the log.
    pub(in crate::engine) fn unload(&mut self, id: SessionId) {
        if self.cache.has_room(Reader::Away) {
            return;
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.queue.unload(&mut self.cache);
        }
    }
}

impl Session {
    fn reader(&self) -> Reader {
        if self.is_here() {
            Reader::Here
        } else {
            Reader::Away
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::test_world::*;
    use crate::engine::{ConnectionId, Input, Limits, Restored};
    use protocol::packet::{Connect, Packet, QoS};

    /// A lasting subscriber to `a` that is away, a publisher, and no room in the cache.
    fn cold(limit: impl FnOnce(&mut Limits)) -> (World, ConnectionId) {
        let limit = |limits: &mut Limits| {
            limits.queue_cache_bytes_max = 0;
            limit(limits);
        };
        let mut world = World::restored(limit, Restored::default());
        let subscriber = world.enter_with("dev-1", lasting);
        world.subscribe(subscriber, "a", QoS::AtLeastOnce);
        world.lose(subscriber);
        let publisher = world.enter("dev-2");
        (world, publisher)
    }

    /// The payloads a client has heard, each acknowledged.
    fn payloads(world: &mut World, client: ConnectionId) -> Vec<u16> {
        let mut payloads = Vec::new();
        loop {
            let heard = world.last_words(client);
            let publishes = heard.into_iter().filter_map(|heard| match heard {
                Heard::Packet(Packet::Publish(publish)) => Some(publish),
                _ => None,
            });
            let publishes: Vec<_> = publishes.collect();
            for publish in &publishes {
                let payload = std::str::from_utf8(&publish.payload).unwrap();
                payloads.push(payload.parse().unwrap());
                world.send(client, puback(publish.packet_id.unwrap().get()));
            }
            if publishes.is_empty() {
                return payloads;
            }
        }
    }

    /// Follows the log of the world from here on.
    fn with_log(world: &mut World, loads: usize) -> Vec<usize> {
        (0..loads).map(|_| world.answer_load().len()).collect()
    }

    #[test]
    fn what_waits_in_the_log_is_loaded_when_its_client_comes_and_keeps_its_order() {
        let (mut world, publisher) = cold(|_| {});
        world.publish_many(publisher, 1..=2500);
        world.keep_log();
        assert!(!world.has_loads(), "nobody is there");
        let subscriber = world.enter_with("dev-1", lasting);
        // Newcomers go behind, although the client is there.
        world.publish_many(publisher, 2501..=2502);
        world.keep_log();
        let mut all = Vec::new();
        let mut lens = Vec::new();
        while world.has_loads() {
            lens.extend(with_log(&mut world, 1));
            assert!(lens.last().unwrap() <= &1024);
            all.extend(payloads(&mut world, subscriber));
        }
        assert!(all.iter().copied().eq(1..=2502));
        assert_eq!(lens.iter().sum::<usize>(), 2502);
        // Then the next ones are sent at once.
        world.publish_many(publisher, 2503..=2503);
        assert_eq!(payloads(&mut world, subscriber), [2503]);
        assert_eq!(world.engine.cache.used(), 0);
    }

    #[test]
    fn what_has_expired_is_not_loaded() {
        let (mut world, publisher) = cold(|_| {});
        for (id, seconds) in [(1, Some(10)), (2, None), (3, Some(10))] {
            let message = publish("a", &id.to_string(), QoS::AtLeastOnce, id);
            world.send(publisher, Packet::Publish(expiring(message, seconds)));
        }
        world.keep_log();
        world.wait(10);
        let subscriber = world.enter_with("dev-1", lasting);
        assert_eq!(world.answer_load(), [2]);
        assert_eq!(payloads(&mut world, subscriber), [2]);
        assert_eq!(world.counters().dropped_expired, 2);
        let settled = world.record_names();
        assert_eq!(settled.iter().filter(|it| *it == "Settled").count(), 3);
    }

    #[test]
    fn a_full_queue_counts_what_is_stored() {
        let (mut world, publisher) = cold(|limits| limits.queue_len_max = 2);
        world.publish_many(publisher, 1..=3);
        assert_eq!(world.counters().dropped_queue_full, 1);
        let (mut world, publisher) = cold(|limits| limits.queue_bytes_max = 2);
        world.publish_many(publisher, 1..=3);
        assert_eq!(world.counters().dropped_queue_full, 1);
    }

    #[test]
    fn who_leaves_while_it_is_loading_asks_again() {
        let (mut world, publisher) = cold(|_| {});
        world.publish_many(publisher, 1..=3);
        world.keep_log();
        let subscriber = world.enter_with("dev-1", lasting);
        world.lose(subscriber);
        assert_eq!(world.answer_load(), [1, 2, 3]);
        assert_eq!(world.engine.cache.used(), 0, "nobody is there");
        let subscriber = world.enter_with("dev-1", lasting);
        world.answer_load();
        assert_eq!(payloads(&mut world, subscriber), [1, 2, 3]);
    }

    #[test]
    fn a_takeover_while_it_is_loading_has_what_is_loaded() {
        let (mut world, publisher) = cold(|_| {});
        world.publish_many(publisher, 1..=3);
        world.keep_log();
        world.enter_with("dev-1", lasting);
        let newer = world.enter_with("dev-1", lasting);
        world.answer_load();
        assert!(!world.has_loads(), "it was asked for once");
        assert_eq!(payloads(&mut world, newer), [1, 2, 3]);
    }

    #[test]
    fn who_begins_anew_is_not_given_what_was_loaded_for_the_session_before() {
        let (mut world, publisher) = cold(|_| {});
        world.publish_many(publisher, 1..=3);
        world.keep_log();
        world.enter_with("dev-1", lasting);
        let anew = world.enter_with("dev-1", |connect: &mut Connect| {
            lasting(connect);
            connect.clean_start = true;
        });
        world.answer_load();
        assert_eq!(world.heard(anew), [""; 0]);
        assert_eq!(world.counters().dropped_session_end, 3);
    }

    #[test]
    fn what_came_by_a_shared_filter_goes_to_another_member_from_the_log_too() {
        let (mut world, publisher) = cold(|_| {});
        let member = world.enter_with("dev-1", lasting);
        world.subscribe(member, "$share/g/s", QoS::AtLeastOnce);
        world.lose(member);
        for id in 1..=2 {
            world.send(publisher, qos1("s", &id.to_string(), id));
        }
        let other = world.enter("dev-3");
        world.subscribe(other, "$share/g/s", QoS::AtLeastOnce);
        world.wait(3600);
        assert_eq!(payloads(&mut world, other), [1, 2]);
    }

    #[test]
    fn what_waited_in_the_log_is_judged_by_the_policy_in_force() {
        let (mut world, publisher) = cold(|_| {});
        world.publish_many(publisher, 1..=1);
        world.keep_log();
        world.load_policy(&(OPEN.to_owned() + r#"deny_subscribe = ["a"]"#));
        let subscriber = world.enter_with("dev-1", lasting);
        world.answer_load();
        assert_eq!(world.heard(subscriber), [""; 0]);
        assert_eq!(world.counters().dropped_withheld, 1);
    }

    #[test]
    fn a_session_that_is_to_end_with_its_connection_keeps_its_records_until_then() {
        let (mut world, publisher) = cold(|_| {});
        world.publish_many(publisher, 1..=1);
        world.keep_log();
        let last = world.enter_with("dev-1", |connect| connect.clean_start = false);
        assert!(!world.record_names().contains(&"SessionEnded".to_owned()));
        world.answer_load();
        assert_eq!(payloads(&mut world, last), [1]);
        world.lose(publisher);
        world.lose(last);
        assert_eq!(world.engine.sessions_len(), 0);
        assert_eq!(world.record_names().last().unwrap(), "SessionEnded");
    }

    #[test]
    fn who_leaves_much_here_leaves_it_to_the_log_where_room_is_scarce() {
        let limit = |limits: &mut Limits| {
            limits.queue_cache_bytes_max = 10_000;
            limits.in_flight_len_max = 1.try_into().unwrap();
        };
        let mut world = World::restored(limit, Restored::default());
        let subscriber = world.enter_with("dev-1", lasting);
        world.subscribe(subscriber, "a", QoS::AtLeastOnce);
        let publisher = world.enter("dev-2");
        world.publish_many(publisher, 1..=5);
        world.keep_log();
        let few = world.engine.cache.used();
        assert!(few > 0, "there is room");
        world.lose(subscriber);
        assert_eq!(world.engine.cache.used(), few, "they may come back soon");
        let subscriber = world.enter_with("dev-1", lasting);
        world.publish_many(publisher, 6..=100);
        world.keep_log();
        let many = world.engine.cache.used();
        assert!((10_000..11_000).contains(&many), "{many}");
        world.lose(subscriber);
        assert_eq!(world.engine.cache.used(), 0);
        let subscriber = world.enter_with("dev-1", lasting);
        let mut all = payloads(&mut world, subscriber);
        while world.has_loads() {
            world.answer_load();
            all.extend(payloads(&mut world, subscriber));
        }
        assert!(all.iter().copied().eq(1..=100), "{all:?}");
    }

    #[test]
    fn an_answer_that_comes_after_the_end_of_its_session_is_not_taken_for_another_one() {
        let (mut world, publisher) = cold(|it| it.in_flight_len_max = 1.try_into().unwrap());
        world.publish_many(publisher, 1..=3);
        world.keep_log();
        world.enter_with("dev-1", lasting);
        // The new session has the place of the one that has ended.
        let anew = world.enter_with("dev-1", |connect: &mut Connect| {
            lasting(connect);
            connect.clean_start = true;
        });
        world.subscribe(anew, "a", QoS::AtLeastOnce);
        world.publish_many(publisher, 4..=6);
        world.keep_log();
        assert_eq!(world.loads_len(), 2);
        world.answer_load();
        assert_eq!(world.loads_len(), 1, "it has asked already");
        let mut all = Vec::new();
        while world.has_loads() {
            world.answer_load();
            all.extend(payloads(&mut world, anew));
        }
        assert_eq!(all, [4, 5, 6]);
        assert!(world.engine.loading.is_empty());
    }

    #[test]
    fn what_is_loaded_is_given_to_its_message_though_others_were_taken_out_meanwhile() {
        let (mut world, publisher) = cold(|it| it.queue_len_max = 3);
        for (id, seconds) in [(1, Some(10)), (2, None), (3, None)] {
            let message = publish("a", &id.to_string(), QoS::AtLeastOnce, id);
            world.send(publisher, Packet::Publish(expiring(message, seconds)));
        }
        world.keep_log();
        let subscriber = world.enter_with("dev-1", lasting);
        world.now = world.now.after_seconds(10);
        // Who has no room looks for what has expired.
        world.publish_many(publisher, 4..=4);
        assert_eq!(world.counters().dropped_expired, 1);
        assert_eq!(world.answer_load(), [1, 2, 3]);
        world.keep_log();
        let mut all = payloads(&mut world, subscriber);
        while world.has_loads() {
            world.answer_load();
            all.extend(payloads(&mut world, subscriber));
        }
        assert_eq!(all, [2, 3, 4]);
    }

    #[test]
    fn a_policy_that_changes_concerns_what_is_stored_behind_what_is_taken_out() {
        let (mut world, publisher) = cold(|it| it.in_flight_len_max = 1.try_into().unwrap());
        for (id, seconds) in [(1, Some(10)), (2, None), (3, None)] {
            let message = publish("a", &id.to_string(), QoS::AtLeastOnce, id);
            world.send(publisher, Packet::Publish(expiring(message, seconds)));
        }
        world.load_policy(&(OPEN.to_owned() + r#"deny_subscribe = ["a"]"#));
        world.keep_log();
        world.wait(10);
        let subscriber = world.enter_with("dev-1", lasting);
        world.answer_load();
        assert_eq!(world.heard(subscriber), [""; 0]);
        assert_eq!(world.counters().dropped_expired, 1);
        assert_eq!(world.counters().dropped_withheld, 2);
    }

    #[test]
    fn an_answer_that_nobody_waits_for_changes_nothing() {
        let (mut world, publisher) = cold(|_| {});
        world.publish_many(publisher, 1..=1);
        let session = world.engine.sessions.iter().next().unwrap().1.number;
        let messages = Vec::new();
        world.input(Input::Loaded { session, messages });
        assert!(!world.has_loads());
        assert_eq!(world.engine.sessions().next().unwrap().queue_len, 1);
    }
}
