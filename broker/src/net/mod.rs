//! The network: from accepted sockets to inputs for the shard, and back.
//!
//! Nothing here decides what MQTT means, and nothing waits for a peer without a limit.

mod connection;
mod handshake;
mod listener;
mod listening;
mod speaking;
mod unfinished;

pub(crate) use handshake::Stages;
pub(crate) use listener::{Counters, Front, accept};
pub(crate) use unfinished::Unfinished;
