//! Permits: the proof that somebody may do what it asks.
//!
//! Only `rights` makes one. A permit to publish says for which messages it holds, and is given
//! again for none but those.

use super::Publication;
use crate::engine::time::Time;
use protocol::packet::QoS;
use protocol::topic::{TopicFilter, TopicName};
use std::sync::Arc;

/// The proof that a message may be published to a topic.
#[derive(Debug)]
pub struct PublishPermit {
    pub(super) topic: TopicName,
    /// Nothing where every message is alike to the rules.
    pub(super) scope: Option<Arc<Scope>>,
}

/// The messages that the rules judge alike, all of them permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) qos: (QoS, QoS),
    /// Where it makes a difference.
    pub(super) retain: Option<bool>,
    pub(super) payload_len: (usize, usize),
    pub(super) from: Time,
    /// This moment is the first that does not belong.
    pub(super) until: Option<Time>,
    pub(super) stamps: bool,
}

impl PublishPermit {
    /// The topic it is for.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// Whether the message is to say who published it.
    #[inline]
    pub fn stamps(&self) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.stamps)
    }

    /// The same permit for the next message, if the rules say the same of it. Whoever keeps a
    /// permit for that forgets it when the rights it was given by are no longer in force.
    ///
    /// # Errors
    /// If it is another topic, or a message of another sort; that is the topic.
    #[inline]
    pub fn again(&self, topic: TopicName, publication: &Publication) -> Result<Self, TopicName> {
        let is_alike = self
            .scope
            .as_ref()
            .is_none_or(|scope| scope.covers(publication));
        if is_alike && self.topic == topic {
            let scope = self.scope.clone();
            Ok(Self { topic, scope })
        } else {
            Err(topic)
        }
    }

    /// A copy for whoever gives it [`Self::again`].
    #[must_use]
    pub fn kept(&self) -> Self {
        Self {
            topic: self.topic.clone(),
            scope: self.scope.clone(),
        }
    }

    /// The topic it was for: the permit is used up.
    pub fn into_topic(self) -> TopicName {
        self.topic
    }
}

impl Scope {
    /// Of all messages, before any rule made a difference.
    pub(super) fn all(now: Time) -> Self {
        Self {
            qos: (QoS::AtMostOnce, QoS::ExactlyOnce),
            retain: None,
            payload_len: (0, usize::MAX),
            from: now,
            until: None,
            stamps: false,
        }
    }

    fn covers(&self, publication: &Publication) -> bool {
        let Publication {
            qos,
            retain,
            payload_len,
            at,
        } = *publication;
        (self.qos.0..=self.qos.1).contains(&qos)
            && self.retain.is_none_or(|alike| alike == retain)
            && (self.payload_len.0..=self.payload_len.1).contains(&payload_len)
            && self.from <= at
            && self.until.is_none_or(|until| at < until)
    }
}

/// The proof that a client may receive what a filter matches, at least a part of it.
#[derive(Clone, Debug)]
pub struct SubscribePermit {
    pub(super) filter: TopicFilter,
    pub(super) is_partial: bool,
    pub(super) qos_max: QoS,
}

impl SubscribePermit {
    /// The filter it is for, as the client wrote it.
    pub fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// Whether anything is or may at some time be withheld: otherwise nobody has to ask for each
    /// message.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// The highest QoS that is granted.
    pub fn qos_max(&self) -> QoS {
        self.qos_max
    }
}
