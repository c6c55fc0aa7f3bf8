//! A replay of records: what a storage would know, built from nothing but them.
//!
//! It shows that the records suffice: compared with the engine, it must have the same sessions,
//! subscriptions, wills, deliveries both ways and retained messages.

use super::picture::{of_engine, of_records};
use crate::engine::{
    Engine, Load, Message, MessageNumber, Reach, Record, Restored, RestoredPending,
    RestoredSession, SessionNumber, Target,
};
use protocol::packet::PacketId;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;

/// What the records say.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) sessions: BTreeMap<SessionNumber, RestoredSession>,
    /// What they have said of contents, while anybody needs it.
    messages: BTreeMap<MessageNumber, Arc<Message>>,
    pub(super) retained: BTreeMap<String, Arc<Message>>,
    /// What the other shards are to get.
    pub(super) forwards: BTreeSet<MessageNumber>,
    pub(super) forwards_taken: BTreeMap<u32, MessageNumber>,
    last_session: u64,
    last_message: u64,
}

impl Replay {
    /// Applies a record.
    ///
    /// # Panics
    /// If it refers to what no record has made.
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::SessionCreated {
                session,
                key,
                expiry,
            } => {
                assert!(session.0 > self.last_session, "{session:?} was used");
                self.last_session = session.0;
                let created = RestoredSession {
                    number: session,
                    key,
                    expiry,
                    left_at: None,
                    subscriptions: Vec::new(),
                    will: None,
                    pending: Vec::new(),
                    received: Vec::new(),
                    accepted: Vec::new(),
                    last_sent: None,
                };
                self.sessions.insert(session, created);
            }
            Record::SessionResumed { session, expiry } => {
                let session = self.of(session);
                (session.expiry, session.left_at) = (expiry, None);
            }
            Record::SessionLeft {
                session,
                at,
                expiry,
            } => {
                let session = self.of(session);
                (session.expiry, session.left_at) = (expiry, Some(at));
            }
            Record::SessionEnded { session } => {
                self.sessions.remove(&session).expect("it was created");
            }
            Record::Subscribed {
                session,
                filter,
                grant,
            } => {
                let held = &mut self.of(session).subscriptions;
                held.retain(|(other, _)| *other != filter);
                held.push((filter, grant));
            }
            Record::Unsubscribed { session, filter } => {
                let held = &mut self.of(session).subscriptions;
                let place = held.iter().position(|(other, _)| *other == filter);
                held.remove(place.expect("it was subscribed"));
            }
            Record::WillSet { session, will } => self.of(session).will = Some(will),
            Record::WillCleared { session } => {
                self.of(session).will.take().expect("there was a will");
            }
            Record::Retained { message } => {
                let topic = message.topic().as_str().to_owned();
                self.retained.insert(topic, message);
            }
            Record::RetainedCleared { topic } => {
                self.retained
                    .remove(topic.as_str())
                    .expect("it was retained");
            }
            other => self.apply_delivery(other),
        }
    }

    fn apply_delivery(&mut self, record: Record) {
        match record {
            Record::Message {
                number,
                message,
                targets,
                reach,
            } => {
                self.keep(number, message);
                if reach == Reach::Everywhere {
                    self.forwards.insert(number);
                }
                targets
                    .into_iter()
                    .for_each(|target| self.owe(number, target));
            }
            Record::Copy { number, of, target } => {
                let message = self.messages.get(&of).expect("it was not yet let go");
                self.keep(number, Arc::clone(message));
                self.owe(number, target);
            }
            Record::Settled { session, message } => {
                self.take_owed(session, message);
            }
            Record::Sent {
                session,
                message,
                packet_id,
            } => {
                let session = self.of(session);
                session.last_sent = Some(packet_id);
                let owed = session.pending.iter_mut().find(|it| it.number == message);
                owed.expect("it is owed").sent = Some(packet_id);
            }
            Record::Received {
                session,
                message,
                packet_id,
            } => {
                let owed = self.take_owed(session, message);
                assert_eq!(owed.sent, Some(packet_id));
                add(&mut self.of(session).received, packet_id);
            }
            Record::Completed { session, packet_id } => {
                take(&mut self.of(session).received, packet_id);
            }
            Record::Accepted { session, packet_id } => {
                add(&mut self.of(session).accepted, packet_id);
            }
            Record::Released { session, packet_id } => {
                take(&mut self.of(session).accepted, packet_id);
            }
            Record::ForwardsTaken { from, up_to } => {
                let known = self.forwards_taken.insert(from, up_to);
                assert!(known < Some(up_to), "{up_to:?} of {from} was taken");
            }
            Record::ForwardsDone { up_to } => self.forwards.retain(|it| *it > up_to),
            other => unreachable!("{other:?}"),
        }
    }

    /// Forgets the messages that no session is to get any more, as a storage does after a turn.
    pub(super) fn trim(&mut self) {
        let kept = self.sessions.values();
        let mut needed: BTreeSet<_> = kept
            .flat_map(|kept| kept.pending.iter().map(|it| it.number))
            .collect();
        needed.extend(&self.forwards);
        self.messages.retain(|number, _| needed.contains(number));
    }

    /// What a log answers: without those that were settled meanwhile.
    pub(super) fn load(&self, load: &Load) -> Vec<(MessageNumber, Arc<Message>)> {
        let content = |number: &MessageNumber| Some((*number, self.messages.get(number)?.clone()));
        load.messages.iter().filter_map(content).collect()
    }

    /// What the next engine begins with. Those contents that may stay in the log do so from the
    /// message on that has the number `cold`.
    pub(super) fn restored(&self, cold: u64) -> Restored {
        let next = |last: u64| NonZeroU64::MIN.saturating_add(last);
        let sessions = self.sessions.values().cloned().map(|mut session| {
            for pending in &mut session.pending {
                let is_cold = pending.number.0.get() >= cold;
                if !is_cold || pending.sent.is_some() || pending.share.is_some() {
                    pending.message = self.messages.get(&pending.number).cloned();
                }
            }
            session
        });
        Restored {
            sessions: sessions.collect(),
            retained: self.retained.values().cloned().collect(),
            forwards: self
                .forwards
                .iter()
                .map(|number| (*number, Arc::clone(&self.messages[number])))
                .collect(),
            forwards_taken: self.forwards_taken.clone(),
            next_session: next(self.last_session).get(),
            next_message: next(self.last_message),
        }
    }

    /// Compares with the engine the records are of.
    ///
    /// # Panics
    /// If they differ.
    #[track_caller]
    pub(super) fn check(&self, engine: &Engine) {
        assert_eq!(of_records(self), of_engine(engine));
    }

    fn keep(&mut self, number: MessageNumber, message: Arc<Message>) {
        assert!(number.0.get() > self.last_message, "{number:?} was used");
        self.last_message = number.0.get();
        self.messages.insert(number, message);
    }

    #[track_caller]
    fn of(&mut self, session: SessionNumber) -> &mut RestoredSession {
        self.sessions
            .get_mut(&session)
            .expect("the session has records")
    }

    fn owe(&mut self, number: MessageNumber, target: Target) {
        let message = &self.messages[&number];
        let (expires_at, payload_len) = (message.expires_at(), message.payload().len());
        let pending = &mut self.of(target.session).pending;
        let is_twice = pending.iter().any(|it| it.number == number);
        assert!(!is_twice, "{number:?} twice for one session");
        pending.push(RestoredPending {
            number,
            sent: None,
            qos: target.qos,
            retain: target.retain,
            subscription_ids: target.subscription_ids,
            share: target.share,
            expires_at,
            payload_len: payload_len.try_into().unwrap(),
            message: None,
        });
    }

    fn take_owed(&mut self, session: SessionNumber, message: MessageNumber) -> RestoredPending {
        let pending = &mut self.of(session).pending;
        let place = pending.iter().position(|it| it.number == message);
        pending.remove(place.expect("it is owed"))
    }
}

fn add(all: &mut Vec<PacketId>, one: PacketId) {
    assert!(!all.contains(&one), "it was there");
    all.push(one);
}

fn take(all: &mut Vec<PacketId>, one: PacketId) {
    let place = all.iter().position(|it| *it == one);
    all.remove(place.expect("it was there"));
}
