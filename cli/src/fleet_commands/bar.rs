//! How far a fleet is: a bar on a terminal, and nothing anywhere else.

use fleet::run::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// The bar's length, as progress is told.
const LENGTH: u64 = 1000;

/// What is drawn on stderr.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    devices: u32,
}

impl Bar {
    pub(super) fn new(devices: u32) -> Self {
        // It draws on stderr, and only where that is a terminal.
        let bar = ProgressBar::new(LENGTH);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {elapsed}  {msg}") {
            bar.set_style(style);
        }
        Self { bar, devices }
    }

    pub(super) fn show(&self, progress: &Progress) {
        let (counts, devices) = (&progress.counts, self.devices);
        let doing = if progress.is_settling {
            "settling, "
        } else {
            ""
        };
        self.bar.set_position(progress.per_mille);
        self.bar.set_message(format!(
            "{doing}{} of {devices} connected, {} acknowledged, {} heard, {} refused",
            counts.connected, counts.acknowledged, counts.heard, counts.refused
        ));
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
