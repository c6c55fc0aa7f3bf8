//! Effects: everything a turn wants done.
//!
//! The shard carries them out: records first, then what does not wait for them, then, once the
//! records are durable, the rest.

mod speech;

pub use speech::{Greeting, Speech};

use super::input::ConnectionId;
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
    /// To be told to the shards they came from once the records of this turn are durable, at most
    /// one to each.
    pub forwards_taken: Vec<ForwardsTaken>,
    /// Which standings everybody who is here was judged by.
    pub judged: Vec<Judged>,
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

/// That everybody who is here was judged by a standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Which one.
    pub version: u64,
    /// The connections that are closed for it.
    pub closed: Vec<ConnectionId>,
}

/// A message on its way to the sessions of the other shards.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The shard it came to.
    pub from: u32,
    /// What the records of that shard call it; at QoS 0, unless it is retained, it has none. Those
    /// of a shard rise.
    pub number: Option<MessageNumber>,
    /// The message, its permit given by the shard it came to.
    pub message: Arc<Message>,
    /// When it may be handed over.
    pub after: After,
}

impl Effects {
    /// Another shard is told that its forwards were taken.
    pub(super) fn acknowledge(&mut self, taken: ForwardsTaken) {
        let known = self.forwards_taken.iter_mut();
        match known.into_iter().find(|known| known.from == taken.from) {
            Some(known) => known.up_to = known.up_to.max(taken.up_to),
            None => self.forwards_taken.push(taken),
        }
    }
}

/// That a shard has taken forwards, and that the shard they came from need not keep them for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardsTaken {
    /// Who has.
    pub by: u32,
    /// Where they came from: whom to tell.
    pub from: u32,
    /// All up to this one.
    pub up_to: MessageNumber,
}
