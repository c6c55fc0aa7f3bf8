//! Lane: the way a session's messages took last.
//!
//! A device publishes to one topic again and again. As long as the topic, the rights and the
//! subscriptions are the same, so are the permit and the subscribers.

use super::SessionId;
use crate::engine::policy::{Publication, PublishPermit};
use crate::engine::router::Grant;
use ahash::RandomState;
use protocol::topic::TopicName;
use smallvec::SmallVec;

/// What is known of the topic a session published to last; nothing before the second time.
/// Forgotten when the session's rights change.
#[derive(Debug, Default)]
pub(in crate::engine) struct Lane {
    /// A hash of the topic of the last message.
    last: u64,
    known: Option<Box<Known>>,
}

#[derive(Debug)]
struct Known {
    permit: PublishPermit,
    /// All who hear it, each for itself, and in which generation of the router that was so.
    matches: SmallVec<[(SessionId, Grant); 1]>,
    generation: Option<u64>,
}

/// More subscribers than that are looked up each time: that costs less than they do.
const MATCHES_LEN_MAX: usize = 8;

impl Lane {
    /// The permit to publish to `topic` as before.
    ///
    /// # Errors
    /// If it is not known; that is the topic.
    #[inline]
    pub(in crate::engine) fn permit(
        &self,
        topic: TopicName,
        publication: &Publication,
    ) -> Result<PublishPermit, TopicName> {
        match &self.known {
            Some(known) => known.permit.again(topic, publication),
            None => Err(topic),
        }
    }

    /// Notes a permit that was given. It is kept when the same is asked for twice in a row, so
    /// that changing topics cost no memory.
    pub(in crate::engine) fn note(&mut self, permit: &PublishPermit) {
        // Whoever finds two topics of one hash gains nothing by it.
        let hash = RandomState::with_seeds(1, 2, 3, 4).hash_one(permit.topic().as_str());
        if std::mem::replace(&mut self.last, hash) == hash {
            self.known = Some(Box::new(Known {
                permit: permit.kept(),
                matches: SmallVec::new(),
                generation: None,
            }));
        }
    }

    /// The subscribers of `topic`, if they are those of this generation of the router.
    #[inline]
    pub(in crate::engine) fn matches(
        &self,
        topic: &TopicName,
        generation: u64,
    ) -> Option<&[(SessionId, Grant)]> {
        let known = self.known.as_ref()?;
        let is_same = known.generation == Some(generation) && known.permit.topic() == topic;
        is_same.then_some(&known.matches)
    }

    /// Notes the subscribers of `topic` in this generation of the router.
    pub(in crate::engine) fn remember(
        &mut self,
        topic: &TopicName,
        generation: u64,
        matches: &[(SessionId, Grant)],
    ) {
        let Some(known) = &mut self.known else {
            return;
        };
        if known.permit.topic() == topic && matches.len() <= MATCHES_LEN_MAX {
            known.matches = matches.into();
            known.generation = Some(generation);
        }
    }
}
