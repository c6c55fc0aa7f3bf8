//! Storage: where the records of a shard become durable, and what they add up to.
//!
//! A back-end is handed the records of one turn at a time and says up to where they are safe.
//! An error is final: nobody knows any more what the disk holds, so the broker stops.

mod by_number;
mod checkpoint;
mod checkpointer;
mod contents;
mod desk;
mod directory;
mod durable;
mod ledger;
mod loader;
pub mod log;
mod memory;
pub mod offline;
pub mod salvage;
mod state;
mod steps;
#[cfg(test)]
mod tests;

pub use directory::{DataDirectory, DirectoryError};
pub use durable::{Durable, Opened};
pub use memory::Memory;
pub use steps::Steps;

use crate::engine::{Load, Message, MessageNumber, Record, Room, SessionNumber};
use log::LogError;
use std::sync::Arc;

/// How far a log has come: the number of turns it has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// A log of records.
pub trait Storage: Send {
    /// Takes the records of one turn, and never waits for the disk. They are durable once
    /// [`Self::durable`] has reached the position that is returned.
    ///
    /// # Errors
    /// If they could not be written. The log must not be used again.
    fn append(&mut self, records: &mut Vec<Record>) -> Result<Position, StorageError>;

    /// Up to where everything survives whatever this back-end promises to survive.
    fn durable(&self) -> Position;

    /// Whether too much has gathered: no turn is to be taken until there is progress.
    fn is_behind(&self) -> bool;

    /// Fetches the contents of messages, which come as [`Progress::Loaded`], and empties `loads`.
    /// What they name was appended before, in this turn or an earlier one.
    fn load(&mut self, loads: &mut Vec<Load>);
}

/// What storage tells the shard, from threads of its own.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Everything up to here is durable.
    Durable(Position),
    /// What was to be loaded. What nobody needed any more is not in it.
    Loaded {
        /// For which session.
        session: SessionNumber,
        /// In the order in which they were asked for.
        messages: Vec<(MessageNumber, Arc<Message>)>,
    },
    /// Nothing more will be durable, nor be loaded.
    Failed(Arc<LogError>),
    /// There is less room than should be, or enough again.
    Room(Room),
}

/// Our disk failed. Final for the process.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The records of a turn could not be written.
    #[error("writing the records of a turn")]
    Append(#[source] std::io::Error),
    /// The log on the disk has failed.
    #[error(transparent)]
    Log(#[from] Arc<LogError>),
    /// A turn did not come to its end, so that what it decided may be half done.
    #[error("a turn panicked")]
    TurnPanicked,
}
