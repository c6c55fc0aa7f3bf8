//! What one broker logs, apart from what others in the process do.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use tracing::Dispatch;
use tracing::dispatcher::{DefaultGuard, set_default};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::fmt::MakeWriter;

/// So many lines are kept; older ones go.
const LINES_MAX: usize = 10_000;

/// Lines, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<VecDeque<String>>>);

/// Where there is only one dispatcher, the first thread that comes to a line decides for all
/// threads whether it is read. With this one there are always two, and each is asked.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

thread_local! {
    static GUARD: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

impl Log {
    /// What a thread is to do when it begins, so that it logs here.
    pub(super) fn follow_thread(&self) -> impl Fn() + Send + Sync + 'static {
        LazyLock::force(&ANOTHER);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn say() {
        tracing::info!("said");
    }

    #[test]
    fn a_line_is_kept_though_another_thread_came_to_it_first() {
        let log = Log::default();
        let follow = log.follow_thread();
        thread::spawn(say).join().unwrap();
        thread::spawn(move || {
            follow();
            say();
        })
        .join()
        .unwrap();
        assert_eq!(log.lines().len(), 1, "{:?}", log.lines());
    }
}
