//! The loader: a thread that fetches contents for sessions whose client is there again.

use super::contents;
use super::desk::Desk;
use super::log::LogError;
use super::log::shelf::Shelf;
use super::{Position, Progress};
use crate::engine::Load;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// What is to be loaded, once this turn is in the ledger.
pub(super) type Job = (Position, Load);

/// Loads until nobody asks any more, or until something is not there that must be.
pub(super) fn run(jobs: &Receiver<Job>, (shelf, desk): (&Shelf, &Desk), tell: &dyn Fn(Progress)) {
    for (position, load) in jobs {
        if desk.wait_for(position).is_err() {
            return;
        }
        match fetch(&load, (shelf, desk)) {
            Ok(loaded) => tell(loaded),
            Err(error) => return tell(Progress::Failed(Arc::new(error))),
        }
    }
}

/// Loads what the ledger knows.
///
/// # Errors
/// If something is not there that must be.
pub(super) fn fetch(load: &Load, (shelf, desk): (&Shelf, &Desk)) -> Result<Progress, LogError> {
    let read = |placed: &[_]| contents::messages(shelf, placed);
    let messages = contents::of_needed(desk, &load.messages, read)?;
    Ok(Progress::Loaded {
        session: load.session,
        messages,
    })
}
