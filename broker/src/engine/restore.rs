//! Restore: what the records add up to, as an engine begins with it.
//!
//! It is what the engine knew when the last record was written, every connection lost.

use super::message::{Message, SubscriptionIds};
use super::record::{MessageNumber, SessionNumber};
use super::router::Grant;
use super::session::SessionKey;
use super::time::Time;
use protocol::packet::{PacketId, QoS, Will};
use protocol::topic::TopicFilter;
use std::num::NonZeroU64;
use std::sync::Arc;

/// All that outlived the process before.
#[derive(Debug)]
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
#[derive(Debug)]
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
#[derive(Debug)]
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
