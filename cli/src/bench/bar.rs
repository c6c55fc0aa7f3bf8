//! A progress bar on a terminal, and nothing anywhere else.

use fleet::load::Phase;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::time::Duration;

/// The bar's length; a phase that knows only its part is that part of it.
const LENGTH: u64 = 1000;

/// What is drawn on stderr.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    /// The phase that is drawn.
    phase: Cell<&'static str>,
}

impl Bar {
    pub(super) fn new() -> Self {
        // It draws on stderr, and only where that is a terminal.
        let bar = ProgressBar::new(LENGTH);
        if let Ok(style) = ProgressStyle::with_template("{msg:<11} {wide_bar} {elapsed}") {
            bar.set_style(style);
        }
        Self {
            bar,
            phase: Cell::new(""),
        }
    }

    pub(super) fn show(&self, phase: Phase) {
        match phase {
            Phase::Connecting(done, of) => self.draw("connecting", done * LENGTH / of.max(1)),
            Phase::Warming(part) => self.draw("warming up", places(part)),
            Phase::Measuring(part) => self.draw("measuring", places(part)),
            Phase::Draining => self.draw("draining", LENGTH),
        }
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn draw(&self, phase: &'static str, place: u64) {
        if self.phase.replace(phase) != phase {
            self.bar.reset();
            self.bar.set_message(phase);
        }
        self.bar.set_position(place);
    }
}

/// The part of the bar, in whole places.
fn places(part: f64) -> u64 {
    // Of durations one may have the part, and their lengths are whole numbers.
    let part = Duration::try_from_secs_f64(part).unwrap_or_default();
    u64::try_from(part.as_millis())
        .unwrap_or(LENGTH)
        .min(LENGTH)
}
