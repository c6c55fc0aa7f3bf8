//! A command that did not succeed: words for a person on stderr, and an exit code for a script.

use certs::WithCauses;
use provisioning::CommandError;
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// It was tried and failed.
pub(crate) const FAILED: u8 = 1;
/// The command line or a configuration file is wrong.
pub(crate) const USAGE: u8 = 2;
/// Some of it was done.
pub(crate) const PARTLY: u8 = 3;

/// What the command is about does not exist.
pub(crate) const NOT_FOUND: u8 = 4;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    lines: Vec<String>,
}

impl Failure {
    /// A failure in words that name what would be right.
    pub(crate) fn new(code: u8, words: impl Into<String>) -> Self {
        Self {
            code,
            lines: vec![words.into()],
        }
    }

    /// A failure of which all was said already.
    pub(crate) fn silent(code: u8) -> Self {
        let lines = Vec::new();
        Self { code, lines }
    }

    /// Several mistakes, a line each.
    pub(crate) fn mistakes<E: Error>(code: u8, mistakes: &[E]) -> Self {
        Self {
            code,
            lines: mistakes
                .iter()
                .map(|mistake| WithCauses(mistake).to_string())
                .collect(),
        }
    }

    /// Any error with its causes.
    pub(crate) fn from_error(code: u8, error: &dyn Error) -> Self {
        Self::new(code, WithCauses(error).to_string())
    }

    /// A file that cannot be read, or is missing.
    pub(crate) fn cannot_read(path: &Path, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => FAILED,
        };
        Self::new(code, format!("cannot read {}", path.display())).because(error)
    }

    /// Says the lines of another failure too.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.lines.extend(other.lines);
        self
    }

    /// Adds the cause.
    pub(crate) fn because(mut self, cause: &dyn Error) -> Self {
        if let Some(last) = self.lines.last_mut() {
            // Writing to a string does not fail.
            let _ = write!(last, ": {}", WithCauses(cause));
        }
        self
    }

    /// Prints it and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        for line in &self.lines {
            eprintln!("countersign: {line}");
        }
        ExitCode::from(self.code)
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::from_error(error.exit_class().code(), &error)
    }
}
