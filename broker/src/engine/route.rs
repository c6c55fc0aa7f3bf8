//! Routing: who gets a message, with which QoS, and what is recorded of that.
//!
//! A session gets one copy of a message however many of its subscriptions match, and a shared
//! subscription one more [MQTT-3.3.4-2]. What is routed has a permit: it is a [`Message`].

use super::message::{Message, SubscriptionIds};
use super::policy::Rights;
use super::record::{MessageNumber, Record, Target};
use super::router::{Grant, Room};
use super::session::{Pending, Session, SessionId};
use super::{After, Engine};
use protocol::packet::QoS;
use protocol::topic::{TopicFilter, TopicName};
use smallvec::SmallVec;
use std::sync::Arc;

/// What routing a message uses and gives back, so that a publish allocates nothing for it.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    matches: Vec<(SessionId, Grant)>,
    receivers: Vec<Receiver>,
}

/// A session that gets a message.
#[derive(Debug)]
struct Receiver {
    session: SessionId,
    qos: QoS,
    retain: bool,
    subscription_ids: SubscriptionIds,
    share: Option<Arc<TopicFilter>>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Routed {
    /// Whether any subscription matched [MQTT 5.0 §3.4.2.1].
    pub(super) matched: bool,
    /// What an acknowledgement of it waits for.
    pub(super) after: After,
}

impl Engine {
    /// Gives a message to all sessions of this shard that are to have it. `after` is what its
    /// acknowledgement waits for already.
    pub(super) fn route(&mut self, message: &Arc<Message>, after: After) -> Routed {
        let mut scratch = std::mem::take(&mut self.scratch);
        let matched = self.find_receivers(message, &mut scratch);
        let number = self.record_message(message, &scratch.receivers);
        let after = if number.is_some() { After::Sync } else { after };
        // At QoS 2 nobody gets what might be sent to us again as new.
        let deliver = if message.qos() == QoS::ExactlyOnce {
            after
        } else {
            After::Nothing
        };
        for receiver in scratch.receivers.drain(..) {
            let Receiver {
                session,
                qos,
                retain,
                subscription_ids,
                share,
            } = receiver;
            let message = Arc::clone(message);
            let pending = Pending {
                message,
                number,
                subscription_ids,
                share,
                qos,
                retain,
            };
            self.offer(session, pending, deliver);
        }
        self.scratch = scratch;
        Routed { matched, after }
    }

    /// Puts everybody who gets the message into `scratch.receivers`. Whether any subscription
    /// matched.
    fn find_receivers(&mut self, message: &Message, scratch: &mut Scratch) -> bool {
        let Scratch { matches, receivers } = scratch;
        matches.clear();
        let sessions = &self.sessions;
        let (mut filters, mut groups) = (0, 0);
        self.router.for_each_match(message.topic(), |subscribers| {
            let before = matches.len();
            matches.extend(subscribers.alone());
            filters += usize::from(matches.len() > before);
            for group in subscribers.groups_mut() {
                groups += 1;
                let picked = group.pick(|id, grant| sessions.get(id)?.shared_room(message, grant));
                let filter = group.filter();
                receivers.extend(
                    picked.map(|(id, grant)| Receiver::shared(id, grant, (message, filter))),
                );
            }
        });
        if filters > 1 {
            matches.sort_unstable_by_key(|(id, grant)| (*id, grant.id));
        }
        for same in matches.chunk_by(|(one, _), (other, _)| one == other) {
            receivers.extend(self.receiver(message, same));
        }
        filters + groups > 0
    }

