//! What a broker has logged, line by line.
//!
//! A line is kept as it was written: one that spans two lines is two lines here.

use crate::raw::PATIENCE;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// The lines so far. More may come.
#[derive(Clone, Default)]
pub struct Log {
    lines: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Log {
    /// Takes lines from `source` until it ends, on a thread of its own, which ends with it.
    pub fn follow(&self, source: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                log.push(
                    String::from_utf8_lossy(&line)
                        .trim_end_matches('\n')
                        .to_owned(),
                );
                line.clear();
            }
        })
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.0.lock().unwrap().clone()
    }

    /// The first line that holds all of `parts`; waits for it.
    pub fn expect_line(&self, parts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.0.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| holds(line, parts)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "no line with {parts:?} in\n{}",
                lines.join("\n")
            );
            lines = self.lines.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// How many lines hold all of `parts`, so far.
    pub fn count(&self, parts: &[&str]) -> usize {
        self.lines
            .0
            .lock()
            .unwrap()
            .iter()
            .filter(|line| holds(line, parts))
            .count()
    }

    fn push(&self, line: String) {
        self.lines.0.lock().unwrap().push(line);
        self.lines.1.notify_all();
    }
}

fn holds(line: &str, parts: &[&str]) -> bool {
    parts.iter().all(|part| line.contains(part))
}
