//! What devices of a batch get: a directory or a file each, or a line each in one file.
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
use zeroize::Zeroizing;

use crate::authority::{Hierarchy, Passphrase};
use crate::commands::issue::{holds, stage};
use crate::commands::payload::{Payload, Pkcs12};
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::IdentityFiles;
use crate::registry::{Batch, BatchFormat, Recorded};

/// What writes payloads.
pub(super) struct Writer(Option<Pkcs12>);

impl Writer {
    /// For payloads in a form, which has a password or has none.
    pub(super) fn new(
        format: BatchFormat,
        password: Option<&Passphrase>,
    ) -> Result<Self, CommandError> {
        match (format, password) {
            (BatchFormat::P12, Some(password)) => Ok(Self(Some(Pkcs12::new(password)?))),
            (BatchFormat::Dir | BatchFormat::Jsonl, None) => Ok(Self(None)),
            (BatchFormat::P12, None) | (_, Some(_)) => Err(CommandError::Password),
        }
    }

    /// Writes payloads, and says how many octets of the one file are durable then.
    pub(super) fn write(
        &self,
        ca: &Hierarchy,
        batch: &Batch,
        issued: &[(Recorded, KeyPair)],
    ) -> Result<u64, CommandError> {
        match (batch.format, &self.0) {
            (BatchFormat::Dir, _) => write_dirs(ca, batch, issued).map(|()| 0),
            (BatchFormat::Jsonl, _) => {
                let lines = issued.iter().map(|(recorded, key)| line(ca, recorded, key));
                let lines: String = lines.collect::<Result<_, _>>()?;
                append(batch, lines.as_bytes())
            }
            (BatchFormat::P12, Some(pkcs12)) => {
                write_pkcs12(ca, (batch, pkcs12), issued).map(|()| 0)
            }
            (BatchFormat::P12, None) => Err(CommandError::Password),
        }
    }
}

/// What the payload of a device is called in the directory of its batch.
pub(super) fn name(format: BatchFormat, id: &str) -> String {
    match format {
        BatchFormat::P12 => format!("{id}.p12"),
        BatchFormat::Dir | BatchFormat::Jsonl => id.to_owned(),
    }
}

/// Makes the place for the payloads of a batch that is about to begin.
pub(super) fn prepare(batch: &Batch) -> Result<(), CommandError> {
    match batch.format {
        BatchFormat::Dir | BatchFormat::P12 => files::make_private_dir(&batch.output)?,
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
        // What of the one file is not known to be durable is cut off; and nobody knows under what
        // password a file of a device is.
        BatchFormat::Jsonl | BatchFormat::P12 => Ok(false),
        BatchFormat::Dir => {
            let files = device_files(batch, recorded);
            files::refuse_symbolic_link(&files.dir)?;
            Ok(files::exists(&files.key)? && holds(ca, &files, recorded)?)
        }
    }
}

/// Gives the one file its name.
pub(super) fn finish(batch: &Batch) -> Result<(), CommandError> {
    let part = part_file(&batch.output);
    if batch.format != BatchFormat::Jsonl {
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

fn write_pkcs12(
    ca: &Hierarchy,
    (batch, pkcs12): (&Batch, &Pkcs12),
    issued: &[(Recorded, KeyPair)],
) -> Result<(), CommandError> {
    files::refuse_open_dir(&batch.output)?;
    let mut staging = Staging::new(&batch.output);
    for (recorded, key) in issued {
        let key = Zeroizing::new(key.serialize_pem());
        let file = Payload::new(ca, recorded, Some(&key))?.pkcs12(pkcs12)?;
        let name = name(batch.format, recorded.name());
        staging.write(&batch.output.join(name), file)?;
    }
    staging.commit()
}

fn device_files(batch: &Batch, recorded: &Recorded) -> IdentityFiles {
    IdentityFiles::below(batch.output.join(recorded.name()))
}

fn line(ca: &Hierarchy, recorded: &Recorded, key: &KeyPair) -> Result<String, CommandError> {
    let key = key.serialize_pem();
    Ok(Payload::new(ca, recorded, Some(&key))?.json_line())
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
