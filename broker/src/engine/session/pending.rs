//! Pending: a message that a session owes to its client.
//!
//! It is owed until its records say that it is settled, wherever its content is meanwhile.

use super::stored::Stored;
use crate::engine::message::{Message, SubscriptionIds};
use crate::engine::record::MessageNumber;
use crate::engine::time::Time;
use protocol::packet::QoS;
use protocol::topic::TopicFilter;
use std::sync::Arc;

/// A message a session owes to its client, waiting or in flight.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Pending {
    pub(in crate::engine) message: Arc<Message>,
    /// What the records call it, if it is in them.
    pub(in crate::engine) number: Option<MessageNumber>,
    pub(in crate::engine) subscription_ids: SubscriptionIds,
    /// The shared filter it came by.
    pub(in crate::engine) share: Option<Arc<TopicFilter>>,
    pub(in crate::engine) qos: QoS,
    pub(in crate::engine) retain: bool,
}

/// One that was taken out.
#[derive(Debug)]
pub(in crate::engine) enum Waiting {
    /// With its content.
    Ready(Pending),
    /// Its content is in the log, at least.
    Stored(Stored),
}

/// Whether the policy in force has judged a message's receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Judged {
    /// When the message was routed.
    Already,
    /// It has yet to.
    Anew,
}

impl Waiting {
    pub(in crate::engine) fn number(&self) -> Option<MessageNumber> {
        match self {
            Self::Ready(pending) => pending.number,
            Self::Stored(stored) => Some(stored.number()),
        }
    }

    /// The whole of it, if its content is here.
    pub(in crate::engine) fn into_pending(self) -> Option<Pending> {
        match self {
            Self::Ready(pending) => Some(pending),
            Self::Stored(stored) => {
                let message = stored.content().cloned()?;
                Some(stored.with(message))
            }
        }
    }

    pub(super) fn expires_at(&self) -> Option<Time> {
        match self {
            Self::Ready(pending) => pending.message.expires_at(),
            Self::Stored(stored) => stored.expires_at(),
        }
    }

    pub(super) fn share(&self) -> Option<&TopicFilter> {
        match self {
            Self::Ready(pending) => pending.share.as_deref(),
            Self::Stored(stored) => stored.share(),
        }
    }
}
