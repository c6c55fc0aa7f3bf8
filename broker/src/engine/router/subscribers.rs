//! Subscribers: who holds one filter, alone or in groups.
//!
//! A session stands in here at most once alone and at most once in each group.

use super::SharedGroup;
use crate::engine::policy::SubscribePermit;
use crate::engine::session::SessionId;
use protocol::packet::{QoS, Subscription, SubscriptionId};
use protocol::topic::TopicFilter;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a subscription wants its messages: what the router must know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The highest QoS to send with.
    pub qos: QoS,
    /// Not what the session itself publishes.
    pub no_local: bool,
    /// Keep the RETAIN flag as published.
    pub retain_as_published: bool,
    /// The permit withholds some of the topics the filter matches: it must be asked.
    pub withholds: bool,
    /// The subscription's identifier.
    pub id: Option<SubscriptionId>,
}

/// Who subscribes to one filter. One holder, the usual case, costs no allocation.
#[derive(Debug, Default)]
pub(in crate::engine) struct Subscribers {
    alone: Alone,
    #[allow(
        clippy::box_collection,
        reason = "most filters have no group, and there may be a million filters"
    )]
    groups: Option<Box<BTreeMap<Arc<TopicFilter>, SharedGroup>>>,
}

#[derive(Debug, Default)]
enum Alone {
    #[default]
    Nobody,
    One(SessionId, Grant),
    Many(BTreeMap<SessionId, Grant>),
}

impl Subscribers {
    pub(in crate::engine) fn is_empty(&self) -> bool {
        matches!(self.alone, Alone::Nobody) && self.groups.is_none()
    }

    /// Calls `visit` with those who subscribe each for itself, in the order of their ids.
    #[inline]
    pub(in crate::engine) fn for_each_alone(&self, mut visit: impl FnMut(SessionId, Grant)) {
        match &self.alone {
            Alone::Nobody => {}
            Alone::One(session, grant) => visit(*session, *grant),
            Alone::Many(many) => many
                .iter()
                .for_each(|(session, grant)| visit(*session, *grant)),
        }
    }

    /// Those who subscribe together.
    pub(in crate::engine) fn groups_mut(&mut self) -> impl Iterator<Item = &mut SharedGroup> {
        self.groups
            .iter_mut()
            .flat_map(|groups| groups.values_mut())
    }

    pub(super) fn group_mut(&mut self, filter: &TopicFilter) -> Option<&mut SharedGroup> {
        self.groups.as_mut()?.get_mut(filter)
    }

    /// Adds a session, or replaces its grant. Whether it is new.
    pub(super) fn add(&mut self, session: SessionId, filter: &TopicFilter, grant: Grant) -> bool {
        if filter.share_group().is_none() {
            return self.alone.add(session, grant);
        }
        let groups = self.groups.get_or_insert_default();
        if let Some(group) = groups.get_mut(filter) {
            return group.add(session, grant);
        }
        let filter = Arc::new(filter.clone());
        groups.insert(
            Arc::clone(&filter),
            SharedGroup::new(filter, session, grant),
        );
        true
    }

    /// Removes a session. Whether it was there.
    pub(super) fn remove(&mut self, session: SessionId, filter: &TopicFilter) -> bool {
        if filter.share_group().is_none() {
            return self.alone.remove(session);
        }
        let Some(groups) = &mut self.groups else {
            return false;
        };
        let Some(group) = groups.get_mut(filter) else {
            return false;
        };
        let removed = group.remove(session);
        if group.is_empty() {
            groups.remove(filter);
        }
        if groups.is_empty() {
            self.groups = None;
        }
        removed
    }
}

impl Alone {
    fn add(&mut self, session: SessionId, grant: Grant) -> bool {
        match self {
            Self::Nobody => *self = Self::One(session, grant),
            Self::One(only, granted) if *only == session => {
                *granted = grant;
                return false;
            }
            Self::One(first, granted) => {
                *self = Self::Many(BTreeMap::from([(*first, *granted), (session, grant)]));
            }
            Self::Many(many) => return many.insert(session, grant).is_none(),
        }
        true
    }

    fn remove(&mut self, session: SessionId) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(only, _) if *only != session => false,
            Self::One(..) => {
                *self = Self::Nobody;
                true
            }
            Self::Many(many) => {
                let removed = many.remove(&session).is_some();
                if let (1, Some((last, grant))) = (many.len(), many.first_key_value()) {
                    *self = Self::One(*last, *grant);
                }
                removed
            }
        }
    }
}

impl Grant {
    /// What `subscription` asks for and `permit` gives, with the identifier of its SUBSCRIBE.
    pub(in crate::engine) fn new(
        subscription: &Subscription,
        id: Option<SubscriptionId>,
        permit: &SubscribePermit,
    ) -> Self {
        Self {
            qos: subscription.qos.min(permit.qos_max()),
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            withholds: permit.is_partial(),
            id,
        }
    }
}
