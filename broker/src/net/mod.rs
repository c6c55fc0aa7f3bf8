//! The network: from accepted sockets to inputs for the shard, and back.
//!
//! Nothing here decides what MQTT means, and nothing waits for a peer without a limit.

mod brake;
mod connection;
mod door;
mod handshake;
mod listener;
mod listening;
mod report;
mod speaking;

pub(crate) use door::Door;
pub(crate) use listener::{Front, accept};
