//! MQTT 3.1.1 and 5.0 on the wire, as pure functions of bytes and time.
//!
//! Nothing here does I/O or reads a clock; nothing outside this crate knows an MQTT byte.
//!
//! - [`packet`] is the one model of all packets, for both versions and both directions.
//! - [`topic`] holds what may be published to and what may be subscribed to.
//! - [`wire`] turns bytes into packets and packets into bytes.
//! - [`connection`] is what dies with the socket: framing, keep-alive, topic aliases.
//! - [`delivery`] is what outlives it: packet ids, what is in flight, the QoS 2 memory.

pub mod connection;
pub mod delivery;
mod error;
pub mod packet;
mod reason_code;
mod scan;
mod text;
pub mod topic;
pub mod wire;

pub use error::ProtocolError;
pub use reason_code::ReasonCode;
pub use text::{InvalidText, Text};
