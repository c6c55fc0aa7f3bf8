//! What dies with the socket: framing, keep-alive, topic aliases.
//!
//! Time is an argument here, and bytes come in a buffer that somebody else fills.

mod alias;
mod framing;
mod keep_alive;
mod topics;

pub use alias::AliasesOut;
pub use framing::{ClientConnection, ServerConnection};
pub use keep_alive::KeepAlive;
