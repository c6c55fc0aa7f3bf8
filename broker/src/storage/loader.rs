//! The loader: a thread that fetches contents for sessions whose client is there again.

use super::contents;
use super::desk::Desk;
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
        let read = |placed: &[_]| contents::messages(shelf, placed);
        match contents::of_needed(desk, &load.messages, read) {
            Ok(messages) => tell(Progress::Loaded {
                session: load.session,
                messages,
            }),
            Err(error) => return tell(Progress::Failed(Arc::new(error))),
        }
    }
}
