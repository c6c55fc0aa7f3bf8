//! Shared group: sessions that share the messages of one filter among them [MQTT 5.0 §4.8.2].
//!
//! A message goes to one member. Who has room takes turns; who has none is passed over.

use super::Grant;
use crate::engine::session::SessionId;
use protocol::topic::TopicFilter;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// The members of one shared subscription; never without any.
#[derive(Debug)]
pub(in crate::engine) struct SharedGroup {
    filter: Arc<TopicFilter>,
    members: BTreeMap<SessionId, Grant>,
    /// Who had the last message.
    last: SessionId,
}

/// What a member could do with a message now. The lesser the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Room {
    /// It is connected and can be sent the message at once.
    Now,
    /// It is connected; the message would wait behind as many others.
    Behind(usize),
    /// It is not connected; the message would wait behind as many others.
    Away(usize),
}

impl SharedGroup {
    pub(super) fn new(filter: Arc<TopicFilter>, first: SessionId, grant: Grant) -> Self {
        Self {
            filter,
            members: BTreeMap::from([(first, grant)]),
            last: first,
        }
    }

    /// The whole filter, `$share` and group included.
    pub(in crate::engine) fn filter(&self) -> &Arc<TopicFilter> {
        &self.filter
    }

    /// Chooses who takes the next message: of those with the most room, the first behind the
    /// one that had the last. `room` says `None` of a member that cannot take it at all.
    pub(in crate::engine) fn pick(
        &mut self,
        room: impl Fn(SessionId, Grant) -> Option<Room>,
    ) -> Option<(SessionId, Grant)> {
        let behind = self
            .members
            .range((Bound::Excluded(self.last), Bound::Unbounded));
        let turns = behind.chain(self.members.range(..=self.last));
        let mut best: Option<(Room, SessionId, Grant)> = None;
        for (&member, &grant) in turns {
            let Some(room) = room(member, grant) else {
                continue;
            };
            if best.is_none_or(|(least, ..)| room < least) {
                best = Some((room, member, grant));
            }
            if room == Room::Now {
                break;
            }
        }
        let (_, member, grant) = best?;
        self.last = member;
        Some((member, grant))
    }

    /// Adds a member, or replaces its grant. Whether it is new.
    pub(super) fn add(&mut self, session: SessionId, grant: Grant) -> bool {
        self.members.insert(session, grant).is_none()
    }

    /// Removes a member. Whether it was one.
    pub(super) fn remove(&mut self, session: SessionId) -> bool {
        self.members.remove(&session).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}
