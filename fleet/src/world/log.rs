//! What one broker logs, apart from what others in the process do.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::Dispatch;
use tracing::dispatcher::{DefaultGuard, set_default};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// So many lines are kept; older ones go.
const LINES_MAX: usize = 10_000;

/// Lines, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<VecDeque<String>>>);

thread_local! {
    static GUARD: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

impl Log {
    /// What a thread is to do when it begins, so that it logs here.
    pub(super) fn follow_thread(&self) -> impl Fn() + Send + Sync + 'static {
        let lines = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_ansi(false)
            .with_target(false)
            .with_writer(self.clone());
        let dispatch = Dispatch::new(lines.finish());
        move || GUARD.set(Some(set_default(&dispatch)))
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }
}

impl Write for Log {
    /// Takes one event, which ends with a line end.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(event);
        lines.push_back(text.trim_end().to_owned());
        if lines.len() > LINES_MAX {
            lines.pop_front();
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
