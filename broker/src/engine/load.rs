//! Loading: what waits with its content in the log is here again before its turn to be sent.
//!
//! The order of a session's messages is the same whether they waited here or there: once the
//! content of one is in the log alone, so is that of all behind it.

use super::Engine;
use super::effect::Load;
use super::message::Message;
use super::record::{MessageNumber, SessionNumber};
use super::session::{Batch, Full, Pending, Reader, Session, SessionId, Stored};
use std::sync::Arc;

/// What is loaded at once for a session.
const BATCH: Batch = Batch {
    len_max: 1024,
    bytes_max: 256 * 1024,
};
/// The same while there is little room for it.
const SMALL_BATCH: Batch = Batch {
    len_max: 64,
    bytes_max: 16 * 1024,
};

impl Engine {
    /// Lets a message wait for a session: here while there is room, else in the log, if it is
    /// recorded there.
    ///
    /// # Errors
    /// If the session's queue is full.
    pub(super) fn let_wait(&mut self, id: SessionId, pending: Pending) -> Result<(), Full> {
        let Some(session) = self.sessions.get_mut(id) else {
            return Ok(());
        };
        let has_room = self.cache.has_room(session.reader());
        match pending.number {
            Some(number) if session.queue.has_stored() || !has_room => {
                session.queue.store(Stored::new(pending, number))?;
            }
            Some(_) | None => session.queue.push(pending, &mut self.cache)?,
        }
        self.load(id);
        Ok(())
    }

    /// Asks for what a connected session is to be sent next, if little of it is here.
    pub(super) fn load(&mut self, id: SessionId) {
        let waits = |session: &Session| session.queue.has_stored() && session.is_here();
        if !self.sessions.get(id).is_some_and(waits) {
            return;
        }
        self.drop_expired(id);
        let has_room = self.cache.has_room(Reader::Away);
        let batch = if has_room { BATCH } else { SMALL_BATCH };
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Some(messages) = session.queue.next_load(batch) {
            let session = session.number;
            self.loading.insert(session, id);
            self.effects.loads.push(Load { session, messages });
        }
    }

    /// The log has what was asked for.
    pub(super) fn loaded(
        &mut self,
        session: SessionNumber,
        mut messages: Vec<(MessageNumber, Arc<Message>)>,
    ) {
        // Who has ended since needs nothing.
        let Some(id) = self.loading.remove(&session) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if !session.is_here() {
            // It asks again when it comes back.
            messages.clear();
        }
        session.queue.loaded(messages, &mut self.cache);
        self.pump(id);
    }

    /// A client has left: where there is little room, what waits for it waits in the log.
    pub(super) fn unload(&mut self, id: SessionId) {
        if self.cache.has_room(Reader::Away) {
            return;
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.queue.unload(&mut self.cache);
        }
    }
}

impl Session {
    fn is_here(&self) -> bool {
        self.connected().is_some()
    }

    fn reader(&self) -> Reader {
        if self.is_here() {
            Reader::Here
        } else {
            Reader::Away
        }
    }
}
