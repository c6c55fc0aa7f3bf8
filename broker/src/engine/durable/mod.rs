//! What outlives the process, on its way back: what an engine begins with, what it has the log
//! load, and what it refuses while the disk is full.
//!
//! What was acknowledged is owed until the records say that it is settled.

mod forwards;
mod load;
mod qos0;
mod restore;
mod room;

pub(super) use forwards::Forwards;
pub(super) use qos0::Qos0;
pub(super) use restore::Beginning;
pub use restore::{NotRestored, Restored, RestoredPending, RestoredSession};
