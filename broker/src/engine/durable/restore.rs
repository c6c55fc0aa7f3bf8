//! Restore: an engine goes on where the records end.
//!
//! It knows what the one before knew when the last record was written, every connection lost.
//! What the policy in force no longer permits is judged as after a change of policy.

use super::Forwards;
use crate::engine::Engine;
use crate::engine::deadlines::Deadline;
use crate::engine::message::{Message, SubscriptionIds};
use crate::engine::record::{MessageNumber, SessionNumber};
use crate::engine::router::Grant;
use crate::engine::session::{
    Cache, Presence, Session, SessionId, SessionKey, SessionWill, Stored,
};
use crate::engine::time::Time;
use protocol::packet::{PacketId, QoS, Will};
use protocol::topic::TopicFilter;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

/// All that outlived the process before.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Each key and each number once.
    pub sessions: Vec<RestoredSession>,
    /// The last one of each topic.
    pub retained: Vec<Arc<Message>>,
    /// What was forwarded and not taken by all other shards, in the order of the records.
    pub forwards: Vec<(MessageNumber, Arc<Message>)>,
    /// Up to which message what each other shard forwarded was taken.
    pub forwards_taken: BTreeMap<u32, MessageNumber>,
    /// Greater than the number of every session there was.
    pub next_session: u64,
    /// Greater than the number of every message there was.
    pub next_message: NonZeroU64,
}

/// A session that outlived its connection.
#[derive(Clone, Debug)]
pub struct RestoredSession {
    /// What the records call it.
    pub number: SessionNumber,
    /// Whose it is.
    pub key: Arc<SessionKey>,
    /// Seconds it outlives its connection.
    pub expiry: u32,
    /// When its client left; `None` if it was connected to the end: then it leaves now.
    pub left_at: Option<Time>,
    /// What it subscribes to, each filter once.
    pub subscriptions: Vec<(TopicFilter, Grant)>,
    /// What it has yet to publish.
    pub will: Option<Arc<Will>>,
    /// What it owes to its client, in the order of the records.
    pub pending: Vec<RestoredPending>,
    /// QoS 2 deliveries of which only PUBCOMP is missing, in the order of their PUBREC.
    pub received: Vec<PacketId>,
    /// QoS 2 messages that came in and were not yet released.
    pub accepted: Vec<PacketId>,
    /// The last identifier under which a QoS 2 message was sent. The counting goes on behind it:
    /// the client may remember one whose delivery was given up.
    pub last_sent: Option<PacketId>,
}

/// A message that a session owes to its client.
#[derive(Clone, Debug)]
pub struct RestoredPending {
    /// What the records call it.
    pub number: MessageNumber,
    /// At QoS 2, the identifier under which it was sent and will be again.
    pub sent: Option<PacketId>,
    /// The QoS to deliver with.
    pub qos: QoS,
    /// The RETAIN flag the client sees.
    pub retain: bool,
    /// Which of the client's subscriptions matched.
    pub subscription_ids: SubscriptionIds,
    /// The shared filter it came by.
    pub share: Option<Arc<TopicFilter>>,
    /// When it is no longer worth delivering.
    pub expires_at: Option<Time>,
    /// How long its payload is, in bytes.
    pub payload_len: u32,
    /// Its content. Needed of what was sent and of what came by a shared filter; of others it
    /// may stay in the log until it is asked for.
    pub message: Option<Arc<Message>>,
}

impl Default for Restored {
    /// Nothing was there before.
    fn default() -> Self {
        Self {
            sessions: Vec::new(),
            retained: Vec::new(),
            forwards: Vec::new(),
            forwards_taken: BTreeMap::new(),
            next_session: 1,
            next_message: NonZeroU64::MIN,
        }
    }
}

impl Restored {
    /// Lets the shards of a broker, by their place, begin together. One may have taken what the
    /// log of another has lost: nobody was told that it was durable there. Its number is not given
    /// to another message, which would be taken for a repetition.
    pub fn begin_together(all: &mut [Self]) {
        let taken = all.iter().flat_map(|it| it.forwards_taken.clone());
        for (from, up_to) in taken.collect::<Vec<_>>() {
            let origin = usize::try_from(from).ok().and_then(|it| all.get_mut(it));
            if let Some(origin) = origin {
                origin.next_message = origin.next_message.max(up_to.0.saturating_add(1));
            }
        }
    }
}

