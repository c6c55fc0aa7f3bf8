//! The end of a connection: said by the client, lost, taken over, refused, or ours.
//!
//! A will is discarded only where the client says so [MQTT-3.14.4-3]; in every other case it is
//! due, at once or after its delay.

use super::close_reason::CloseReason;
use super::deadlines::Deadline;
use super::message::Message;
use super::record::Record;
use super::session::{Presence, SessionId};
use super::{After, ConnectionId, Engine, Outgoing};
use protocol::packet::Disconnect;
use protocol::{ProtocolError, ReasonCode};
use std::sync::Arc;

impl Engine {
    /// The client says goodbye.
    pub(super) fn disconnect(&mut self, id: SessionId, disconnect: &Disconnect) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Some(wish) = disconnect.session_expiry_interval {
            if session.expiry == 0 && wish > 0 {
                return self.broke(id, ProtocolError::SessionExpiryFromZero);
            }
            let was_lasting = session.is_lasting();
            session.expiry = wish.min(self.limits.session_expiry_max);
            let (number, is_lasting) = (session.number, session.is_lasting());
            if was_lasting && !is_lasting {
                self.record(Record::SessionEnded { session: number });
            }
        }
        if disconnect.reason == ReasonCode::Success {
            self.discard_will(id);
        }
        self.close(id, CloseReason::Disconnected);
    }

    /// The connection ended without a word.
    pub(super) fn lost(&mut self, connection: ConnectionId) {
        if let Some(id) = self.sessions.of_connection(connection) {
            self.leave(id);
        }
    }

    /// The client broke the protocol towards its session.
    pub(super) fn broke(&mut self, id: SessionId, error: ProtocolError) {
        self.counters.protocol_errors += 1;
        self.close(id, CloseReason::Broke(error));
    }

    /// The broker stops: everybody is told.
    pub(super) fn shut_down(&mut self) {
        let connected: Vec<SessionId> = self.sessions.connected().collect();
        for id in connected {
            self.close(id, CloseReason::Shutdown);
        }
    }

    /// Lets go of a session's connection and tells it why.
    pub(super) fn close(&mut self, id: SessionId, why: CloseReason) {
        let Some(connection) = self
            .sessions
            .get(id)
            .and_then(|session| session.connection())
        else {
            return;
        };
        self.speak(connection, Outgoing::Close(why), After::Nothing);
        self.leave(id);
    }

    /// A session's connection is gone: its clocks begin to run, or it ends.
    fn leave(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let expiry = session.expiry;
        let ends_at = now.after_seconds(expiry);
        self.sessions.disconnect(id, ends_at);
        if expiry == 0 {
            return self.end_session(id);
        }
        self.deadlines.add(ends_at, Deadline::SessionEnd(id));
        if let Some(session) = self.lasting(id) {
            self.record(Record::SessionLeft {
                session,
                at: now,
                expiry,
            });
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.settle_down();
        }
        self.bring_will_forward(id);
    }

    /// Publishes a session's will, or if it has a delay, when that is over.
    fn bring_will_forward(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(will) = &mut session.will else {
            return;
        };
        if will.will.delay_interval == 0 {
            return self.publish_will(id);
        }
        let due = now.after_seconds(will.will.delay_interval);
        will.due = Some(due);
        self.deadlines.add(due, Deadline::Will(id));
    }

    /// Publishes a session's will, if it has one and may still publish it.
    pub(super) fn publish_will(&mut self, id: SessionId) {
        let Some(will) = self.take_will(id) else {
            return;
        };
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        // The policy may have changed since CONNECT.
        let Some(permit) = session.rights.permit_publish(&will.topic) else {
            self.counters.wills_denied += 1;
            return;
        };
        let message = Arc::new(Message::of_will(permit, &will, &session.key, self.now));
        if message.retain() && !message.payload().is_empty() {
            let (len, device) = (message.payload().len(), &session.key.subject);
            if self.retained.admit(message.topic(), len, device).is_err() {
                self.counters.wills_denied += 1;
                return;
            }
        }
        self.counters.wills_published += 1;
        self.give_out_unasked(&message);
    }

    /// Forgets a session's will.
    pub(super) fn discard_will(&mut self, id: SessionId) {
        drop(self.take_will(id));
    }

    fn take_will(&mut self, id: SessionId) -> Option<Arc<protocol::packet::Will>> {
        let session = self.sessions.get_mut(id)?;
        let will = session.will.take()?;
        if let Some(due) = will.due {
            self.deadlines.remove(due, Deadline::Will(id));
        }
        if let Some(session) = self.lasting(id) {
            self.record(Record::WillCleared { session });
        }
        Some(will.will)
    }

    /// Takes out everything that time would have done to a session without a connection.
    pub(super) fn cancel_deadlines(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if let Presence::Away(ends_at) = session.presence {
            self.deadlines.remove(ends_at, Deadline::SessionEnd(id));
        }
        if let Some(due) = session.will.as_mut().and_then(|will| will.due.take()) {
            self.deadlines.remove(due, Deadline::Will(id));
        }
    }
}
