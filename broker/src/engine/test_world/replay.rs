//! A replay of records: what a storage would know, built from nothing but them.
//!
//! It shows that the records suffice: compared with the engine, it must have the same sessions,
//! subscriptions, wills, deliveries both ways and retained messages.

use crate::engine::session::{Pending, Session};
use crate::engine::{Engine, MessageNumber, Record, SessionKey, SessionNumber, Target};
use protocol::delivery::Resend;
use protocol::packet::{PacketId, QoS};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the records say.
#[derive(Debug, Default)]
pub(super) struct Replay {
    sessions: BTreeMap<SessionNumber, Kept>,
    /// Whose payload they have, while anybody needs it.
    messages: BTreeMap<MessageNumber, String>,
    retained: BTreeMap<String, String>,
}

/// A lasting session.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    key: Arc<SessionKey>,
    expiry: u32,
    will: Option<String>,
    subscriptions: BTreeMap<String, String>,
    /// What it owes to its client, in order.
    pending: Vec<Owed>,
    /// QoS 2 deliveries of which only PUBCOMP is missing.
    received: BTreeSet<PacketId>,
    /// QoS 2 messages taken and not yet released.
    accepted: BTreeSet<PacketId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owed {
    message: MessageNumber,
    qos: QoS,
    retain: bool,
    subscription_ids: String,
    share: Option<String>,
    /// At QoS 2, once it was sent.
    packet_id: Option<PacketId>,
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
                let before = self.sessions.insert(session, Kept::new(key, expiry));
                assert!(before.is_none(), "{session:?} twice");
            }
            Record::SessionResumed { session, expiry }
            | Record::SessionLeft {
                session, expiry, ..
            } => {
                self.of(session).expiry = expiry;
            }
            Record::SessionEnded { session } => {
                self.sessions.remove(&session).expect("it was created");
            }
            Record::Subscribed {
                session,
                filter,
                grant,
            } => {
                let grant = format!(
                    "{:?}",
                    (
                        grant.qos,
                        grant.no_local,
                        grant.retain_as_published,
                        grant.id
                    )
                );
                self.of(session)
                    .subscriptions
                    .insert(filter.as_str().to_owned(), grant);
            }
            Record::Unsubscribed { session, filter } => {
                self.of(session)
                    .subscriptions
                    .remove(filter.as_str())
                    .expect("it was subscribed");
            }
            Record::WillSet { session, will } => {
                self.of(session).will = Some(will.topic.as_str().to_owned());
            }
            Record::WillCleared { session } => {
                self.of(session).will.take().expect("there was a will");
            }
            Record::Retained { message } => {
                let payload = String::from_utf8_lossy(message.payload()).into_owned();
                self.retained
                    .insert(message.topic().as_str().to_owned(), payload);
            }
            Record::RetainedCleared { topic } => {
                self.retained
                    .remove(topic.as_str())
                    .expect("it was retained");
            }
            other => self.apply_delivery(other),
        }
    }

    /// Forgets the messages that no session is to get any more, as a storage does after a turn.
    pub(super) fn trim(&mut self) {
        let kept = self.sessions.values();
        let needed: BTreeSet<_> = kept
            .flat_map(|kept| kept.pending.iter().map(|it| it.message))
            .collect();
        self.messages.retain(|number, _| needed.contains(number));
    }

    fn apply_delivery(&mut self, record: Record) {
        match record {
            Record::Message {
                number,
                message,
                targets,
            } => {
                let payload = String::from_utf8_lossy(message.payload()).into_owned();
                assert!(
                    self.messages.insert(number, payload).is_none(),
                    "{number:?} twice"
                );
                targets
                    .into_iter()
                    .for_each(|target| self.owe(number, target));
            }
            Record::Copy { number, of, target } => {
                let payload = self
                    .messages
                    .get(&of)
                    .expect("it was not yet let go")
                    .clone();
                assert!(
                    self.messages.insert(number, payload).is_none(),
                    "{number:?} twice"
                );
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
                let owed = self
                    .of(session)
                    .pending
                    .iter_mut()
                    .find(|it| it.message == message);
                owed.expect("it is owed").packet_id = Some(packet_id);
            }
            Record::Received {
                session,
                message,
                packet_id,
            } => {
                let owed = self.take_owed(session, message);
                assert_eq!(owed.packet_id, Some(packet_id));
                assert!(self.of(session).received.insert(packet_id));
            }
            Record::Completed { session, packet_id } => {
                assert!(self.of(session).received.remove(&packet_id));
            }
            Record::Accepted { session, packet_id } => {
                assert!(self.of(session).accepted.insert(packet_id));
            }
            Record::Released { session, packet_id } => {
                assert!(self.of(session).accepted.remove(&packet_id));
            }
            other => unreachable!("{other:?}"),
        }
    }

    /// Compares with the engine the records are of.
    ///
    /// # Panics
    /// If they differ.
    pub(super) fn check(&self, engine: &Engine) {
        let lasting: BTreeMap<_, _> = engine
            .sessions
            .iter()
            .filter(|(_, session)| session.is_lasting)
            .map(|(_, session)| (session.number, Kept::of(session)))
            .collect();
        assert_eq!(self.sessions, lasting);
        assert_eq!(self.retained.len(), engine.retained_len());
    }

    #[track_caller]
    fn of(&mut self, session: SessionNumber) -> &mut Kept {
        self.sessions
            .get_mut(&session)
            .expect("the session has records")
    }

    fn owe(&mut self, message: MessageNumber, target: Target) {
        let twice = self
            .of(target.session)
            .pending
            .iter()
            .any(|it| it.message == message);
        assert!(!twice, "{message:?} twice for one session");
        self.of(target.session).pending.push(Owed {
            message,
            qos: target.qos,
            retain: target.retain,
            subscription_ids: format!("{:?}", target.subscription_ids),
            share: target.share.map(|filter| filter.as_str().to_owned()),
            packet_id: None,
        });
    }

    fn take_owed(&mut self, session: SessionNumber, message: MessageNumber) -> Owed {
        let pending = &mut self.of(session).pending;
        let place = pending
            .iter()
            .position(|it| it.message == message)
            .expect("it is owed");
        pending.remove(place)
    }
}

