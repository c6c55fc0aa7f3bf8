//! Session: what a client and the broker owe each other [MQTT 5.0 §4.1].
//!
//! A session belongs to one device and one client id, and outlives its connection if its expiry
//! is above 0. Each of its queues has a maximum.

mod cache;
mod connected;
mod lane;
mod pending;
mod queue;
mod sessions;
mod stored;
mod subscriptions;
mod view;
mod will;

pub(super) use cache::{Cache, Reader};
pub(super) use connected::Connected;
pub(super) use lane::Lane;
pub(super) use pending::{Judged, Pending, Waiting};
pub(super) use queue::{Batch, Full, Queue};
pub(super) use sessions::Sessions;
pub(super) use stored::Stored;
pub(super) use subscriptions::Subscriptions;
pub use view::SessionView;
pub(super) use will::SessionWill;

use super::durable::Qos0;
use super::input::ConnectionId;
use super::judging::PolicyVersion;
use super::limits::Limits;
use super::policy::{Credentials, Policy, Principal, Rights};
use super::record::SessionNumber;
use super::router::Room;
use super::time::Time;
use certs::Subject;
use protocol::Text;
use protocol::delivery::{Inbound, Outbound};
use protocol::packet::QoS;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::num::NonZeroU16;
use std::sync::Arc;

/// A session's place in the shard. Used again once the session has ended and nothing names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionId(pub(super) usize);

/// Whose session it is: the client id alone names none, two devices may have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// The device, as its certificate says.
    pub subject: Subject,
    /// Its client id.
    pub client_id: Text,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: Arc<SessionKey>,
    /// What the records call it.
    pub(super) number: SessionNumber,
    rights: OnceCell<Rights>,
    /// What its device showed when it came last. Nothing as long as it has not come to us, and
    /// where the policy does not ask.
    credentials: Option<Arc<Credentials>>,
    /// By which policy its subscriptions and what waits for it were judged last. Nothing if that
    /// is to be done again in any case.
    judged: Option<PolicyVersion>,
    pub(super) lane: Lane,
    /// How many seconds it outlives its connection, within the limit.
    pub(super) expiry: u32,
    /// Whether records are kept of it: it was made to outlive its connection.
    pub(super) is_lasting: bool,
    pub(super) presence: Presence,
    pub(super) will: Option<SessionWill>,
    pub(super) subscriptions: Subscriptions,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound<Pending>,
    /// Whether a QoS 2 delivery was ended, or may have been, whose identifier the client may
    /// remember yet: a message under the same one would be a duplicate to it. The counting goes
    /// on then.
    pub(super) has_given_up: bool,
    /// The payload bytes in `outbound`.
    pub(super) in_flight_bytes: usize,
    pub(super) in_flight_bytes_max: usize,
    pub(super) queue: Queue,
}

/// Whether somebody is there.
#[derive(Debug)]
pub(super) enum Presence {
    /// Its client is connected.
    Here(Box<Connected>),
    /// Its client is gone, and at this moment the session ends.
    Away(Time),
}

impl Session {
    pub(super) fn new(key: Arc<SessionKey>, number: SessionNumber, limits: &Limits) -> Self {
        Self {
            key,
            number,
            rights: OnceCell::new(),
            credentials: None,
            judged: Some(PolicyVersion::default()),
            lane: Lane::default(),
            expiry: 0,
            is_lasting: false,
            presence: Presence::Away(Time::default()),
            will: None,
            subscriptions: Subscriptions::default(),
            inbound: Inbound::new(NonZeroU16::MIN),
            outbound: Outbound::new(),
            has_given_up: false,
            in_flight_bytes: 0,
            in_flight_bytes_max: limits.in_flight_bytes_max,
            queue: Queue::new(limits),
        }
    }

