//! Storage: where the records of a shard become durable.
//!
//! A back-end is handed the records of one turn at a time and says up to where they are safe.
//! An error is final: nobody knows any more what the disk holds, so the broker stops.

pub mod log;
mod memory;

pub use memory::Memory;

use crate::engine::Record;

/// How far a log has come: the number of turns it has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// A log of records.
pub trait Storage: Send {
    /// Takes the records of one turn. They are durable once [`Self::durable`] has reached the
    /// position that is returned.
    ///
    /// # Errors
    /// If they could not be written. The log must not be used again.
    fn append(&mut self, records: &mut Vec<Record>) -> Result<Position, StorageError>;

    /// Up to where everything survives whatever this back-end promises to survive.
    fn durable(&self) -> Position;
}

/// Our disk failed. Final for the process.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The records of a turn could not be written.
    #[error("writing the records of a turn")]
    Append(#[source] std::io::Error),
    /// The log on the disk has failed.
    #[error(transparent)]
    Log(#[from] std::sync::Arc<log::LogError>),
    /// A turn did not come to its end, so that what it decided may be half done.
    #[error("a turn panicked")]
    TurnPanicked,
}
