//! One session as the records have it.
//!
//! What it owes to its client stands in the order of the records, which is that of the message
//! numbers.

use crate::engine::{
    Grant, MessageNumber, Record, SessionKey, SessionNumber, SubscriptionIds, Target, Time,
};
use crate::storage::log::Malformed;
use protocol::packet::{PacketId, QoS, Will};
use protocol::topic::TopicFilter;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A session that outlives its connection.
#[derive(Debug)]
pub(in crate::storage) struct Kept {
    pub(in crate::storage) key: Arc<SessionKey>,
    pub(in crate::storage) expiry: u32,
    /// Unknown while its client is connected.
    pub(in crate::storage) left_at: Option<Time>,
    pub(in crate::storage) subscriptions: BTreeMap<TopicFilter, Grant>,
    pub(in crate::storage) will: Option<Arc<Will>>,
    pub(in crate::storage) pending: VecDeque<Owed>,
    /// QoS 2 deliveries of which only PUBCOMP is missing.
    pub(in crate::storage) received: Vec<PacketId>,
    /// QoS 2 messages taken and not yet released.
    pub(in crate::storage) accepted: Vec<PacketId>,
    /// The last identifier of a QoS 2 delivery, ended or not.
    pub(in crate::storage) last_sent: Option<PacketId>,
}

/// A message that a session owes to its client.
#[derive(Debug)]
pub(in crate::storage) struct Owed {
    pub(in crate::storage) number: MessageNumber,
    /// What few have.
    pub(in crate::storage) extra: Option<Box<Extra>>,
    pub(in crate::storage) sent: Option<PacketId>,
    pub(in crate::storage) qos: QoS,
    pub(in crate::storage) retain: bool,
}

/// How a message came to a session, where it was not by one plain subscription.
#[derive(Debug)]
pub(in crate::storage) struct Extra {
    pub(in crate::storage) subscription_ids: SubscriptionIds,
    pub(in crate::storage) share: Option<Arc<TopicFilter>>,
}

impl Kept {
    pub(super) fn new(key: Arc<SessionKey>, expiry: u32) -> Self {
        Self {
            key,
            expiry,
            left_at: None,
            subscriptions: BTreeMap::new(),
            will: None,
            pending: VecDeque::new(),
            received: Vec::new(),
            accepted: Vec::new(),
            last_sent: None,
        }
    }

    /// The records that make such a session, without what it owes.
    pub(in crate::storage) fn records(&self, session: SessionNumber, put: &mut dyn FnMut(Record)) {
        let expiry = self.expiry;
        put(Record::SessionCreated {
            session,
            key: Arc::clone(&self.key),
            expiry,
        });
        if let Some(at) = self.left_at {
            put(Record::SessionLeft {
                session,
                at,
                expiry,
            });
        }
        for (filter, grant) in &self.subscriptions {
            put(Record::Subscribed {
                session,
                filter: filter.clone(),
                grant: *grant,
            });
        }
        if let Some(will) = &self.will {
            let will = Arc::clone(will);
            put(Record::WillSet { session, will });
        }
        for packet_id in self.accepted.iter().copied() {
            put(Record::Accepted { session, packet_id });
        }
    }

    pub(super) fn resume(&mut self, expiry: u32) {
        self.expiry = expiry;
        self.left_at = None;
    }

    pub(super) fn leave(&mut self, at: Time, expiry: u32) {
        self.expiry = expiry;
        self.left_at = Some(at);
    }

    pub(super) fn owe(
        &mut self,
        number: MessageNumber,
        target: Target,
        sent: Option<PacketId>,
    ) -> Result<(), Malformed> {
        if self
            .pending
            .back()
            .is_some_and(|last| last.number >= number)
        {
            return Err(Malformed("a session gets a message twice, or too late"));
        }
        let is_plain = target.subscription_ids.is_empty() && target.share.is_none();
        let extra = Extra {
            subscription_ids: target.subscription_ids,
            share: target.share,
        };
        self.pending.push_back(Owed {
            number,
            extra: (!is_plain).then(|| Box::new(extra)),
            sent,
            qos: target.qos,
            retain: target.retain,
        });
        Ok(())
    }

    pub(super) fn settle(&mut self, message: MessageNumber) -> Result<(), Malformed> {
        let place = self.place(message)?;
        self.pending.remove(place);
        Ok(())
    }

    pub(super) fn sent(
        &mut self,
        message: MessageNumber,
        packet_id: PacketId,
    ) -> Result<(), Malformed> {
        let place = self.place(message)?;
        if let Some(owed) = self.pending.get_mut(place) {
            owed.sent = Some(packet_id);
        }
        self.last_sent = Some(packet_id);
        Ok(())
    }

    pub(super) fn await_pubcomp(&mut self, packet_id: PacketId) -> Result<(), Malformed> {
        add(&mut self.received, packet_id)
    }

    pub(super) fn complete(&mut self, packet_id: PacketId) -> Result<(), Malformed> {
        take(&mut self.received, packet_id)
    }

    pub(super) fn accept(&mut self, packet_id: PacketId) -> Result<(), Malformed> {
        add(&mut self.accepted, packet_id)
    }

    pub(super) fn release(&mut self, packet_id: PacketId) -> Result<(), Malformed> {
        take(&mut self.accepted, packet_id)
    }

    fn place(&self, message: MessageNumber) -> Result<usize, Malformed> {
        let found = self.pending.binary_search_by_key(&message, |it| it.number);
        found.map_err(|_| Malformed("a session does not owe that message"))
    }
}

impl Owed {
    /// As it was recorded.
    pub(in crate::storage) fn target(&self, session: SessionNumber) -> Target {
        let extra = self.extra.as_ref();
        Target {
            session,
            qos: self.qos,
            retain: self.retain,
            subscription_ids: extra
                .map_or_else(SubscriptionIds::new, |it| it.subscription_ids.clone()),
            share: extra.and_then(|it| it.share.clone()),
        }
    }
}

/// There are at most as many as may be in flight, and they go in the order in which they came.
fn add(ids: &mut Vec<PacketId>, id: PacketId) -> Result<(), Malformed> {
    if ids.contains(&id) {
        return Err(Malformed("a packet identifier is in use twice"));
    }
    ids.push(id);
    Ok(())
}

fn take(ids: &mut Vec<PacketId>, id: PacketId) -> Result<(), Malformed> {
    let place = ids.iter().position(|it| *it == id);
    let place = place.ok_or(Malformed("a packet identifier is not in use"))?;
    ids.remove(place);
    Ok(())
}
