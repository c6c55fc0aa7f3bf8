//! Many devices at once.
//!
//! [`TestBroker`] is a whole broker for a test, with an authority of its own and a certificate for
//! every device. [`load`] puts a broker under load, checks every message, and says what the load
//! cost it.

pub mod load;
mod wire;
mod world;

pub use world::{TestBroker, TestBrokerBuilder, WorldError};
