//! What devices of a batch get: a directory each, or a line each in one file.
//!
//! Payloads are on disk before their rows are said to be. The one file has its name only once it is
//! whole; until then it is beside it, and what a killed process left behind its last durable octet
//! is cut off.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use rustix::fs::{CWD, RenameFlags};

use crate::authority::Hierarchy;
use crate::commands::issue::{holds, stage};
use crate::commands::payload::Payload;
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::IdentityFiles;
use crate::registry::{Batch, BatchFormat, Recorded};

/// Makes the place for the payloads of a batch that is about to begin.
pub(super) fn prepare(batch: &Batch) -> Result<(), CommandError> {
    match batch.format {
        BatchFormat::Dir => {
            files::make_dir(&batch.output)?;
            files::refuse_open_dir(&batch.output)?;
        }
        BatchFormat::Jsonl => {
            let part = part_file(&batch.output);
            // Empty, or it would not have come to this; and perhaps open to others.
            match fs::remove_file(&part) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(files::failed("remove", &part, error));
                }
                Ok(()) | Err(_) => files::ensure_file(&part)?,
            }
        }
    }
    batch.output.parent().map_or(Ok(()), files::sync)
}

/// Whether the device has what was recorded for it: then nothing was lost but the note of it.
pub(super) fn is_whole(
    ca: &Hierarchy,
    batch: &Batch,
    recorded: &Recorded,
) -> Result<bool, CommandError> {
    match batch.format {
        // What is not known to be durable is cut off.
        BatchFormat::Jsonl => Ok(false),
        BatchFormat::Dir => {
            let files = device_files(batch, recorded);
            files::refuse_symbolic_link(&files.dir)?;
            Ok(files::exists(&files.key)? && holds(ca, &files, recorded)?)
        }
    }
}

/// Writes payloads, and says how many octets of the one file are durable then.
pub(super) fn write(
    ca: &Hierarchy,
    batch: &Batch,
    issued: &[(Recorded, KeyPair)],
) -> Result<u64, CommandError> {
    match batch.format {
        BatchFormat::Dir => write_dirs(ca, batch, issued).map(|()| 0),
        BatchFormat::Jsonl => {
            let lines: Vec<_> = issued.iter().map(|(r, key)| line(ca, r, key)).collect();
            append(batch, lines.concat().as_bytes())
        }
    }
}

/// Gives the one file its name.
pub(super) fn finish(batch: &Batch) -> Result<(), CommandError> {
    let part = part_file(&batch.output);
    if batch.format == BatchFormat::Dir {
        return Ok(());
    }
    if !files::exists(&part)? && files::exists(&batch.output)? {
        // It has its name since before the last process ended.
        return Ok(());
    }
    let renamed = rustix::fs::renameat_with(CWD, &part, CWD, &batch.output, RenameFlags::NOREPLACE);
    renamed.map_err(|error| match io::Error::from(error) {
        error if error.kind() == io::ErrorKind::NotFound => CommandError::OutputLost(part),
        error if error.kind() == io::ErrorKind::AlreadyExists => {
            CommandError::OutputExists(batch.output.clone())
        }
        error => files::failed("rename", &part, error),
    })?;
    batch.output.parent().map_or(Ok(()), files::sync)
}

/// Where the one file grows.
pub(super) fn part_file(output: &Path) -> PathBuf {
    let mut name = OsString::from(output);
    name.push(".part");
    name.into()
}

fn write_dirs(
    ca: &Hierarchy,
    batch: &Batch,
    issued: &[(Recorded, KeyPair)],
) -> Result<(), CommandError> {
    files::refuse_open_dir(&batch.output)?;
    let mut staging = Staging::new(&batch.output);
    for (recorded, key) in issued {
        let files = device_files(batch, recorded);
        stage(
            &mut staging,
            ca,
            recorded,
            (Some(&key.serialize_pem()), &files),
        )?;
    }
    staging.commit()
}

fn device_files(batch: &Batch, recorded: &Recorded) -> IdentityFiles {
    IdentityFiles::below(batch.output.join(recorded.name()))
}

fn line(ca: &Hierarchy, recorded: &Recorded, key: &KeyPair) -> String {
    Payload::new(ca, recorded, Some(&key.serialize_pem())).json_line()
}

fn append(batch: &Batch, lines: &[u8]) -> Result<u64, CommandError> {
    let path = part_file(&batch.output);
    let failed = |source| files::failed("write", &path, source);
    let mut file = open_part(&path)?;
    let len = file.metadata().map_err(failed)?.len();
    if len < batch.durable {
        return Err(CommandError::OutputLost(path));
    }
    let written = || {
        file.set_len(batch.durable)?;
        file.seek(SeekFrom::Start(batch.durable))?;
        file.write_all(lines)?;
        file.sync_all()?;
        file.stream_position()
    };
    let mut written = written;
    written().map_err(failed)
}

fn open_part(path: &Path) -> Result<File, CommandError> {
    files::refuse_symbolic_link(path)?;
    let opened = OpenOptions::new().write(true).open(path);
    opened.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CommandError::OutputLost(path.into()),
        _ => files::failed("open", path, source),
    })
}