/// What was given cannot be what the records add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRestored {
    /// A message is to be sent again, or given to another member of a group.
    #[error(
        "the content of message {message} of session {session} is missing",
        message = .0.0,
        session = .1.0
    )]
    ContentMissing(MessageNumber, SessionNumber),
    /// A device has one session with a client id.
    #[error("session {session} has the client id of another one of its device", session = .0.0)]
    SessionTwice(SessionNumber),
}

/// What is to be done as soon as the time is known.
#[derive(Debug, Default)]
pub(in crate::engine) struct Beginning {
    /// Their client ids are no longer permitted.
    forbidden: Vec<SessionId>,
    /// Subscriptions that are no longer permitted.
    denied: Vec<(SessionId, TopicFilter)>,
    /// Their clients were connected to the end.
    left: Vec<SessionId>,
}

impl Engine {
    /// The engine, new so far, with what outlived the process before. What its log has can be
    /// loaded again. The first input is due at once, [`Input::Tick`] if nothing else.
    ///
    /// [`Input::Tick`]: crate::engine::Input::Tick
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn restored(mut self, restored: Restored) -> Result<Self, NotRestored> {
        let Restored {
            sessions,
            retained,
            forwards,
            forwards_taken,
            next_session,
            next_message,
        } = restored;
        self.forwards = Forwards::restored(forwards, forwards_taken);
        self.cache = Cache::new(self.limits.queue_cache_bytes_max);
        self.next_session = next_session;
        self.next_message = next_message;
        for message in retained {
            self.retained.set(message);
        }
        for session in sessions {
            self.restore_session(session)?;
        }
        Ok(self)
    }

    fn restore_session(&mut self, restored: RestoredSession) -> Result<(), NotRestored> {
        let number = restored.number;
        if self.sessions.find(&restored.key).is_some() {
            return Err(NotRestored::SessionTwice(number));
        }
        let mut session = Session::new(restored.key, number, &self.limits);
        session.is_lasting = true;
        session.expiry = restored.expiry;
        session.will = restored.will.map(|will| SessionWill { will, due: None });
        for packet_id in restored.received {
            session.outbound.restore_pubrel(packet_id);
        }
        for packet_id in restored.accepted {
            session.inbound.restore(packet_id);
        }
        if let Some(last) = restored.last_sent {
            session.outbound.count_from(last);
            session.has_given_up = true;
        }
        for pending in restored.pending {
            session.restore_pending(pending, &mut self.cache)?;
        }
        session.queue.judge_anew();
        let is_forbidden = session.rights(&self.policy).is_none();
        let id = self.sessions.insert(session);
        if is_forbidden {
            self.beginning.forbidden.push(id);
        }
        self.restore_clocks(id, restored.left_at);
        for (filter, grant) in restored.subscriptions {
            self.restore_subscription(id, filter, grant);
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.rest();
        }
        Ok(())
    }

    fn restore_clocks(&mut self, id: SessionId, left_at: Option<Time>) {
        let (Some(session), Some(left_at)) = (self.sessions.get_mut(id), left_at) else {
            self.beginning.left.push(id);
            return;
        };
        let ends_at = left_at.after_seconds(session.expiry);
        session.presence = Presence::Away(ends_at);
        self.deadlines.add(ends_at, Deadline::SessionEnd(id));
        if let Some(will) = &mut session.will {
            let due = left_at.after_seconds(will.will.delay_interval);
            will.due = Some(due);
            self.deadlines.add(due, Deadline::Will(id));
        }
    }

    fn restore_subscription(&mut self, id: SessionId, filter: TopicFilter, mut grant: Grant) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let rights = session.rights(&self.policy);
        let permit = rights.and_then(|rights| rights.keep_subscription(&filter));
        if let Some(permit) = &permit {
            grant.withholds = permit.is_partial();
            grant.qos = grant.qos.min(permit.qos_max());
        }
        session.subscriptions.set(&filter, grant);
        self.watch_statistics(&filter);
        match permit {
            Some(permit) => self.router.subscribe(id, &permit, grant),
            None => self.beginning.denied.push((id, filter)),
        }
    }

    /// The time is known.
    pub(in crate::engine) fn begin(&mut self) {
        self.started = Some(self.now);
        self.repeat_forwards();
        let Beginning {
            forbidden,
            denied,
            left,
        } = std::mem::take(&mut self.beginning);
        for id in forbidden {
            self.forbid_session(id);
        }
        for (id, filter) in denied {
            self.counters.subscriptions_revoked += u64::from(self.remove_subscription(id, &filter));
        }
        for id in left {
            self.leave(id);
        }
    }
}

