//! Whether an audit log is as it was written.
//!
//! Every line must follow the one before it. What was cut off at the end, whole lines of it, no
//! chain can know: so the last link and the way it ends are told, to be compared.

use super::chain::Link;
use super::writer::FORMAT;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// A line is never longer.
const LINE_LEN_MAX: u64 = 64 * 1024;

/// A log that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many lines it has.
    pub lines: u64,
    /// The number of its first line.
    pub first_n: u64,
    /// The number of its last line.
    pub last_n: u64,
    /// The link its first line follows: the last one of the file before it, or zeros.
    pub follows: Box<str>,
    /// Its last link.
    pub head: Box<str>,
    /// How it ends.
    pub ending: Ending,
}

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The broker ended in good order.
    Ended,
    /// Another file follows.
    Rotated,
    /// Neither: the broker runs, or was killed, or the end was cut off.
    Open,
}

/// The first line that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Broken {
    /// Which one, from 1.
    pub line: u64,
    /// What is wrong.
    pub why: &'static str,
}

/// A log is not whole, or is none.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its chain is broken.
    #[error("{}: the chain is broken", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where.
        source: Broken,
    },
}

/// What is whole of a log.
pub(super) struct Whole {
    pub(super) verified: Verified,
    pub(super) link: Link,
    /// Its length up to there.
    pub(super) len: u64,
    /// What is behind that and was not written to its end.
    pub(super) torn_bytes: u64,
}

/// What a line must say, whatever else it says.
#[derive(Deserialize)]
struct Line {
    n: u64,
    event: Box<str>,
    format: Option<u32>,
    follows: Option<Box<str>>,
}

/// Reads a log from its first line to its last.
///
/// # Errors
/// If it cannot be read, or its chain is broken; the first such line is named.
pub fn verify(path: &Path) -> Result<Verified, VerifyError> {
    let whole = verify_as_far_as_whole(path)?;
    let broken = |line, why| VerifyError::Broken {
        path: path.to_owned(),
        source: Broken { line, why },
    };
    let lines = whole.verified.lines;
    if whole.torn_bytes > 0 {
        return Err(broken(lines + 1, "it is not written to its end"));
    }
    if lines == 0 {
        return Err(broken(1, "there is none"));
    }
    Ok(whole.verified)
}

/// The same, but a last line without its end is left out.
pub(super) fn verify_as_far_as_whole(path: &Path) -> Result<Whole, VerifyError> {
    let unreadable = |source| VerifyError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut whole = Whole::empty();
    let mut line = String::new();
    loop {
        line.clear();
        let read = io::Read::take(&mut file, LINE_LEN_MAX).read_line(&mut line);
        let number = whole.verified.lines + 1;
        let broken = |why| VerifyError::Broken {
            path: path.to_owned(),
            source: Broken { line: number, why },
        };
        let len = match read {
            Ok(0) => return Ok(whole),
            Ok(len) => len as u64,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(broken("it is no text"));
            }
            Err(error) => return Err(unreadable(error)),
        };
        let Some(text) = line.strip_suffix('\n') else {
            if len == LINE_LEN_MAX {
                return Err(broken("it is longer than any line of ours"));
            }
            whole.torn_bytes = len;
            return Ok(whole);
        };
        whole.take(text, len).map_err(broken)?;
    }
}

impl Whole {
    fn empty() -> Self {
        let link = Link::none();
        Self {
            verified: Verified {
                lines: 0,
                first_n: 0,
                last_n: 0,
                follows: link.as_str().into(),
                head: link.as_str().into(),
                ending: Ending::Open,
            },
            link,
            len: 0,
            torn_bytes: 0,
        }
    }

    fn take(&mut self, text: &str, len: u64) -> Result<(), &'static str> {
        let line: Line = serde_json::from_str(text).map_err(|_| "it is no line of ours")?;
        let verified = &mut self.verified;
        if verified.lines == 0 {
            let follows = line.follows.as_deref().and_then(Link::parse);
            let is_header = &*line.event == "begins" && line.format == Some(FORMAT);
            let follows = follows.filter(|_| is_header);
            self.link = follows.ok_or("it is not the first line of an audit log")?;
            verified.follows = self.link.as_str().into();
            verified.first_n = line.n;
        }
        let next = self.link.follow(text);
        self.link = next.ok_or("it does not follow the line before, or was changed")?;
        if verified.lines > 0 && line.n != verified.last_n + 1 {
            return Err("its number does not follow the line before");
        }
        verified.lines += 1;
        verified.last_n = line.n;
        verified.head = self.link.as_str().into();
        verified.ending = match &*line.event {
            "ended" => Ending::Ended,
            "rotated" => Ending::Rotated,
            _ => Ending::Open,
        };
        self.len += len;
        Ok(())
    }
}