    /// What the policy in force lets it do; nothing if its client id is no longer permitted.
    /// Worked out when it is asked for first: who is away is seldom asked for its rights.
    #[inline]
    pub(super) fn rights(&self, policy: &Policy) -> Option<Cow<'_, Rights>> {
        let known = self.rights.get();
        if let Some(rights) = known.filter(|rights| rights.are_of(policy)) {
            return Some(Cow::Borrowed(rights));
        }
        let rights = self.rights_by(policy)?;
        if known.is_some() {
            // They are those of an earlier policy, until the session is judged again.
            return Some(Cow::Owned(rights));
        }
        Some(Cow::Borrowed(self.rights.get_or_init(|| rights)))
    }

    /// What a policy, in force or not, would let it do.
    pub(super) fn rights_by(&self, policy: &Policy) -> Option<Rights> {
        let SessionKey { subject, client_id } = &*self.key;
        let principal = Principal {
            subject,
            credentials: self.credentials.as_deref(),
        };
        policy.rights(principal, client_id).ok()
    }

    /// The policy has changed, or it will be some time before the rights are needed again.
    pub(super) fn forget_rights(&mut self) {
        self.rights = OnceCell::new();
        self.lane = Lane::default();
    }

    /// Its client is gone, perhaps for long: what only a client that is there needs is given up.
    pub(super) fn rest(&mut self) {
        self.forget_rights();
        self.subscriptions.shrink();
        self.queue.shrink();
        if self.outbound.is_empty() && !self.has_given_up {
            self.outbound = Outbound::new();
        }
        if self.inbound.is_empty() {
            self.inbound = Inbound::new(NonZeroU16::MIN);
        }
    }

    /// Takes rights by the policy in force.
    pub(super) fn give_rights(&mut self, rights: Rights, credentials: Option<Arc<Credentials>>) {
        self.forget_rights();
        self.rights = OnceCell::from(rights);
        if self.credentials != credentials {
            self.judged = None;
        }
        self.credentials = credentials;
    }

    /// Since when its client is there or away.
    pub(super) fn since(&self) -> Time {
        match &self.presence {
            Presence::Here(connected) => connected.since,
            Presence::Away(ends_at) => ends_at.before_seconds(self.expiry),
        }
    }

    /// What its device showed when it came last, as far as it is kept.
    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_deref()
    }

    /// Whether it was judged by this policy.
    #[inline]
    pub(super) fn is_judged(&self, by: PolicyVersion) -> bool {
        self.judged == Some(by)
    }

    /// It is judged by this policy now.
    pub(super) fn note_judged(&mut self, by: PolicyVersion) {
        self.judged = Some(by);
    }

    /// Whether its client is connected.
    #[inline]
    pub(super) fn is_here(&self) -> bool {
        matches!(self.presence, Presence::Here(_))
    }

    /// Whether nothing that waits comes before a message that comes now.
    #[inline]
    pub(super) fn is_next(&self) -> bool {
        self.is_here() && self.queue.is_empty()
    }

    pub(super) fn connected(&self) -> Option<&Connected> {
        match &self.presence {
            Presence::Here(connected) => Some(connected),
            Presence::Away(_) => None,
        }
    }

    pub(super) fn connected_mut(&mut self) -> Option<&mut Connected> {
        match &mut self.presence {
            Presence::Here(connected) => Some(connected),
            Presence::Away(_) => None,
        }
    }

    pub(super) fn connection(&self) -> Option<ConnectionId> {
        self.connected().map(|connected| connected.id)
    }

    /// Whether a message above QoS 0 can be sent at once.
    pub(super) fn has_window(&self) -> bool {
        self.outbound.has_room() && self.in_flight_bytes < self.in_flight_bytes_max
    }

    /// What would become of a message of this QoS; `None` if it could not be taken.
    pub(super) fn room(&self, (qos, qos0): (QoS, Qos0), payload_len: usize) -> Option<Room> {
        let is_here = self.is_here();
        if qos == QoS::AtMostOnce {
            if !self.has_turns(qos0) {
                return is_here.then_some(Room::Now);
            }
            if qos0 == Qos0::Dropped && self.is_lasting {
                return None;
            }
        } else if self.is_next() && self.has_window() {
            return Some(Room::Now);
        }
        let waiting = self.queue.room_behind(payload_len)?;
        Some(if is_here {
            Room::Behind(waiting)
        } else {
            Room::Away(waiting)
        })
    }
}