impl Beginning {
    pub(in crate::engine) fn is_due(&self) -> bool {
        !(self.forbidden.is_empty() && self.denied.is_empty() && self.left.is_empty())
    }
}

impl Session {
    fn restore_pending(
        &mut self,
        pending: RestoredPending,
        cache: &mut Cache,
    ) -> Result<(), NotRestored> {
        let Some(packet_id) = pending.sent else {
            if pending.share.is_some() && pending.message.is_none() {
                return Err(NotRestored::ContentMissing(pending.number, self.number));
            }
            self.queue.restore(pending, cache);
            return Ok(());
        };
        let Some(message) = pending.message.clone() else {
            return Err(NotRestored::ContentMissing(pending.number, self.number));
        };
        self.in_flight_bytes += message.payload().len();
        let qos = pending.qos;
        let pending = Stored::from(pending).with(message);
        self.outbound.restore_publish(packet_id, qos, pending);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test_world::*;
    use crate::engine::{ConnectionId, Input, Limits, ShardPlace};
    use protocol::packet::{Connect, Packet};

    /// A lasting subscriber to `a`, and a publisher.
    fn pair() -> (World, ConnectionId, ConnectionId) {
        let mut world = World::open();
        let subscriber = world.enter_with("dev-1", lasting);
        world.subscribe(subscriber, "a", QoS::ExactlyOnce);
        let publisher = world.enter_with("dev-2", lasting);
        (world, subscriber, publisher)
    }

    /// Who comes back hears this, behind its CONNACK.
    #[track_caller]
    fn check_hears(world: &mut World, device: &str, expected: &[&str]) -> ConnectionId {
        let client = world.knock(device, lasting);
        while world.has_loads() {
            world.answer_load();
        }
        let heard = world.heard(client);
        assert_eq!(heard[0], "*CONNACK 00 present");
        assert_eq!(heard[1..], *expected);
        client
    }

    #[test]
    fn who_was_connected_to_the_end_has_left_when_the_next_engine_begins() {
        let (mut world, ..) = pair();
        world.die(OPEN);
        assert!(
            world.engine.deadline() < Some(world.now),
            "it is due at once"
        );
        world.now = world.now.after_seconds(100);
        world.input(Input::Tick);
        assert_eq!(world.record_names(), ["SessionLeft", "SessionLeft"]);
        assert_eq!(world.engine.deadline(), Some(world.now.after_seconds(3600)));
        world.wait(3600);
        assert_eq!(world.engine.sessions_len(), 0);
    }

    #[test]
    fn who_was_away_ends_when_its_time_is_over_down_or_not() {
        for (down, sessions) in [(3599, 1), (3600, 0)] {
            let (mut world, subscriber, publisher) = pair();
            world.lose(publisher);
            world.wait(10_000);
            world.lose(subscriber);
            world.die(OPEN);
            world.now = world.now.after_seconds(down);
            world.input(Input::Tick);
            assert_eq!(world.engine.sessions_len(), sessions, "{down}");
        }
    }

    #[test]
    fn a_will_is_published_when_it_was_due_or_as_soon_as_there_is_somebody_to_do_it() {
        // Seconds of delay, seconds from the loss to the crash, and how long nobody was there.
        for (delay, away, down, published) in [
            (0, None, 0, 1),
            (10, None, 100, 0),
            (10, Some(5), 4, 0),
            (10, Some(5), 5, 1),
            (10, Some(20), 0, 1),
        ] {
            let (mut world, _, publisher) = pair();
            world.lose(publisher);
            let client = world.enter_with("dev-2", |connect| {
                lasting(connect);
                let delay_interval = delay;
                connect.will = Some(Will {
                    delay_interval,
                    ..will("a")
                });
            });
            if let Some(away) = away {
                world.lose(client);
                world.wait(away);
            }
            world.die(OPEN);
            world.now = world.now.after_seconds(down);
            world.input(Input::Tick);
            let before = u64::from(away > Some(10));
            assert_eq!(world.counters().wills_published + before, published);
            let waiting: usize = world.engine.sessions().map(|it| it.queue_len).sum();
            assert_eq!(waiting as u64, published);
        }
    }

    #[test]
    fn qos_2_goes_on_where_it_was() {
        let (mut world, subscriber, publisher) = pair();
        for id in 1..=4 {
            world.send(publisher, qos2("a", &id.to_string(), id));
        }
        world.send(publisher, pubrel(4));
        // Who completes is asked in the order of its PUBRECs.
        world.send(subscriber, pubrec(4));
        world.send(subscriber, pubrec(2));
        world.send(publisher, qos1("a", "5", 5));
        world.die(OPEN);
        let heard = [
            "PUBREL #4 00",
            "PUBREL #2 00",
            "PUBLISH a=1 q2 #1 dup",
            "PUBLISH a=3 q2 #3 dup",
            // It was sent before, but at QoS 1 nobody has to know.
            "PUBLISH a=5 q1 #5",
        ];
        let subscriber = check_hears(&mut world, "dev-1", &heard);
        let publisher = check_hears(&mut world, "dev-2", &[]);
        for id in 1..=4 {
            world.send(publisher, qos2("a", "new?", id));
        }
        let heard = world.heard(publisher);
        assert_eq!(heard, [1, 2, 3, 4].map(|id| format!("*PUBREC #{id} 00")));
        assert_eq!(world.heard(subscriber), ["*PUBLISH a=new? q2 #6"]);
    }

    #[test]
    fn what_is_in_flight_takes_its_room_in_the_window_until_it_is_acknowledged() {
        let mut world = World::limited(|limits| limits.in_flight_bytes_max = 4);
        let subscriber = world.enter_with("dev-1", lasting);
        world.subscribe(subscriber, "a", QoS::ExactlyOnce);
        let publisher = world.enter("dev-2");
        world.send(publisher, qos2("a", "1234", 1));
        world.die(OPEN);
        let publisher = world.enter("dev-2");
        let subscriber = check_hears(&mut world, "dev-1", &["PUBLISH a=1234 q2 #1 dup"]);
        world.send(publisher, qos1("a", "5", 2));
        assert_eq!(world.heard(subscriber), [""; 0]);
        world.send(subscriber, pubrec(1));
        let heard = ["*PUBREL #1 00", "PUBLISH a=5 q1 #2"];
        assert_eq!(world.heard(subscriber), heard);
    }

    #[test]
    fn what_was_queued_and_what_is_retained_is_there() {
        let (mut world, subscriber, publisher) = pair();
        world.lose(subscriber);
        let brief = |seconds| expiring(publish("a", "brief", QoS::AtLeastOnce, 1), Some(seconds));
        world.send(publisher, Packet::Publish(brief(10)));
        world.send(publisher, Packet::Publish(brief(60)));
        world.send(publisher, retained(qos1("a", "kept", 2)));
        world.send(publisher, retained(Packet::Publish(brief(10))));
        world.send(publisher, retained(qos1("b", "kept", 2)));
        world.die(OPEN);
        world.now = world.now.after_seconds(20);
        world.input(Input::Tick);
        assert_eq!(world.engine.retained_len(), 1);
        let heard = ["PUBLISH a=brief q1 #1 expires[40]", "PUBLISH a=kept q1 #2"];
        let subscriber = check_hears(&mut world, "dev-1", &heard);
        assert_eq!(world.counters().dropped_expired, 2);
        world.subscribe(subscriber, "b", QoS::AtMostOnce);
        assert_eq!(world.heard(subscriber), ["PUBLISH b=kept q0 retain"]);
    }

    #[test]
    fn what_the_policy_no_longer_permits_is_gone() {
        let rules = OPEN.replace(
            r##"subscribe = ["#", "$SYS/#"]"##,
            r#"subscribe = ["a/b", "$SYS/x"]"#,
        );
        let mut world = World::open();
        let subscriber = world.enter_with("dev-1", lasting);
        for filter in ["a/+", "a/b", "$SYS/#", "$SYS/x", "$share/g/#"] {
            world.subscribe(subscriber, filter, QoS::AtLeastOnce);
        }
        let publisher = world.enter("dev-2");
        world.lose(subscriber);
        world.send(publisher, qos1("a/b", "x", 1));
        world.send(publisher, qos1("a/c", "x", 2));
        world.die(&rules);
        world.input(Input::Tick);
        assert_eq!(world.counters().subscriptions_revoked, 3);
        assert_eq!(world.engine.subscriptions_len(), 2);
        let names = world.record_names();
        assert_eq!(names.iter().filter(|it| *it == "Unsubscribed").count(), 3);
        check_hears(&mut world, "dev-1", &["PUBLISH a/b=x q1 #1"]);
        assert_eq!(world.counters().dropped_withheld, 1);
    }

    #[test]
    fn a_session_whose_client_id_is_no_longer_permitted_ends_without_its_will() {
        let mut world = World::open();
        let strange = world.enter_with("dev-1", |connect| {
            lasting(connect);
            connect.client_id = protocol::Text::parse("strange").unwrap();
            connect.will = Some(will("a"));
        });
        world.subscribe(strange, "$SYS/x", QoS::AtMostOnce);
        world.die(&OPEN.replace("client_ids = \"*\"", ""));
        world.input(Input::Tick);
        assert_eq!(world.record_names(), ["WillCleared", "SessionEnded"]);
        assert_eq!(world.counters().wills_published, 0);
        assert_eq!(world.engine.sessions_len(), 0);
        assert_eq!(world.engine.deadline(), None, "nobody watches");
    }

    #[test]
    fn a_session_that_was_to_end_with_its_connection_has_ended() {
        let mut world = World::restored(
            |limits| limits.queue_cache_bytes_max = 0,
            Restored::default(),
        );
        let subscriber = world.enter_with("dev-1", lasting);
        world.subscribe(subscriber, "a", QoS::AtLeastOnce);
        world.lose(subscriber);
        let publisher = world.enter("dev-2");
        world.send(publisher, qos1("a", "x", 1));
        // It is loaded yet: until then the records are needed.
        world.enter_with("dev-1", |connect: &mut Connect| connect.clean_start = false);
        world.die(OPEN);
        world.input(Input::Tick);
        assert_eq!(world.record_names(), ["SessionEnded"]);
        assert_eq!(world.engine.sessions_len(), 0);
    }

    #[test]
    fn no_number_is_used_twice() {
        let (mut world, _, publisher) = pair();
        world.send(publisher, qos1("a", "x", 1));
        world.die(OPEN);
        let publisher = world.enter_with("dev-3", lasting);
        world.send(publisher, qos1("a", "x", 1));
        let records = format!("{:?}", world.records());
        assert!(records.contains("SessionCreated { session: SessionNumber(3)"));
        assert!(records.contains("Message { number: MessageNumber(2)"));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let restore = |sessions: Vec<RestoredSession>| {
            let place = ShardPlace { index: 0, count: 1 };
            let engine = Engine::new(Limits::default(), parse(OPEN), place, 7);
            let restored = Restored {
                sessions,
                ..Restored::default()
            };
            engine.restored(restored).err()
        };
        let session = |number, pending| RestoredSession {
            number: SessionNumber(number),
            key: Arc::new(SessionKey {
                subject: subject("dev-1"),
                client_id: protocol::Text::parse("dev-1").unwrap(),
            }),
            expiry: 1,
            left_at: None,
            subscriptions: Vec::new(),
            will: None,
            pending,
            received: Vec::new(),
            accepted: Vec::new(),
            last_sent: None,
        };
        let number = MessageNumber(NonZeroU64::MIN);
        let pending = |sent: Option<u16>, share: Option<&str>| RestoredPending {
            number,
            sent: sent.and_then(PacketId::new),
            qos: QoS::ExactlyOnce,
            retain: false,
            subscription_ids: SubscriptionIds::new(),
            share: share.map(|filter| Arc::new(TopicFilter::parse(filter).unwrap())),
            expires_at: None,
            payload_len: 1,
            message: None,
        };
        assert_eq!(restore(vec![session(1, vec![pending(None, None)])]), None);
        let missing = Some(NotRestored::ContentMissing(number, SessionNumber(1)));
        for pending in [pending(Some(1), None), pending(None, Some("$share/g/a"))] {
            assert_eq!(restore(vec![session(1, vec![pending])]), missing);
        }
        assert_eq!(
            restore(vec![session(1, vec![]), session(2, vec![])]),
            Some(NotRestored::SessionTwice(SessionNumber(2)))
        );
    }
}
