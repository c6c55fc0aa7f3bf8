//! `countersign ca doctor`: what an operator should look at, each with the command that mends it.
//!
//! Nothing is changed, no key is opened, and one thing that is wrong does not hide the others:
//! what cannot be looked at is a finding.

mod disk;
mod expiry;
mod list;
mod registry;
mod root_list;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use certs::WithCauses;
use rustls_pki_types::UnixTime;

use crate::authority::Hierarchy;
use crate::error::CommandError;
use crate::files;
use crate::layout::Layout;

/// What became of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// Why, in words.
    pub why: Box<str>,
    /// The command that mends it, when there is one.
    pub mend: Option<Box<str>>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and will not for ever.
    Warn,
    /// It is wrong.
    Bad,
}

impl Verdict {
    /// The verdict in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// What a whole examination found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// Every check, in a fixed order.
    pub checks: Vec<Check>,
    /// The newest revocation list of the active device CA among the files: its id and its number.
    pub newest_list: Option<(certs::ListId, certs::ListNumber)>,
}

impl Check {
    /// All is well.
    pub fn ok(name: &'static str, why: impl fmt::Display) -> Self {
        Self::new(name, Verdict::Ok, why)
    }

    /// It should be looked at.
    pub fn warn(name: &'static str, why: impl fmt::Display) -> Self {
        Self::new(name, Verdict::Warn, why)
    }

    /// It is wrong.
    pub fn bad(name: &'static str, why: impl fmt::Display) -> Self {
        Self::new(name, Verdict::Bad, why)
    }

    /// With the command that mends it.
    #[must_use]
    pub fn mended_by(self, command: impl fmt::Display) -> Self {
        let mend = Some(command.to_string().into());
        Self { mend, ..self }
    }

    fn new(name: &'static str, verdict: Verdict, why: impl fmt::Display) -> Self {
        Self {
            name,
            verdict,
            why: why.to_string().into(),
            mend: None,
        }
    }
}

/// Examines the directory of an authority; what ends within `soon` is named.
///
/// # Errors
/// [`CommandError::NoAuthority`] when there is none in `dir`.
pub fn ca_doctor(dir: &Path, soon: Duration, now: UnixTime) -> Result<Diagnosis, CommandError> {
    let layout = Layout::new(dir);
    if !files::exists(&layout.registry())? {
        return Err(CommandError::NoAuthority { dir: dir.into() });
    }
    // Held while the files are looked at: whoever works here has temporary ones.
    let opened = Hierarchy::open(dir);
    let mut checks = disk::check(&layout)?;
    let mut newest_list = None;
    match &opened {
        Err(why) => checks.push(Check::bad("authorities", WithCauses(why))),
        Ok(ca) => {
            checks.push(registry::check_keys(ca));
            checks.push(seen("clock", registry::check_clock(ca, now)));
            checks.extend(expiry::check(ca, (now, soon)));
            let (lists, newest) = list::check(ca, now);
            checks.extend(lists);
            newest_list = newest;
            checks.extend(root_list::check(ca, now).map(|it| seen("list of the root", it)));
            checks.push(seen("registry", registry::check_registry(ca)));
            checks.push(registry::check_audit(ca));
        }
    }
    Ok(Diagnosis {
        checks,
        newest_list,
    })
}

/// What cannot be looked at is wrong.
fn seen(name: &'static str, check: Result<Check, CommandError>) -> Check {
    check.unwrap_or_else(|why| Check::bad(name, WithCauses(&why)))
}

/// A path as a shell takes it, as one word.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests;
