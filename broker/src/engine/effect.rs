//! Effect: everything the engine can want done.
//!
//! The shard carries effects out in their order: records first, then what does not wait for
//! them, then, once the records are durable, the rest.

use super::close_reason::CloseReason;
use super::input::ConnectionId;
use super::message::{Delivery, Message};
use super::record::Record;
use protocol::packet::Packet;
use std::sync::Arc;

/// Something to do.
#[derive(Debug)]
pub enum Effect {
    /// To be durable before any later speech that waits.
    Record(Record),
    /// To be said to one connection.
    Speak(Speech),
    /// To be handed to every other shard. Emitted only where there is more than one.
    Forward(Forward),
}

/// What one connection is to be told, and when.
#[derive(Debug)]
pub struct Speech {
    /// Whom to tell.
    pub connection: ConnectionId,
    /// What.
    pub outgoing: Outgoing,
    /// When. Speech of one connection keeps its order whatever this says.
    pub after: After,
}

/// What a speech waits for. The greater, the longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum After {
    /// Nothing: it promises nothing.
    Nothing,
    /// All records emitted before it in this turn.
    Sync,
}

/// What is said.
#[derive(Debug)]
pub enum Outgoing {
    /// A packet that is not a PUBLISH.
    Packet(Packet),
    /// A message.
    Deliver(Delivery),
    /// Say [`Input::Drained`] once all that came before has been written to the socket.
    ///
    /// [`Input::Drained`]: super::Input::Drained
    AskDrained,
    /// Say [`CloseReason::disconnect`] where the version can, then close. The engine has already
    /// let go of the connection and ignores what it still sends.
    Close(CloseReason),
}

/// A message on its way to the sessions of the other shards.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The message, its permit given by the shard it came to.
    pub message: Arc<Message>,
    /// When it may be handed over.
    pub after: After,
}