impl Kept {
    fn new(key: Arc<SessionKey>, expiry: u32) -> Self {
        Self {
            key,
            expiry,
            will: None,
            subscriptions: BTreeMap::new(),
            pending: Vec::new(),
            received: BTreeSet::new(),
            accepted: BTreeSet::new(),
        }
    }

    fn of(session: &Session) -> Self {
        let mut kept = Self::new(Arc::clone(&session.key), session.expiry);
        kept.will = session
            .will
            .as_ref()
            .map(|will| will.will.topic.as_str().to_owned());
        for (filter, grant) in session.subscriptions.iter() {
            let grant = format!(
                "{:?}",
                (
                    grant.qos,
                    grant.no_local,
                    grant.retain_as_published,
                    grant.id
                )
            );
            kept.subscriptions.insert(filter.as_str().to_owned(), grant);
        }
        for delivery in session.outbound.in_flight() {
            match delivery {
                Resend::Publish {
                    packet_id,
                    qos,
                    message,
                } => {
                    let packet_id = (qos == QoS::ExactlyOnce).then_some(packet_id);
                    kept.pending.push(Owed::of(message, packet_id));
                }
                Resend::Pubrel { packet_id } => {
                    kept.received.insert(packet_id);
                }
            }
        }
        kept.pending
            .extend(session.queue.iter().map(|pending| Owed::of(pending, None)));
        kept.accepted = session.inbound.unreleased().collect();
        kept
    }
}

impl Owed {
    fn of(pending: &Pending, packet_id: Option<PacketId>) -> Self {
        Self {
            message: pending
                .number
                .expect("what a lasting session owes is recorded"),
            qos: pending.qos,
            retain: pending.retain,
            subscription_ids: format!("{:?}", pending.subscription_ids),
            share: pending
                .share
                .as_ref()
                .map(|filter| filter.as_str().to_owned()),
            packet_id,
        }
    }
}
