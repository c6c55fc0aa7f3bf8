//! What can be wrong with an outbox on disk, and what there is to do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

/// Why an outbox cannot be used.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// Another process, or another device of this one, holds it.
    #[error("the outbox {} is in use by another device", .path.display())]
    InUse {
        /// Its directory.
        path: PathBuf,
    },
    /// Its directory cannot be made or opened.
    #[error("the outbox {} cannot be opened", .path.display())]
    Unusable {
        /// Its directory.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: Arc<io::Error>,
    },
    /// A file cannot be read, made or written. After a write that failed nobody knows what is on
    /// the disk: it has to be opened again.
    #[error("the outbox file {} cannot be {verb}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was to be done with it.
        verb: &'static str,
        /// What went wrong.
        #[source]
        source: Arc<io::Error>,
    },
    /// Something that had been written is not readable any more, while what was written after it
    /// is: this is no power loss, but a disk that fails or somebody who wrote to the file.
    #[error(
        "the outbox file {} is damaged at byte {offset}: {what}. Nothing was changed. To go on \
         with the messages that can be read, and keep the damaged files aside, open the outbox \
         with `WhenDamaged::SetAside`",
        .path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where.
        offset: u32,
        /// In what way.
        what: &'static str,
    },
}

/// What to do with an outbox that is damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDamaged {
    /// Report it and change nothing.
    #[default]
    Stop,
    /// Go on with what can be read. The damaged files are kept beside it, as `*.damaged-N`; a
    /// message may be sent again that had been acknowledged, and what cannot be read is not sent.
    SetAside,
}
