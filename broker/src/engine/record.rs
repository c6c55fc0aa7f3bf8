//! Record: what must outlive us.
//!
//! Records are written only of sessions that outlive their connection and of retained messages,
//! and they suffice to build both again: applied in their order, they give the state of the
//! engine as it was after the last of them, every connection lost.

use super::message::{Message, SubscriptionIds};
use super::router::Grant;
use super::session::SessionKey;
use super::time::Time;
use protocol::packet::{PacketId, QoS, Will};
use protocol::topic::{TopicFilter, TopicName};
use smallvec::SmallVec;
use std::num::NonZeroU64;
use std::sync::Arc;

/// A session in the records. Never used twice by a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNumber(pub u64);

/// A message in the records. Never used twice by a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageNumber(pub NonZeroU64);

/// Something to be kept.
#[derive(Clone, Debug)]
pub enum Record {
    /// A session that outlives its connection was made; its client is connected.
    SessionCreated {
        /// The new session.
        session: SessionNumber,
        /// Whose it is.
        key: Arc<SessionKey>,
        /// Seconds it outlives its connection.
        expiry: u32,
    },
    /// Its client is connected again, and with it the session's and its will's clocks stop.
    SessionResumed {
        /// Which session.
        session: SessionNumber,
        /// Seconds it outlives this connection.
        expiry: u32,
    },
    /// Its client is gone: the session ends and its will is due counted from here.
    SessionLeft {
        /// Which session.
        session: SessionNumber,
        /// When it was left.
        at: Time,
        /// Seconds until it ends.
        expiry: u32,
    },
    /// The session has ended, or from here on ends with its connection. All it had is gone.
    SessionEnded {
        /// Which session.
        session: SessionNumber,
    },
    /// A subscription was added or replaced.
    Subscribed {
        /// Whose.
        session: SessionNumber,
        /// To what.
        filter: TopicFilter,
        /// How it wants its messages.
        grant: Grant,
    },
    /// A subscription was removed.
    Unsubscribed {
        /// Whose.
        session: SessionNumber,
        /// From what.
        filter: TopicFilter,
    },
    /// The session has a will, in place of the one it had.
    WillSet {
        /// Whose.
        session: SessionNumber,
        /// What to publish.
        will: Arc<Will>,
    },
    /// The will was published, discarded or cancelled.
    WillCleared {
        /// Whose.
        session: SessionNumber,
    },
    /// A message awaits delivery to sessions, to each once and in the order of the records.
    Message {
        /// The new message.
        number: MessageNumber,
        /// Its content.
        message: Arc<Message>,
        /// Who is to get it.
        targets: SmallVec<[Target; 1]>,
        /// Whether the other shards are to get it, too.
        reach: Reach,
    },
    /// A message recorded before awaits delivery to one more session, or to one of its receivers
    /// once more: as a message of its own with the same content.
    Copy {
        /// The new message.
        number: MessageNumber,
        /// Whose content it has; needed by somebody until here.
        of: MessageNumber,
        /// Who is to get it.
        target: Target,
    },
    /// A session needs the message no more: it was acknowledged, refused, dropped or expired.
    Settled {
        /// Whose.
        session: SessionNumber,
        /// Which message.
        message: MessageNumber,
    },
    /// A QoS 2 message is about to be sent and has its packet identifier from here on.
    Sent {
        /// By which session.
        session: SessionNumber,
        /// Which message.
        message: MessageNumber,
        /// Under which identifier.
        packet_id: PacketId,
    },
    /// The client has a QoS 2 message (PUBREC): it needs no more than PUBREL.
    Received {
        /// Whose client.
        session: SessionNumber,
        /// Which message, settled by this.
        message: MessageNumber,
        /// Its identifier, in use until [`Self::Completed`].
        packet_id: PacketId,
    },
    /// The client has completed a QoS 2 delivery (PUBCOMP): the identifier is free.
    Completed {
        /// Whose client.
        session: SessionNumber,
        /// Which identifier.
        packet_id: PacketId,
    },
    /// A QoS 2 message came in: another one under its identifier is a duplicate.
    Accepted {
        /// From whose client.
        session: SessionNumber,
        /// Under which identifier.
        packet_id: PacketId,
    },
    /// The client released a QoS 2 message (PUBREL): the identifier stands for a new one.
    Released {
        /// Whose client.
        session: SessionNumber,
        /// Which identifier.
        packet_id: PacketId,
    },
    /// A message is retained, in place of the one its topic had.
    Retained {
        /// Its content.
        message: Arc<Message>,
    },
    /// A topic has no retained message any more.
    RetainedCleared {
        /// Which topic.
        topic: TopicName,
    },
    /// Messages of another shard were taken: the same again are repetitions.
    ForwardsTaken {
        /// Which shard.
        from: u32,
        /// All up to this one, by the number it has there.
        up_to: MessageNumber,
    },
    /// All other shards have taken messages of ours: for them these are needed no more.
    ForwardsDone {
        /// All up to this one.
        up_to: MessageNumber,
    },
}

/// Whose sessions are to get a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of this shard.
    Here,
    /// Those of all shards: it is forwarded to each of the others.
    Everywhere,
}

/// Who is to get a message, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// The session.
    pub session: SessionNumber,
    /// The QoS to deliver with.
    pub qos: QoS,
    /// The RETAIN flag the client sees.
    pub retain: bool,
    /// Which of the client's subscriptions matched.
    pub subscription_ids: SubscriptionIds,
    /// The shared filter it came by: where the session ends, another member is to get it.
    pub share: Option<Arc<TopicFilter>>,
}
