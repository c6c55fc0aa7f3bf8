//! How far a batch has come, with its rate and the time left: on a terminal, and nowhere else.

use indicatif::{ProgressBar, ProgressStyle};
use provisioning::BatchStatus;
use std::cell::Cell;

/// What is drawn on stderr.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    begun: Cell<bool>,
}

impl Bar {
    pub(super) fn new() -> Self {
        // It draws on stderr, and only where that is a terminal.
        let bar = ProgressBar::new(0);
        let template = "{pos}/{len} {wide_bar} {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let begun = Cell::new(false);
        Self { bar, begun }
    }

    pub(super) fn show(&self, status: &BatchStatus) {
        let standing = status.standing;
        let done = u64::from(standing.rows.saturating_sub(standing.waiting));
        if !self.begun.replace(true) {
            self.bar.set_length(standing.rows.into());
            // What another process did before says nothing of how fast this one is.
            self.bar.set_position(done);
            self.bar.reset_eta();
        }
        self.bar.set_position(done);
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
