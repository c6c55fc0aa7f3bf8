//! What can be wrong with a log. Each error names the file, and where it can the offset.
//!
//! All are final: a log that has failed is not written again, and one that is damaged is not
//! opened.

use super::record::Malformed;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// The log cannot be opened, or not be written any more.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused.
    #[error("{operation} {}", path.display())]
    Disk {
        /// What was to be done.
        operation: Operation,
        /// With which file.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
    /// The disk is full.
    #[error("no space for {}: it takes {size} bytes (`segment_bytes`), {free} are free",
        path.display())]
    Full {
        /// What was to be written.
        path: PathBuf,
        /// How long it is as a whole.
        size: u64,
        /// How much room there is.
        free: Free,
        /// What the operating system says.
        source: io::Error,
    },
    /// What was once written is not there any more.
    #[error("{} is damaged at offset {offset}: {damage}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where what is whole ends.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// A segment is not there, and those before and behind are.
    #[error("{} is missing", path.display())]
    Missing {
        /// Which one.
        path: PathBuf,
    },
    /// The log does not reach back to the checkpoint.
    #[error("{} begins after turn {begins}, but the checkpoint is of turn {covered}",
        path.display())]
    BeginsLate {
        /// The first segment.
        path: PathBuf,
        /// Up to which turn the segments before it went.
        begins: u64,
        /// Up to which turn nothing is needed.
        covered: u64,
    },
    /// The checkpoint knows more than the log.
    #[error("the log in {} ends with turn {ends}, but the checkpoint is of turn {covered}",
        path.display())]
    EndsEarly {
        /// The folder.
        path: PathBuf,
        /// The last turn there is.
        ends: u64,
        /// Up to which turn nothing is needed.
        covered: u64,
    },
    /// It was written by another version of the broker.
    #[error("{} has format version {found}; this broker reads {known}", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// The version it names.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// It belongs to another shard.
    #[error("{} is of shard {found}, not of shard {expected}", path.display())]
    Shard {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        found: u32,
        /// Whose it should be.
        expected: u32,
    },
    /// A turn has more records than a frame can hold.
    #[error("the records of a turn take more than 4 GiB")]
    TurnTooLong,
    /// A message is needed and its segment is not there.
    #[error("{} is missing, and messages in it are needed", path.display())]
    Needed {
        /// The segment.
        path: PathBuf,
    },
    /// A thread without which there is no log is no more.
    #[error("a thread of the log panicked")]
    ThreadLost,
}

/// What was done with a file when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each says what it says")]
pub enum Operation {
    List,
    Create,
    Open,
    Read,
    Write,
    Sync,
    Rename,
    Remove,
}

/// How a log is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The header is not as it was written.
    #[error("the header is not whole")]
    Header,
    /// The file is shorter or longer than it was made.
    #[error("the file has {found} bytes and was made with {made}")]
    Size {
        /// Its length.
        found: u64,
        /// The length in its header.
        made: u64,
    },
    /// A frame is not as it was written, and others follow.
    #[error("the frame of turn {turn} is not whole, and later ones are there")]
    Frame {
        /// The first turn that is lost.
        turn: u64,
    },
    /// A checkpoint is not as it was written.
    #[error("the checkpoint is not whole")]
    Saved,
    /// The content of a message is not as it was written.
    #[error("the content of message {number} is not whole")]
    Content {
        /// Which message.
        number: u64,
    },
    /// A segment does not continue the one before.
    #[error("turn {turn} should follow, and the next segment goes on after turn {after}")]
    Gap {
        /// The first turn that is lost.
        turn: u64,
        /// Up to where the next segment says that the ones before it go.
        after: u64,
    },
    /// A frame is whole, but we do not understand it.
    #[error("the frame of turn {turn} has no meaning: {malformed}")]
    Meaning {
        /// Its first turn.
        turn: u64,
        /// What is not understood.
        malformed: Malformed,
    },
}

/// How many bytes are free, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free(pub Option<u64>);

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "listing",
            Self::Create => "creating",
            Self::Open => "opening",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Sync => "syncing",
            Self::Rename => "renaming",
            Self::Remove => "removing",
        })
    }
}

impl fmt::Display for Free {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{bytes}"),
            None => f.write_str("nobody knows how many"),
        }
    }
}
