//! Why a run came to no verdict.

use crate::WorldError;
use crate::device::Unusable;
use crate::load::LoadError;
use std::io;
use std::path::PathBuf;

/// A run that has no verdict: it could not begin, or could not go on.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum RunError {
    #[error(transparent)]
    World(#[from] WorldError),
    #[error(transparent)]
    Identities(#[from] LoadError),
    #[error("{} has {there} devices, and {asked} are asked for: \
             `countersign up --dir {} --devices {asked}` makes more", dir.display(), dir.display())]
    TooFewIdentities {
        dir: PathBuf,
        there: usize,
        asked: usize,
    },
    #[error("{}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the key and certificate of {id} cannot be used")]
    Unusable { id: String, source: Unusable },
    #[error("{0:?} is not HOST:PORT")]
    Address(String),
    #[error("{address} cannot be looked up")]
    Lookup { address: String, source: io::Error },
    #[error("the application cannot come in, or may not hear `devices/+/said`")]
    NoApplication,
    #[error("there must be at least one device")]
    NoDevices,
}
