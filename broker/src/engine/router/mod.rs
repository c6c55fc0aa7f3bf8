//! Router: which sessions a topic name concerns.
//!
//! What a publish costs follows from what it matches and from its levels, never from how many
//! filters there are. A filter is held if and only if somebody subscribes to it.

mod exact;
mod retained;
mod shared_group;
mod subscribers;
mod topic_tree;

pub(super) use retained::{Retained, Scan, SearchStep};
pub(super) use shared_group::{Room, SharedGroup};
pub use subscribers::Grant;
pub(super) use subscribers::Subscribers;

use super::policy::SubscribePermit;
use super::session::SessionId;
use ahash::RandomState;
use exact::ExactFilters;
use protocol::topic::{TopicFilter, TopicName};
use topic_tree::TopicTree;

/// All subscriptions of one shard.
#[derive(Debug)]
pub(super) struct Router {
    exact: ExactFilters,
    tree: TopicTree,
    len: usize,
}

impl Router {
    /// `hasher` is keyed: the texts hashed come from peers.
    pub(super) fn new(hasher: RandomState) -> Self {
        Self {
            exact: ExactFilters::new(hasher.clone()),
            tree: TopicTree::new(hasher),
            len: 0,
        }
    }

    /// How many subscriptions there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a subscription, or replaces how it was granted.
    pub(super) fn subscribe(&mut self, session: SessionId, permit: &SubscribePermit, grant: Grant) {
        let filter = permit.filter();
        let subscribers = if filter.has_wildcards() {
            self.tree.subscribers_mut(filter.pattern())
        } else {
            self.exact.subscribers_mut(filter.pattern())
        };
        if subscribers.add(session, filter, grant) {
            self.len += 1;
        }
    }

    /// Removes a subscription.
    pub(super) fn unsubscribe(&mut self, session: SessionId, filter: &TopicFilter) {
        let removed = if filter.has_wildcards() {
            self.tree.remove(filter.pattern(), |subscribers| {
                subscribers.remove(session, filter)
            })
        } else {
            self.exact.remove(filter.pattern(), |subscribers| {
                subscribers.remove(session, filter)
            })
        };
        if removed {
            self.len -= 1;
        }
    }

    /// Calls `visit` with the subscribers of every filter that matches `topic`, always in the
    /// same order for the same history.
    pub(super) fn for_each_match(
        &mut self,
        topic: &TopicName,
        mut visit: impl FnMut(&mut Subscribers),
    ) {
        if let Some(subscribers) = self.exact.find_mut(topic.as_str()) {
            visit(subscribers);
        }
        self.tree.for_each_match(topic, visit);
    }

    /// The group of a shared filter, if it still has members.
    pub(super) fn group_mut(&mut self, filter: &TopicFilter) -> Option<&mut SharedGroup> {
        let subscribers = if filter.has_wildcards() {
            self.tree.find_mut(filter.pattern())
        } else {
            self.exact.find_mut(filter.pattern())
        };
        subscribers?.group_mut(filter)
    }
}
