//! Effects: everything a turn wants done.
//!
//! The shard carries them out: records first, then what does not wait for them, then, once the
//! records are durable, the rest.

mod speech;

pub use speech::{Greeting, Speech};

use super::message::Message;
use super::record::{MessageNumber, Record, SessionNumber};
use std::sync::Arc;

/// What the inputs of one turn have led to.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be durable before any speech of this turn that waits, in their order.
    pub records: Vec<Record>,
    /// To be said: one for each connection that there is something to say to.
    pub speech: Vec<Speech>,
    /// To be handed to every other shard, in their order. Only where there is more than one.
    pub forwards: Vec<Forward>,
    /// To be read from the log, records of this turn included.
    pub loads: Vec<Load>,
}

/// Contents that a session will soon send. There is one at a time of a session, and
/// [`Input::Loaded`] answers it.
///
/// [`Input::Loaded`]: super::Input::Loaded
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Which session.
    pub session: SessionNumber,
    /// Whose contents, in the order in which they are sent.
    pub messages: Vec<MessageNumber>,
}

/// What a speech waits for. The greater, the longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum After {
    /// Nothing: it promises nothing.
    Nothing,
    /// All records of its turn.
    Sync,
}

/// A message on its way to the sessions of the other shards.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The message, its permit given by the shard it came to.
    pub message: Arc<Message>,
    /// When it may be handed over.
    pub after: After,
}
