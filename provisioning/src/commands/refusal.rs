//! What was refused is noted: somebody may be trying something.
//!
//! A refusal that cannot be noted is a refusal all the same.

use std::fmt::Write as _;
use std::path::Path;

use certs::{DeviceId, WithCauses};
use rustls_pki_types::UnixTime;

use crate::error::{CommandError, ExitClass};
use crate::layout::Layout;
use crate::registry::Registry;

/// So much of what was asked for instead of an id is noted.
const SUBJECT_LEN_MAX: usize = 100;

/// Does `work` for `subject`, and notes it in the registry of `dir` if it was refused.
pub(super) fn noted<T>(
    (dir, subject): (&Path, &str),
    now: UnixTime,
    work: impl FnOnce() -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    work().inspect_err(|error| {
        if is_suspicious(error)
            && let Ok(mut registry) = Registry::open_in(&Layout::new(dir))
        {
            let _ = registry.note_refusal(subject, &words(error), now);
        }
    })
}

/// Reads the id of a device for which something is asked of the authority in `dir`.
///
/// # Errors
/// [`CommandError::Id`] when it is none; that is noted, for it may be meant to lead elsewhere.
pub fn device_id(dir: &Path, text: &str, now: UnixTime) -> Result<DeviceId, CommandError> {
    let asked: String = text.chars().take(SUBJECT_LEN_MAX).collect();
    noted((dir, &asked), now, || Ok(DeviceId::parse(text)?))
}

/// Refused by a rule, with a proof that is none, or under names that are none.
fn is_suspicious(error: &CommandError) -> bool {
    match error {
        CommandError::WrongPassphrase(_)
        | CommandError::WrongKey(_)
        | CommandError::Id(_)
        | CommandError::Roster { .. } => true,
        error => error.exit_class() == ExitClass::Refused,
    }
}

fn words(error: &CommandError) -> String {
    let mut words = WithCauses(error).to_string();
    if let CommandError::Roster { mistakes, .. } = error
        && let Some(first) = mistakes.first()
    {
        // Writing to a string does not fail.
        let _ = write!(words, ": {first}");
    }
    words
}
