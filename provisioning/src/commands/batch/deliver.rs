//! `countersign batch deliver`: the payloads of a batch are handed out, once, to somebody by name.
//!
//! Each is looked at before: it must be whole, and its certificate the one that its device should
//! use. That it is handed out is on record before anybody has it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use certs::{DeviceId, Serial, TimeText};
use rustls_pki_types::UnixTime;
use tar::{Builder, Header};
use thiserror::Error;

use super::payload::name;
use crate::age::{AgeError, EncryptTo, Recipient, encrypt};
use crate::authority::{Hierarchy, read_pem};
use crate::commands::issue::has_key_of;
use crate::commands::refusal::noted;
use crate::error::{CommandError, ExitClass};
use crate::files::{self, Staging};
use crate::layout::IdentityFiles;
use crate::registry::{Batch, BatchFormat, Deliverable};

/// What to hand out, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct DeliverRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// What the batch is called.
    pub name: &'a DeviceId,
    /// To whom: a name that tells people something.
    pub to: &'a str,
    /// Of which devices; of all of them when none is named.
    pub devices: &'a [DeviceId],
    /// The file in which they are handed out, if they are not as they are.
    pub package: Option<Package<'a>>,
    /// Whether what was handed out before may be so once more.
    pub again: bool,
}

/// One file with payloads, which only its recipients can open.
#[derive(Clone, Copy, Debug)]
pub struct Package<'a> {
    /// The file, which is new.
    pub out: &'a Path,
    /// Who can open it.
    pub recipients: &'a [Recipient],
}

/// What was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchDelivered {
    /// The devices whose payloads were.
    pub devices: Vec<DeviceId>,
    /// Those that were left out: since the batch they were issued another certificate, revoked, or
    /// suspended.
    pub left_out: Vec<DeviceId>,
    /// Where the payloads are: the package, or the output of the batch.
    pub path: PathBuf,
}

/// Why nothing was handed out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotDelivered {
    /// The batch is not finished.
    #[error("the batch {0} is not finished; go on with it: countersign batch resume {0}")]
    Unfinished(DeviceId),
    /// A device has nothing in the batch.
    #[error("{device} was issued nothing in the batch {batch}")]
    NotInBatch {
        /// The device.
        device: DeviceId,
        /// The batch.
        batch: DeviceId,
    },
    /// What was made for a device was handed out before.
    #[error(
        "what was made for {device} was handed out to {to} at {}, and so was that for {others} \
         others; say --again if the same keys are to be handed out once more",
        TimeText(*at)
    )]
    Before {
        /// The first such device.
        device: DeviceId,
        /// To whom it was handed out last.
        to: Box<str>,
        /// When.
        at: UnixTime,
        /// How many more there are.
        others: usize,
    },
    /// The package could not be encrypted.
    #[error("{} cannot be made", path.display())]
    Package {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: AgeError,
    },
}

impl NotDelivered {
    pub(crate) fn exit_class(&self) -> ExitClass {
        match self {
            Self::Unfinished(_) | Self::Before { .. } => ExitClass::Refused,
            Self::NotInBatch { .. } => ExitClass::NotFound,
            Self::Package { .. } => ExitClass::Failed,
        }
    }
}

/// Hands out payloads of a batch.
///
/// # Errors
/// [`NotDelivered`], and what else is in the way; then nothing was handed out.
pub fn batch_deliver(
    request: &DeliverRequest<'_>,
    now: UnixTime,
) -> Result<BatchDelivered, CommandError> {
    certs::check_value(request.to)?;
    noted((request.dir, request.name.as_str()), now, || {
        let mut ca = Hierarchy::open(request.dir)?;
        let batch = ca.registry.batch(request.name)?;
        let batch = batch.ok_or_else(|| CommandError::NoSuchBatch(request.name.clone()))?;
        if batch.finished.is_none() {
            return Err(NotDelivered::Unfinished(batch.name).into());
        }
        let rows = chosen(ca.registry.deliverable(&batch.name)?, request)?;
        let (rows, left_out): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.counts);
        if !request.again {
            refuse_twice(&rows)?;
        }
        let package = pack(&batch, &rows, request.package.as_ref())?;
        ca.registry
            .record_delivery((&batch.name, request.to), &rows, now)?;
        package.map_or(Ok(()), Staging::commit)?;
        let path = request.package.map_or(batch.output, |it| it.out.into());
        let ids = |rows: Vec<Deliverable>| rows.into_iter().map(|row| row.device).collect();
        Ok(BatchDelivered {
            devices: ids(rows),
            left_out: ids(left_out),
            path,
        })
    })
}

