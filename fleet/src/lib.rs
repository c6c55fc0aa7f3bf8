//! Many devices at once.
//!
//! [`TestBroker`] is a whole broker for a test, with an authority of its own and a certificate for
//! every device. [`load`] puts a broker under load, checks every message, and says what the load
//! cost it.

mod device;
mod host;
pub mod load;
pub mod run;
pub mod scenario;
pub mod verdict;
mod wire;
mod world;

pub use world::{TestBroker, TestBrokerBuilder, WorldError};