    /// One session with all its subscriptions that match, as a receiver, if it can be one.
    fn receiver(&mut self, message: &Message, matches: &[(SessionId, Grant)]) -> Option<Receiver> {
        let (id, _) = *matches.first()?;
        let session = self.sessions.get(id)?;
        let may = |grant: &Grant| !grant.no_local || !session.published(message);
        let grants = || {
            matches
                .iter()
                .map(|(_, grant)| grant)
                .filter(|grant| may(grant))
        };
        let granted = grants().map(|grant| grant.qos).max()?;
        let qos = granted.min(message.qos());
        let retain = message.retain() && grants().any(|grant| grant.retain_as_published);
        let subscription_ids = grants().filter_map(|grant| grant.id).collect();
        if grants().any(|grant| grant.withholds) && !may_receive(&session.rights, message.topic()) {
            self.counters.dropped_withheld += 1;
            return None;
        }
        let payload_len = message.payload().len();
        let has_room = session.room(qos, payload_len).is_some();
        if !has_room && !self.make_room(id, qos, payload_len) {
            return None;
        }
        Some(Receiver {
            session: id,
            qos,
            retain,
            subscription_ids,
            share: None,
        })
    }

    /// Drops what has expired from a full queue. Whether there is room then.
    fn make_room(&mut self, id: SessionId, qos: QoS, payload_len: usize) -> bool {
        if qos == QoS::AtMostOnce {
            // Nobody is there, and QoS 0 does not wait.
            return false;
        }
        self.drop_expired(id);
        let room = self
            .sessions
            .get(id)
            .and_then(|session| session.room(qos, payload_len));
        self.counters.dropped_queue_full += u64::from(room.is_none());
        room.is_some()
    }

    /// Records a message for those of its receivers whose sessions last.
    fn record_message(
        &mut self,
        message: &Arc<Message>,
        receivers: &[Receiver],
    ) -> Option<MessageNumber> {
        let targets: SmallVec<[Target; 1]> = receivers
            .iter()
            .filter_map(|receiver| self.target(receiver))
            .collect();
        if targets.is_empty() {
            return None;
        }
        let number = self.number_message();
        self.record(Record::Message {
            number,
            message: Arc::clone(message),
            targets,
        });
        Some(number)
    }

    fn target(&self, receiver: &Receiver) -> Option<Target> {
        if receiver.qos == QoS::AtMostOnce {
            return None;
        }
        Some(Target {
            session: self.lasting(receiver.session)?,
            qos: receiver.qos,
            retain: receiver.retain,
            subscription_ids: receiver.subscription_ids.clone(),
            share: receiver.share.clone(),
        })
    }

    pub(super) fn number_message(&mut self) -> MessageNumber {
        let number = self.next_message;
        self.next_message = number.saturating_add(1);
        MessageNumber(number)
    }
}

impl Receiver {
    fn shared(session: SessionId, grant: Grant, what: (&Message, &Arc<TopicFilter>)) -> Self {
        let (message, filter) = what;
        Self {
            session,
            qos: grant.qos.min(message.qos()),
            retain: message.retain() && grant.retain_as_published,
            subscription_ids: grant.id.into_iter().collect(),
            share: Some(Arc::clone(filter)),
        }
    }
}

impl Session {
    /// What a member of a shared subscription could do with a message; `None` leaves it to
    /// another one.
    pub(super) fn shared_room(&self, message: &Message, grant: Grant) -> Option<Room> {
        let qos = grant.qos.min(message.qos());
        let room = self.room(qos, message.payload().len())?;
        let permitted = !grant.withholds || may_receive(&self.rights, message.topic());
        let ids: SubscriptionIds = grant.id.into_iter().collect();
        (permitted && self.takes_packet(message, qos, &ids)).then_some(room)
    }

    fn published(&self, message: &Message) -> bool {
        message
            .publisher()
            .is_some_and(|publisher| *publisher == self.key)
    }
}

/// Whether somebody with these rights may receive what is published to `topic`.
///
/// It is asked where a permit for a filter does not say all: where it withholds a part of the
/// filter, and where it was given by an earlier policy.
pub(super) fn may_receive(rights: &Rights, topic: &TopicName) -> bool {
    TopicFilter::from_text(topic.text().clone())
        .is_ok_and(|filter| rights.permit_subscribe(&filter).is_some())
}
