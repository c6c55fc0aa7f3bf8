//! `countersign ca backup`: all of an authority at one moment, encrypted.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use certs::Hex;
use rustls_pki_types::UnixTime;
use tar::Builder;

use super::archive::{add, measure};
use super::{BackupError, FORMAT, Listed, MANIFEST, Manifest, REGISTRY, members};
use crate::age::{AgeError, EncryptTo, encrypt};
use crate::authority::Hierarchy;
use crate::commands::crl_publish::newest_file;
use crate::error::CommandError;
use crate::files::{self, Staging};

const MODE: u32 = 0o600;

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
    for (name, path) in members(&ca.layout) {
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
        if files::exists(&snapshot.0)? {
            let removed = fs::remove_file(&snapshot.0);
            removed.map_err(|source| files::failed("remove", &snapshot.0, source))?;
        }
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
        let _ = fs::remove_file(&self.0);
    }
}

fn manifest(
    ca: &Hierarchy,
    (snapshot, contents): (&Snapshot, &[(String, Vec<u8>)]),
    now: UnixTime,
) -> Result<Manifest, CommandError> {
    let end = ca.registry.verify_audit()?;
    let list = newest_file(ca)?.and_then(|(list, _)| list.number().to_u64());
    let listed = |path: &str, (len, sha256)| Listed {
        path: path.to_owned(),
        mode: MODE,
        len,
        sha256,
    };
    let failed = |source| files::failed("read", &snapshot.0, source);
    let registry = measure(snapshot.open()?).map_err(failed)?;
    let mut files = vec![listed(REGISTRY, registry)];
    for (path, octets) in contents {
        files.push(listed(path, measure(&**octets).map_err(failed)?));
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
    staging.write(request.out, "")?;
    let mut name = request.out.as_os_str().to_owned();
    name.push(".new");
    let path = PathBuf::from(name);
    let wrong = |source: BackupError| CommandError::Backup {
        path: request.out.into(),
        source,
    };
    let failed = |source: io::Error| files::failed("write", &path, source);
    let file = File::options().write(true).open(&path).map_err(failed)?;
    let encryptor = encrypt(BufWriter::new(file), request.to);
    let encryptor = encryptor.map_err(|error: AgeError| wrong(error.into()))?;
    let mut archive = Builder::new(encryptor);
    let text = serde_json::to_vec(manifest).map_err(|error| failed(error.into()))?;
    let (len, sha256) = measure(&*text).map_err(failed)?;
    let first = Listed {
        path: MANIFEST.to_owned(),
        mode: MODE,
        len,
        sha256,
    };
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
        let mut file = archive.into_inner()?.finish()?;
        file.flush()?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    };
    let len = finish().map_err(failed)?;
    staging.commit()?;
    Ok(len)
}
