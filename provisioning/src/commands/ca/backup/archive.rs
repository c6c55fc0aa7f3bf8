//! The file of a backup: a tar archive within age, whose first member says what the others are.
//!
//! Nothing is written that is not named by the manifest and known to us, under a name of ours.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use certs::Hex;
use tar::{Archive, Builder, EntryType, Header};

use super::{BackupError, FORMAT, Listed, MANIFEST, Manifest, REGISTRY, place_of};
use crate::age::{AgeError, DecryptWith, decrypt};
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::Layout;

/// It names twenty files.
const MANIFEST_LEN_MAX: u64 = 64 * 1024;
/// A revocation list or an export of a million devices is shorter.
const MEMBER_LEN_MAX: u64 = 1024 * 1024 * 1024;

/// Writes one member.
pub(super) fn add<W: Write>(
    archive: &mut Builder<W>,
    (listed, created): (&Listed, u64),
    content: impl Read,
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(listed.mode);
    header.set_size(listed.len);
    header.set_mtime(created);
    archive.append_data(&mut header, &listed.path, content)
}

/// Length and SHA-256 of all that is read.
pub(super) fn measure(mut content: impl Read) -> io::Result<(u64, String)> {
    let mut hashed = Hashed::new(io::sink());
    io::copy(&mut content, &mut hashed)?;
    Ok(hashed.finish())
}

/// Unpacks the backup in the file `path` below `dir`, which exists and is empty.
pub(super) fn unpack(
    path: &Path,
    with: DecryptWith<'_>,
    dir: &Path,
) -> Result<Manifest, CommandError> {
    let wrong = |source| CommandError::Backup {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(|source| files::failed("read", path, source))?;
    let opened = decrypt(BufReader::new(file), with);
    let mut archive = Archive::new(opened.map_err(|error| wrong(error.into()))?);
    let manifest = unpack_all(&mut archive, dir).map_err(|error| match error {
        Unpacking::Wrong(source) => wrong(source),
        Unpacking::Failed(error) => error,
    })?;
    // What follows the last member is authenticated too, up to its end.
    let rest = io::copy(&mut archive.into_inner(), &mut io::sink());
    rest.map_err(|error| wrong(AgeError::from(error).into()))?;
    Ok(manifest)
}

/// Why it is not unpacked: it is not good, or it cannot be written.
enum Unpacking {
    Wrong(BackupError),
    Failed(CommandError),
}

impl From<io::Error> for Unpacking {
    fn from(error: io::Error) -> Self {
        Self::Wrong(AgeError::from(error).into())
    }
}

impl From<BackupError> for Unpacking {
    fn from(error: BackupError) -> Self {
        Self::Wrong(error)
    }
}

fn unpack_all<R: Read>(archive: &mut Archive<R>, dir: &Path) -> Result<Manifest, Unpacking> {
    let mut entries = archive.entries()?;
    let first = entries
        .next()
        .ok_or(BackupError::NotABackup("it is empty"))??;
    if &*first.path_bytes() != MANIFEST.as_bytes() {
        return Err(BackupError::NotABackup("it has no manifest").into());
    }
    let manifest: Manifest = serde_json::from_reader(first.take(MANIFEST_LEN_MAX))
        .map_err(|_| BackupError::NotABackup("its manifest cannot be read"))?;
    if manifest.format != FORMAT {
        return Err(BackupError::NotABackup("a later program wrote it").into());
    }
    let mut missing = manifest.files.iter();
    for entry in entries {
        let mut entry = entry?;
        let listed = missing.next();
        let listed = listed.filter(|it| it.path.as_bytes() == &*entry.path_bytes());
        let listed = listed.ok_or(BackupError::NotABackup("its manifest names other files"))?;
        unpack_one(&mut entry, listed, dir)?;
    }
    let has_registry = manifest.files.iter().any(|it| it.path == REGISTRY);
    if missing.next().is_some() || !has_registry {
        return Err(BackupError::NotABackup("a file is missing in it").into());
    }
    Ok(manifest)
}

fn unpack_one(content: &mut impl Read, listed: &Listed, dir: &Path) -> Result<(), Unpacking> {
    let layout = Layout::new(dir);
    let path = match place_of(&layout, &listed.path) {
        Some(path) => path,
        None if listed.path == REGISTRY => layout.registry(),
        None => return Err(BackupError::NotABackup("it holds a file of another kind").into()),
    };
    let mut staging = Staging::new(dir);
    let parent = path.parent().unwrap_or(dir);
    staging.make_dir(parent).map_err(Unpacking::Failed)?;
    files::ensure_file(&path).map_err(Unpacking::Failed)?;
    let failed = |source| Unpacking::Failed(files::failed("write", &path, source));
    let file = File::options().write(true).open(&path).map_err(failed)?;
    let mut hashed = Hashed::new(&file);
    // What cannot be read is wrong with the backup, what cannot be written with the disk.
    let mut chunk = vec![0; 64 * 1024];
    let mut left = MEMBER_LEN_MAX;
    loop {
        let len = content.read(&mut chunk)?;
        let read = chunk.get(..len).unwrap_or_default();
        left = left.saturating_sub(u64::try_from(len).unwrap_or(u64::MAX));
        if read.is_empty() || left == 0 {
            break;
        }
        hashed.write_all(read).map_err(failed)?;
    }
    if hashed.finish() != (listed.len, listed.sha256.clone()) {
        return Err(BackupError::Changed(listed.path.clone()).into());
    }
    file.sync_all().map_err(failed)
}

/// What is written, hashed on its way.
struct Hashed<W> {
    to: W,
    hash: Context,
    len: u64,
}

impl<W: Write> Hashed<W> {
    fn new(to: W) -> Self {
        Self {
            to,
            hash: Context::new(&SHA256),
            len: 0,
        }
    }

    fn finish(self) -> (u64, String) {
        (self.len, Hex(self.hash.finish().as_ref()).to_string())
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let len = self.to.write(octets)?;
        let written = octets.get(..len).unwrap_or_default();
        self.hash.update(written);
        self.len += u64::try_from(len).unwrap_or_default();
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
