//! Sessions: all of one shard, found by connection, by key, and by device.
//!
//! The three ways agree: a session is in all of them or in none, and a connection has one
//! session at most, as a session has one connection.

use super::{Connected, Presence, Session, SessionId, SessionKey};
use crate::engine::input::ConnectionId;
use crate::engine::time::Time;
use ahash::RandomState;
use certs::Subject;
use protocol::Text;
use slab::Slab;
use smallvec::SmallVec;
use std::collections::HashMap;

/// All sessions of a shard.
#[derive(Debug)]
pub(in crate::engine) struct Sessions {
    all: Slab<Box<Session>>,
    /// In the order of their client ids.
    by_device: HashMap<Subject, SmallVec<[SessionId; 2]>, RandomState>,
    by_connection: HashMap<ConnectionId, SessionId, RandomState>,
}

impl Sessions {
    pub(in crate::engine) fn new(hasher: RandomState) -> Self {
        Self {
            all: Slab::new(),
            by_device: HashMap::with_hasher(hasher.clone()),
            by_connection: HashMap::with_hasher(hasher),
        }
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many of them are connected.
    pub(in crate::engine) fn connected_len(&self) -> usize {
        self.by_connection.len()
    }

    /// How many sessions a device has.
    pub(in crate::engine) fn len_of(&self, device: &Subject) -> usize {
        self.by_device.get(device).map_or(0, SmallVec::len)
    }

    /// How many of them are connected.
    pub(in crate::engine) fn connected_len_of(&self, device: &Subject) -> usize {
        let siblings = self.by_device.get(device).into_iter().flatten();
        let connected = siblings.filter_map(|id| self.get(*id)?.connected());
        connected.count()
    }

    pub(in crate::engine) fn get(&self, id: SessionId) -> Option<&Session> {
        self.all.get(id.0).map(Box::as_ref)
    }

    pub(in crate::engine) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.all.get_mut(id.0).map(Box::as_mut)
    }

    /// All of them, always in the same order for the same history.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.all
            .iter()
            .map(|(place, session)| (SessionId(place), session.as_ref()))
    }

    /// How many places there are; one that is not empty now may be later.
    pub(in crate::engine) fn places_len(&self) -> usize {
        self.all.capacity()
    }

    /// Those that are connected, always in the same order for the same history.
    pub(in crate::engine) fn connected(&self) -> impl Iterator<Item = SessionId> {
        self.iter()
            .filter(|(_, session)| session.is_here())
            .map(|(id, _)| id)
    }

    pub(in crate::engine) fn of_connection(&self, connection: ConnectionId) -> Option<SessionId> {
        self.by_connection.get(&connection).copied()
    }

    pub(in crate::engine) fn find(&self, key: &SessionKey) -> Option<SessionId> {
        let place = self.place(key).ok()?;
        self.by_device.get(&key.subject)?.get(place).copied()
    }

    /// Takes in a session whose key no other has.
    pub(in crate::engine) fn insert(&mut self, session: Session) -> SessionId {
        let key = session.key.clone();
        let id = SessionId(self.all.insert(Box::new(session)));
        let (Ok(place) | Err(place)) = self.place(&key);
        self.by_device
            .entry(key.subject.clone())
            .or_default()
            .insert(place, id);
        id
    }

    /// Takes out a session that nobody is connected to.
    pub(in crate::engine) fn remove(&mut self, id: SessionId) -> Option<Box<Session>> {
        let key = self.get(id)?.key.clone();
        let place = self.place(&key).ok();
        if let (Some(place), Some(siblings)) = (place, self.by_device.get_mut(&key.subject)) {
            siblings.remove(place);
            if siblings.is_empty() {
                self.by_device.remove(&key.subject);
            }
        }
        self.all.try_remove(id.0)
    }

    /// Gives a session that nobody is connected to its connection.
    pub(in crate::engine) fn connect(&mut self, id: SessionId, connected: Connected) {
        self.by_connection.insert(connected.id, id);
        if let Some(session) = self.get_mut(id) {
            session.presence = Presence::Here(Box::new(connected));
        }
    }

    /// Takes a session's connection away; `ends_at` is when the session will end.
    pub(in crate::engine) fn disconnect(&mut self, id: SessionId, ends_at: Time) {
        let Some(session) = self.get_mut(id) else {
            return;
        };
        if let Presence::Here(connected) =
            std::mem::replace(&mut session.presence, Presence::Away(ends_at))
        {
            self.by_connection.remove(&connected.id);
        }
    }

    fn place(&self, key: &SessionKey) -> Result<usize, usize> {
        let Some(siblings) = self.by_device.get(&key.subject) else {
            return Err(0);
        };
        siblings.binary_search_by(|id| self.client_id(*id).cmp(&Some(&key.client_id)))
    }

    fn client_id(&self, id: SessionId) -> Option<&Text> {
        self.get(id).map(|session| &session.key.client_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test_world::subject;
    use crate::engine::{Limits, SessionNumber};
    use std::sync::Arc;

    fn key(device: &str, client_id: &str) -> SessionKey {
        SessionKey {
            subject: subject(device),
            client_id: Text::parse(client_id).unwrap(),
        }
    }

    fn session(key: SessionKey) -> Session {
        Session::new(Arc::new(key), SessionNumber(0), &Limits::default())
    }

    #[test]
    fn each_is_found_by_its_key_in_whatever_order_they_come_and_go() {
        let mut sessions = Sessions::new(RandomState::with_seeds(1, 2, 3, 4));
        let keys: Vec<_> = ["m", "a", "z", "", "b"]
            .iter()
            .flat_map(|client_id| [key("dev-1", client_id), key("dev-2", client_id)])
            .collect();
        let ids: Vec<_> = keys
            .iter()
            .map(|key| sessions.insert(session(key.clone())))
            .collect();
        for (key, id) in keys.iter().zip(&ids) {
            assert_eq!(sessions.find(key), Some(*id));
        }
        assert_eq!(sessions.find(&key("dev-1", "c")), None);
        for place in [3, 0, 9, 5, 1, 8, 2, 7, 4, 6] {
            assert_eq!(*sessions.remove(ids[place]).unwrap().key, keys[place]);
            assert_eq!(sessions.find(&keys[place]), None);
            assert!(sessions.remove(ids[place]).is_none());
        }
        assert!(sessions.by_device.is_empty());
        assert_eq!(sessions.len(), 0);
    }
}
