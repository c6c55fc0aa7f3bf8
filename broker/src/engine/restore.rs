//! Restore: an engine goes on where the records end.
//!
//! It knows what the one before knew when the last record was written, every connection lost.
//! What the policy in force no longer permits is judged as after a change of policy.

use super::Engine;
use super::deadlines::Deadline;
use super::message::{Message, SubscriptionIds};
use super::policy::SubscribePermit;
use super::record::{MessageNumber, SessionNumber};
use super::router::Grant;
use super::session::{Cache, Presence, Session, SessionId, SessionKey, SessionWill, Stored};
use super::time::Time;
use protocol::packet::{PacketId, QoS, Will};
use protocol::topic::TopicFilter;
use std::num::NonZeroU64;
use std::sync::Arc;

/// All that outlived the process before.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Each key and each number once.
    pub sessions: Vec<RestoredSession>,
    /// The last one of each topic.
    pub retained: Vec<Arc<Message>>,
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
            next_session: 1,
            next_message: NonZeroU64::MIN,
        }
    }
}

/// What was given cannot be what the records add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRestored {
    /// A message is to be sent again, or given to another member of a group.
    #[error("the content of message {message} of session {session} is missing", message = .0.0, session = .1.0)]
    ContentMissing(MessageNumber, SessionNumber),
    /// A device has one session with a client id.
    #[error("session {session} has the client id of another one of its device", session = .0.0)]
    SessionTwice(SessionNumber),
}

/// What is to be done as soon as the time is known.
#[derive(Debug, Default)]
pub(super) struct Beginning {
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
    /// [`Input::Tick`]: super::Input::Tick
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn restored(mut self, restored: Restored) -> Result<Self, NotRestored> {
        let Restored {
            sessions,
            retained,
            next_session,
            next_message,
        } = restored;
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
            session.forget_rights();
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
        let permit = rights.and_then(|rights| rights.permit_subscribe(&filter));
        grant.withholds = permit.as_ref().is_some_and(SubscribePermit::is_partial);
        session.subscriptions.set(filter.clone(), grant);
        self.watch_statistics(&filter);
        match permit {
            Some(permit) => self.router.subscribe(id, &permit, grant),
            None => self.beginning.denied.push((id, filter)),
        }
    }

    /// The time is known.
    pub(super) fn begin(&mut self) {
        self.started = Some(self.now);
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
    pub(super) fn is_due(&self) -> bool {
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
