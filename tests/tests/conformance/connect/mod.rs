//! §3.1 CONNECT and §3.2 CONNACK.
//!
//! Every refusal here ends the connection; none reaches a session.

mod connack;
mod flags;
mod header;
mod keep_alive;
mod payload;
mod properties;
mod takeover;
mod will;
