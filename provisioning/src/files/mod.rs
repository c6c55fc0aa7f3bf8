//! Private files: readable for their owner alone, whole at any moment, durable when said to be.
//!
//! Files get mode 0600 and directories 0700 whatever the umask. A file is written under another
//! name, synced, and renamed, so that no reader and no power cut ever sees half of one. Nothing is
//! read or written through a symbolic link.

mod home;
mod staging;

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(crate) use self::home::{is_of_renewal, refuse_unreplaceable, that_counts};
pub(crate) use self::staging::{Staging, move_to, remove};
use crate::error::CommandError;

/// No certificate chain, key or request is longer.
const FILE_LEN_MAX: u64 = 64 * 1024;

/// How a file begins that is no secret: a certificate or a request for one, or a list.
const PUBLIC: [&[u8]; 2] = [b"-----BEGIN CERTIFICATE", b"-----BEGIN X509 CRL"];

const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// Makes the directory `path` for the owner alone unless there is one; those above it that are
/// missing become ordinary directories.
pub(crate) fn make_dir(path: &Path) -> Result<(), CommandError> {
    if exists(path)? {
        return refuse_symbolic_link(path);
    }
    let attempt = || DirBuilder::new().mode(DIR_MODE).create(path);
    let made = match (attempt(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent).and_then(|()| attempt())
        }
        (made, _) => made,
    };
    // The umask may have taken the owner's rights too.
    made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(DIR_MODE)))
        .map_err(|source| failed("make", path, source))
}

/// As [`make_dir`]; one that is there must be such that nobody else can replace files in it.
pub(crate) fn make_private_dir(path: &Path) -> Result<(), CommandError> {
    make_dir(path)?;
    refuse_open_dir(path)
}

/// Brings a file, or the names in a directory, to the disk.
pub(crate) fn sync(path: &Path) -> Result<(), CommandError> {
    let synced = open_to_sync(path).and_then(|file| file.sync_all());
    synced.map_err(|source| failed("sync", path, source))
}

/// Brings everything on the file system of the directory `path` to the disk.
pub(crate) fn sync_file_system(path: &Path) -> Result<(), CommandError> {
    open_to_sync(path)
        .and_then(|dir| Ok(rustix::fs::syncfs(dir)?))
        .map_err(|source| failed("sync the file system of", path, source))
}

/// Writes a file in PEM that anybody may read, perhaps to a medium that knows no owners: whole, or
/// not at all. It takes the place of one of its sort alone: a key must not be lost to a slip.
pub(crate) fn write_public(path: &Path, contents: impl AsRef<[u8]>) -> Result<(), CommandError> {
    if let Some(there) = read_if_there(path)?
        && !PUBLIC.iter().any(|begins| there.starts_with(begins))
    {
        return Err(CommandError::OutputExists(path.into()));
    }
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let staged = PathBuf::from(staged);
    // A command that was killed left it.
    remove_if_there(&staged)?;
    let write = || {
        let mut file = File::create_new(&staged)?;
        file.write_all(contents.as_ref())?;
        file.sync_all()?;
        fs::rename(&staged, path)
    };
    write().map_err(|source| failed("write", path, source))?;
    path.parent().map_or(Ok(()), sync)
}

/// The file called `name` in `path` where that is a directory, or else `path` itself.
pub(crate) fn in_dir(path: &Path, name: &str) -> PathBuf {
    if path.is_dir() {
        path.join(name)
    } else {
        path.into()
    }
}

/// Makes an empty private file unless there is one.
pub(crate) fn ensure_file(path: &Path) -> Result<(), CommandError> {
    if exists(path)? {
        return refuse_symbolic_link(path);
    }
    create(path)
        .map(drop)
        .map_err(|source| failed("make", path, source))
}

/// Reads a file that may be public, and no more of it than any file of ours has.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    let mut octets = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LEN_MAX).read_to_end(&mut octets))
        .map_err(|source| failed("read", path, source))?;
    Ok(octets)
}

/// Reads a file that an operator made, unless it has more than `max` octets.
pub(crate) fn read_up_to(path: &Path, max: usize) -> Result<Vec<u8>, CommandError> {
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut octets = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut octets))
        .map_err(|source| failed("read", path, source))?;
    if octets.len() > max {
        let path = path.into();
        return Err(CommandError::TooLarge { path, max });
    }
    Ok(octets)
}

/// As [`read_if_there`], of a file that grows with the fleet.
pub(crate) fn read_large_if_there(path: &Path) -> Result<Option<Vec<u8>>, CommandError> {
    if !exists(path)? {
        return Ok(None);
    }
    refuse_symbolic_link(path)?;
    fs::read(path)
        .map(Some)
        .map_err(|source| failed("read", path, source))
}

/// Reads a file of ours; `None` when it is missing.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, CommandError> {
    if !exists(path)? {
        return Ok(None);
    }
    refuse_symbolic_link(path)?;
    read(path).map(Some)
}

/// Removes a file of ours, unless it is missing.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), CommandError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", path, source))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Reads a file that nobody else may read.
pub(crate) fn read_private(path: &Path) -> Result<String, CommandError> {
    refuse_symbolic_link(path)?;
    refuse_access_of_others(path, 0o077, FILE_MODE)?;
    let octets = read(path)?;
    String::from_utf8(octets).map_err(|_| CommandError::Unreadable {
        path: path.into(),
        expected: "text",
    })
}

/// Refuses a directory in which others may replace files.
pub(crate) fn refuse_open_dir(path: &Path) -> Result<(), CommandError> {
    refuse_symbolic_link(path)?;
    refuse_access_of_others(path, 0o022, DIR_MODE)
}

/// Refuses a path whose last part leads elsewhere.
pub(crate) fn refuse_symbolic_link(path: &Path) -> Result<(), CommandError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(CommandError::SymbolicLink(path.into())),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed("look at", path, source)),
    }
}

/// Whether there is anything at `path`, if only a link to nothing.
pub(crate) fn exists(path: &Path) -> Result<bool, CommandError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(failed("look at", path, source)),
    }
}

/// The names in a directory; none when it does not exist.
pub(crate) fn names_in(path: &Path) -> Result<Vec<PathBuf>, CommandError> {
    if !exists(path)? {
        return Ok(Vec::new());
    }
    let list = || {
        fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name().into()))
            .collect::<io::Result<_>>()
    };
    list().map_err(|source| failed("list", path, source))
}

pub(crate) fn failed(doing: &'static str, path: &Path, source: io::Error) -> CommandError {
    CommandError::File {
        doing,
        path: path.into(),
        source,
    }
}

fn refuse_access_of_others(path: &Path, others: u32, right: u32) -> Result<(), CommandError> {
    let found = fs::metadata(path).map_err(|source| failed("look at", path, source))?;
    let mode = found.permissions().mode() & 0o7777;
    if mode & others != 0 {
        return Err(CommandError::Exposed {
            path: path.into(),
            mode,
            right,
        });
    }
    Ok(())
}

/// The file or directory at `path`; an empty path is the current directory.
fn open_to_sync(path: &Path) -> io::Result<File> {
    File::open(if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    })
}

/// A new file in the place of whatever was there, without following it anywhere.
fn create(path: &Path) -> io::Result<File> {
    let new = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)
    };
    let file = match new() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path).and_then(|()| new())
        }
        made => made,
    }?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}
