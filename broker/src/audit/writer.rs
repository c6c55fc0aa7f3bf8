//! The file of the audit log: begun, continued, and put aside when it is long enough.
//!
//! A file begins with a line that says which link it follows, so that files chain like lines. What
//! a crash left half-written is cut off and its length said; any other break is left as it is.

use super::chain::Link;
use super::event::{Entry, OfLog};
use super::verify::{Ending, VerifyError, verify_as_far_as_whole};
use crate::config;
use crate::shard::wall_time;
use serde::Serialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How the lines are to be read.
pub(super) const FORMAT: u32 = 1;

/// The audit log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// It cannot be written or read.
    #[error("{}: the audit log cannot be opened", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody has changed it: what came after would hide that.
    #[error("{}: the audit log is not whole; keep it and put another in its place", path.display())]
    NotWhole {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: VerifyError,
    },
}

/// Writes lines.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    len: u64,
    len_max: u64,
    files_max: usize,
    link: Link,
    next: u64,
}

/// A line as it is written, its link apart.
#[derive(Serialize)]
struct Line<'a> {
    n: u64,
    at_ms: u64,
    #[serde(flatten)]
    entry: &'a Entry,
}

impl Writer {
    /// Opens the file and says in it that the broker began.
    pub(super) fn open(path: &Path, settings: &config::Audit) -> Result<Self, AuditError> {
        let system = |source| AuditError::new(path, source);
        let before = match verify_as_far_as_whole(path) {
            Ok(verified) => Some(verified),
            Err(VerifyError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                None
            }
            Err(source) => {
                let path = path.to_owned();
                return Err(AuditError::NotWhole { path, source });
            }
        };
        let file = open(path).map_err(system)?;
        let torn_bytes = before.as_ref().map_or(0, |it| it.torn_bytes);
        let len = before.as_ref().map_or(0, |it| it.len);
        file.set_len(len).map_err(system)?;
        let mut writer = Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            len,
            len_max: settings.file_bytes_max,
            files_max: settings.files_max,
            link: Link::none(),
            next: 0,
        };
        let now = wall_time().millis();
        let first = match before.filter(|it| it.verified.lines > 0) {
            Some(before) => {
                writer.next = before.verified.last_n + 1;
                writer.link = before.link;
                if before.verified.ending == Ending::Rotated {
                    // It ended between putting the file aside and beginning the next.
                    writer.begin_next(now)
                } else {
                    writer.write(now, &Entry::OfLog(OfLog::Continued { torn_bytes }))
                }
            }
            None => writer.begin(now),
        };
        first.and_then(|()| writer.flush()).map_err(system)?;
        Ok(writer)
    }

    /// Writes a line. It is with the system after [`Self::flush`].
    pub(super) fn write(&mut self, at_ms: u64, entry: &Entry) -> io::Result<()> {
        self.write_line(at_ms, entry)?;
        if self.len >= self.len_max {
            self.write_line(at_ms, &Entry::OfLog(OfLog::Rotated {}))?;
            self.sync()?;
            self.begin_next(at_ms)?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// Brings all to the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.get_ref().sync_data()
    }

    fn write_line(&mut self, at_ms: u64, entry: &Entry) -> io::Result<()> {
        let line = Line {
            n: self.next,
            at_ms,
            entry,
        };
        let mut next = self.link.clone();
        let mut line = next.append(&serde_json::to_string(&line)?);
        line.push('\n');
        self.file.write_all(line.as_bytes())?;
        self.link = next;
        self.next += 1;
        self.len += line.len() as u64;
        Ok(())
    }

    fn begin(&mut self, at_ms: u64) -> io::Result<()> {
        let begins = OfLog::Begins {
            format: FORMAT,
            broker: concat!("countersign ", env!("CARGO_PKG_VERSION")),
            follows: self.link.as_str().into(),
        };
        self.write_line(at_ms, &Entry::OfLog(begins))
    }

    /// Puts the file aside and begins another; the oldest of too many goes.
    fn begin_next(&mut self, at_ms: u64) -> io::Result<()> {
        for number in (1..self.files_max).rev() {
            let (from, to) = (self.aside(number - 1), self.aside(number));
            match fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        if self.files_max == 1 {
            fs::remove_file(&self.path)?;
        }
        self.file = BufWriter::new(open(&self.path)?);
        self.len = 0;
        self.begin(at_ms)
    }

    /// The file itself, and those put aside, the latest first.
    fn aside(&self, number: usize) -> PathBuf {
        if number == 0 {
            return self.path.clone();
        }
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

impl AuditError {
    pub(super) fn new(path: &Path, source: io::Error) -> Self {
        Self::System {
            path: path.to_owned(),
            source,
        }
    }
}

/// For us alone: it says who talks to whom.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}