/// The rows of the devices that are asked for.
fn chosen(
    mut rows: Vec<Deliverable>,
    request: &DeliverRequest<'_>,
) -> Result<Vec<Deliverable>, CommandError> {
    if request.devices.is_empty() {
        return Ok(rows);
    }
    let missing = |id: &&DeviceId| !rows.iter().any(|row| row.device == **id);
    if let Some(device) = request.devices.iter().find(missing) {
        let (device, batch) = (device.clone(), request.name.clone());
        return Err(NotDelivered::NotInBatch { device, batch }.into());
    }
    rows.retain(|row| request.devices.contains(&row.device));
    Ok(rows)
}

fn refuse_twice(rows: &[Deliverable]) -> Result<(), CommandError> {
    let mut before = rows
        .iter()
        .filter_map(|row| Some((row, row.before.as_ref()?)));
    let Some((first, handover)) = before.next() else {
        return Ok(());
    };
    let before = NotDelivered::Before {
        device: first.device.clone(),
        to: handover.to.clone(),
        at: handover.at,
        others: before.count(),
    };
    Err(before.into())
}

/// Looks at every payload, and packs them if that is asked for: the package has no name yet.
fn pack(
    batch: &Batch,
    rows: &[Deliverable],
    package: Option<&Package<'_>>,
) -> Result<Option<Staging>, CommandError> {
    let Some(Package { out, recipients }) = package else {
        return copy(batch, rows, io::sink()).map(|_| None);
    };
    if files::exists(out)? {
        return Err(CommandError::OutputExists(out.to_path_buf()));
    }
    let wrong = |source: AgeError| NotDelivered::Package {
        path: out.to_path_buf(),
        source,
    };
    let mut staging = Staging::new(out.parent().unwrap_or_else(|| Path::new("")));
    let file = BufWriter::new(staging.create(out)?);
    let encryptor = encrypt(file, EncryptTo::Recipients(recipients)).map_err(wrong)?;
    let encryptor = copy(batch, rows, encryptor)?;
    let finish = || encryptor.finish()?.flush();
    finish().map_err(|source| files::failed("write", out, source))?;
    Ok(Some(staging))
}

/// Copies payloads: lines as lines, files in a tar archive.
fn copy<W: Write>(batch: &Batch, rows: &[Deliverable], mut to: W) -> Result<W, CommandError> {
    if batch.format == BatchFormat::Jsonl {
        copy_lines(batch, rows, &mut to)?;
        return Ok(to);
    }
    let failed = |source| files::failed("pack", &batch.output, source);
    let mut archive = Builder::new(to);
    for row in rows {
        for path in payload_files(batch, row)? {
            let octets = files::read_if_there(&path)?;
            let octets = octets.ok_or_else(|| CommandError::OutputLost(path.clone()))?;
            let name = path.strip_prefix(&batch.output).unwrap_or(&path);
            let mut header = Header::new_ustar();
            header.set_mode(0o600);
            header.set_size(u64::try_from(octets.len()).unwrap_or(u64::MAX));
            let added = archive.append_data(&mut header, name, &*octets);
            added.map_err(failed)?;
        }
    }
    archive.into_inner().map_err(failed)
}

/// The files of one device, which hold what was issued to it in the batch.
fn payload_files(batch: &Batch, row: &Deliverable) -> Result<Vec<PathBuf>, CommandError> {
    let path = batch.output.join(name(batch.format, row.device.as_str()));
    files::refuse_symbolic_link(&path)?;
    if batch.format != BatchFormat::Dir {
        return Ok(vec![path]);
    }
    let files = IdentityFiles::below(path);
    let lost = || CommandError::OutputLost(files.dir.clone());
    let pem = files::read_if_there(&files.cert)?.ok_or_else(lost)?;
    let pem = String::from_utf8(pem).map_err(|_| lost())?;
    let certificate = read_pem(&pem)?;
    if certificate.serial != row.serial || !has_key_of(&files, &certificate)? {
        return Err(lost());
    }
    Ok(vec![files.cert, files.key, files.ca])
}

fn copy_lines(
    batch: &Batch,
    rows: &[Deliverable],
    to: &mut impl Write,
) -> Result<(), CommandError> {
    let failed = |source| files::failed("read", &batch.output, source);
    files::refuse_symbolic_link(&batch.output)?;
    let file = File::open(&batch.output).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CommandError::OutputLost(batch.output.clone()),
        _ => failed(error),
    })?;
    let mut missing: HashMap<&str, Serial> = rows
        .iter()
        .map(|row| (row.device.as_str(), row.serial))
        .collect();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(failed)?;
        let Ok(read) = serde_json::from_str::<Line<'_>>(&line) else {
            continue;
        };
        // Another line of the same device is of a certificate that was superseded.
        let wanted = missing.get(read.device_id).map(Serial::to_string);
        if wanted.as_deref() == Some(read.serial) {
            missing.remove(read.device_id);
            writeln!(to, "{line}")
                .map_err(|source| files::failed("write", &batch.output, source))?;
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(CommandError::OutputLost(batch.output.clone()))
    }
}

/// Of a line, whose it is.
#[derive(serde::Deserialize)]
struct Line<'a> {
    device_id: &'a str,
    serial: &'a str,
}
