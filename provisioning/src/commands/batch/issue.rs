//! `countersign batch issue` and `batch resume`: a list becomes a batch, and the batch is done.
//!
//! Everything that can be wrong is found before anything is changed. A batch given again is the
//! same batch: it goes on, or is done.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use certs::DeviceId;
use rustls_pki_types::UnixTime;

use super::check::{check_against, lower, refuse};
use super::payload::{self, Writer, part_file};
use super::status::BatchStatus;
use super::work::{BatchDone, work};
use crate::authority::{Hierarchy, Passphrase};
use crate::commands::refusal::noted;
use crate::error::CommandError;
use crate::files;
use crate::registry::{Batch, BatchFormat};
use crate::roster::{Mistake, Roster};

/// Which list to issue for, and where to.
#[derive(Clone, Copy, Debug)]
pub struct BatchRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// What opens the key of the authority, when it is encrypted.
    pub passphrase: Option<&'a Passphrase>,
    /// The list.
    pub file: &'a Path,
    /// What the batch is called; like a device id.
    pub name: &'a DeviceId,
    /// The directory in which each device gets its own, or the one file.
    pub out: &'a Path,
    /// In which form devices get what was made for them.
    pub format: BatchFormat,
    /// Under what PKCS #12 files are encrypted.
    pub password: Option<&'a Passphrase>,
}

/// Which batch to take up.
#[derive(Clone, Copy, Debug)]
pub struct ResumeRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// What opens the key of the authority, when it is encrypted.
    pub passphrase: Option<&'a Passphrase>,
    /// What the batch is called.
    pub name: &'a DeviceId,
    /// Under what PKCS #12 files are encrypted: the password with which the batch was begun, which
    /// is kept nowhere.
    pub password: Option<&'a Passphrase>,
}

/// Issues a certificate to every device of a list. `seen` is told how far it has come.
///
/// # Errors
/// [`CommandError::Roster`] with every mistake in the list, and what else is in the way.
pub fn batch_issue(
    request: &BatchRequest<'_>,
    seen: &dyn Fn(&BatchStatus),
    now: UnixTime,
) -> Result<BatchDone, CommandError> {
    noted((request.dir, request.name.as_str()), now, || {
        let mut ca = Hierarchy::open_for_devices(request.dir, request.passphrase, now)?;
        let writer = Writer::new(request.format, request.password)?;
        begin(&mut ca, request, now)?;
        work(&mut ca, (request.name, &writer), seen, now)
    })
}

/// Takes up a batch where it was left.
///
/// # Errors
/// [`CommandError::NoSuchBatch`], and what else is in the way.
pub fn batch_resume(
    request: &ResumeRequest<'_>,
    seen: &dyn Fn(&BatchStatus),
    now: UnixTime,
) -> Result<BatchDone, CommandError> {
    noted((request.dir, request.name.as_str()), now, || {
        let mut ca = Hierarchy::open_for_devices(request.dir, request.passphrase, now)?;
        let batch = ca.registry.batch(request.name)?;
        let batch = batch.ok_or_else(|| CommandError::NoSuchBatch(request.name.clone()))?;
        let writer = Writer::new(batch.format, request.password)?;
        work(&mut ca, (request.name, &writer), seen, now)
    })
}

/// Puts the batch on record, unless it is.
fn begin(
    ca: &mut Hierarchy,
    request: &BatchRequest<'_>,
    now: UnixTime,
) -> Result<(), CommandError> {
    // A relative path would mean another place to whoever resumes elsewhere.
    let output = std::path::absolute(request.out)
        .map_err(|source| files::failed("find", request.out, source))?;
    let roster = Roster::open(request.file)?;
    let batch = Batch {
        name: request.name.clone(),
        list: roster.sha256,
        format: request.format,
        output,
        durable: 0,
        created: now,
        finished: None,
    };
    if let Some(found) = ca.registry.batch(request.name)? {
        let same = (found.list, found.format, &found.output);
        if same == (batch.list, batch.format, &batch.output) {
            return Ok(());
        }
        return Err(CommandError::OtherBatch(found.name));
    }
    check_against(&ca.registry, (&roster, request.file), now)?;
    check_output(&batch, (&roster, request.file))?;
    payload::prepare(&batch)?;
    Ok(ca.registry.begin_batch(&batch, &roster.entries)?)
}

/// Refuses an output in which something of the batch's is already: it could be a key in use.
fn check_output(batch: &Batch, (roster, path): (&Roster, &Path)) -> Result<(), CommandError> {
    files::refuse_symbolic_link(&batch.output)?;
    match batch.format {
        BatchFormat::Jsonl => {
            let part = part_file(&batch.output);
            // An empty one was left by a process that was stopped before its batch was on record.
            let is_taken = files::read_if_there(&part)?.is_some_and(|it| !it.is_empty());
            for (file, is_taken) in [
                (batch.output.clone(), files::exists(&batch.output)?),
                (part, is_taken),
            ] {
                if is_taken {
                    return Err(CommandError::OutputExists(file));
                }
            }
            Ok(())
        }
        BatchFormat::Dir | BatchFormat::P12 => {
            let names = files::names_in(&batch.output)?;
            let taken: HashSet<String> =
                names.iter().map(PathBuf::as_path).map(lower_name).collect();
            let name = |id: &DeviceId| payload::name(batch.format, id.as_str());
            let there = |id: &DeviceId| taken.contains(&lower(&name(id)));
            let entries = roster.entries.iter().filter(|entry| there(&entry.id));
            let mistakes = entries.map(|entry| {
                let place = batch.output.join(name(&entry.id));
                let what = format!("{} is there already", place.display());
                Mistake::of_id(entry.line, what)
            });
            refuse(path, mistakes.collect())
        }
    }
}

/// Some file systems take names of two cases for one.
fn lower_name(name: &Path) -> String {
    lower(&name.to_string_lossy())
}
