//! `countersign ca backup`: all of an authority at one moment, encrypted.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use certs::Hex;
use rustls_pki_types::UnixTime;
use tar::Builder;

use super::archive::add;
use super::{BackupError, FORMAT, Listed, MANIFEST, Manifest, REGISTRY, members};
use crate::age::{AgeError, EncryptTo, encrypt};
use crate::authority::Hierarchy;
use crate::commands::crl_publish::newest_file;
use crate::error::CommandError;
use crate::files::{self, Staging};

/// What to back up.
#[derive(Clone, Copy, Debug)]
pub struct BackupRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// The file that is made.
    pub out: &'a Path,
    /// Who can open it.
    pub to: EncryptTo<'a>,
}

/// What was backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackedUp {
    /// The file.
    pub out: PathBuf,
    /// How many octets it has.
    pub len: u64,
    /// The files in it.
    pub files: Vec<String>,
    /// The number of the newest revocation list in it; 0 when there was none.
    pub list: u64,
    /// How many entries the audit chain in it has.
    pub audit_entries: u64,
}

/// Backs up the authority, its lists, and the configuration of its broker; not the keys of devices.
///
/// Other commands wait meanwhile, or are wholly in it or wholly not.
///
/// # Errors
/// [`CommandError::OutputExists`] when the file is there, and what else is in the way.
pub fn ca_backup(request: &BackupRequest<'_>, now: UnixTime) -> Result<BackedUp, CommandError> {
    if files::exists(request.out)? {
        return Err(CommandError::OutputExists(request.out.into()));
    }
    let ca = Hierarchy::open(request.dir)?;
    let snapshot = Snapshot::take(&ca)?;
    let mut contents = Vec::new();
    for (name, path) in members(&ca.layout)? {
        if let Some(octets) = files::read_large_if_there(&path)? {
            contents.push((name, octets));
        }
    }
    let manifest = manifest(&ca, (&snapshot, &contents), now)?;
    let len = write(request, (&manifest, &snapshot), &contents)?;
    Ok(BackedUp {
        out: request.out.into(),
        len,
        files: manifest.files.into_iter().map(|it| it.path).collect(),
        list: manifest.list,
        audit_entries: manifest.audit_entries,
    })
}

/// A copy of the registry, which is gone when this is.
struct Snapshot(PathBuf);

impl Snapshot {
    fn take(ca: &Hierarchy) -> Result<Self, CommandError> {
        let snapshot = Self(ca.layout.registry().with_extension("sqlite.backup.new"));
        // A command that was killed left it.
        files::remove(&snapshot.0)?;
        files::ensure_file(&snapshot.0)?;
        ca.registry.snapshot(&snapshot.0)?;
        Ok(snapshot)
    }

    fn open(&self) -> Result<File, CommandError> {
        File::open(&self.0).map_err(|source| files::failed("read", &self.0, source))
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // What cannot be deleted now is replaced by the next backup.
        let _ = files::remove(&self.0);
    }
}

fn manifest(
    ca: &Hierarchy,
    (snapshot, contents): (&Snapshot, &[(String, Vec<u8>)]),
    now: UnixTime,
) -> Result<Manifest, CommandError> {
    let end = ca.registry.verify_audit()?;
    let list = newest_file(ca, &ca.device_ca)?.and_then(|(list, _)| list.number().to_u64());
    let failed = |source| files::failed("read", &snapshot.0, source);
    let mut files = vec![Listed::measure(REGISTRY, snapshot.open()?).map_err(failed)?];
    for (path, octets) in contents {
        files.push(Listed::measure(path, &**octets).map_err(failed)?);
    }
    Ok(Manifest {
        format: FORMAT,
        created: now.as_secs(),
        trust_domain: ca.trust_domain.as_str().to_owned(),
        list: list.unwrap_or_default(),
        audit_entries: end.entries,
        audit_hash: Hex(&end.hash).to_string(),
        files,
    })
}

/// Writes the file beside its place, and brings it there when it is whole and on disk.
fn write(
    request: &BackupRequest<'_>,
    (manifest, snapshot): (&Manifest, &Snapshot),
    contents: &[(String, Vec<u8>)],
) -> Result<u64, CommandError> {
    let parent = request.out.parent().unwrap_or_else(|| Path::new(""));
    let mut staging = Staging::new(parent);
    let wrong = |source: BackupError| CommandError::Backup {
        path: request.out.into(),
        source,
    };
    let failed = |source: io::Error| files::failed("write", request.out, source);
    let encryptor = encrypt(BufWriter::new(staging.create(request.out)?), request.to);
    let encryptor = encryptor.map_err(|error: AgeError| wrong(error.into()))?;
    let mut archive = Builder::new(encryptor);
    let text = serde_json::to_vec(manifest).map_err(|error| failed(error.into()))?;
    let first = Listed::measure(MANIFEST, &*text).map_err(failed)?;
    let created = manifest.created;
    add(&mut archive, (&first, created), &*text).map_err(failed)?;
    for listed in &manifest.files {
        let content = contents.iter().find(|(name, _)| *name == listed.path);
        let added = match content {
            Some((_, octets)) => add(&mut archive, (listed, created), &**octets),
            None => add(&mut archive, (listed, created), snapshot.open()?),
        };
        added.map_err(failed)?;
    }
    let finish = || {
        let file = archive.into_inner()?.finish()?.into_inner();
        let file = file.map_err(io::IntoInnerError::into_error)?;
        Ok(file.metadata()?.len())
    };
    let len = finish().map_err(failed)?;
    staging.commit()?;
    Ok(len)
}
