//! The outbox on disk: what was accepted survives the device.
//!
//! Records are appended to a log of fixed size, one frame and one sync for all that waits. A frame
//! is written when the sync of the one before has returned; so a bad frame with a good one behind
//! it is damage and reported, and a bad one at the end is a write that a power loss cut short.

mod error;
mod frame;
mod log;
mod record;
mod recovery;
mod slots;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{OutboxError, WhenDamaged};
pub(crate) use log::Limits;
pub(crate) use record::{Accepted, Record};
pub(crate) use recovery::{Kept, Stage};
pub(crate) use writer::{Answer, Durable, Writer, open};
