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

    /// All who could be given a message.
    pub(in crate::engine) fn members(&self) -> impl Iterator<Item = (SessionId, Grant)> {
        self.members.iter().map(|(member, grant)| (*member, *grant))
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

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::packet::QoS;

    const GRANT: Grant = Grant {
        qos: QoS::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        withholds: false,
        id: None,
    };

    fn group() -> SharedGroup {
        let filter = Arc::new(TopicFilter::parse("$share/g/a").unwrap());
        let mut group = SharedGroup::new(filter, SessionId(0), GRANT);
        for member in 1..4 {
            group.add(SessionId(member), GRANT);
        }
        group
    }

    /// Who is picked, one after the other, while the rooms stay the same.
    #[track_caller]
    fn check(rooms: [Option<Room>; 4], expected: [usize; 4]) {
        let mut group = group();
        let picked: Vec<_> = expected
            .iter()
            .map_while(|_| group.pick(|member, _| rooms[member.0]))
            .map(|(member, _)| member.0)
            .collect();
        assert_eq!(picked, expected, "{rooms:?}");
    }

    #[test]
    fn who_has_the_most_room_takes_turns() {
        use Room::{Away, Behind, Now};
        check([Some(Now); 4], [1, 2, 3, 0]);
        check(
            [Some(Now), Some(Behind(0)), Some(Now), Some(Away(0))],
            [2, 0, 2, 0],
        );
        check(
            [Some(Behind(9)), Some(Behind(2)), Some(Away(0)), None],
            [1, 1, 1, 1],
        );
        check(
            [Some(Away(1)), None, Some(Away(1)), Some(Away(5))],
            [2, 0, 2, 0],
        );
    }

    #[test]
    fn who_can_take_nothing_is_passed_over() {
        assert_eq!(group().pick(|_, _| None), None);
    }

    #[test]
    fn the_turn_goes_on_where_the_last_one_left() {
        let mut group = group();
        let picked = group.pick(|_, _| Some(Room::Now));
        assert_eq!(picked.map(|(member, _)| member), Some(SessionId(1)));
        group.remove(SessionId(1));
        let picked = group.pick(|_, _| Some(Room::Now));
        assert_eq!(picked.map(|(member, _)| member), Some(SessionId(2)));
    }
}
