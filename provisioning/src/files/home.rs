//! The directory of a device that renews its certificate itself: versions side by side, and a link
//! that names the one which counts, as the library of devices makes them.
//!
//! They are read here and never made: what is issued anew takes the place of all of them at once,
//! and not while the device uses them.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::{failed, names_in, refuse_symbolic_link};
use crate::error::CommandError;

/// The link that names the version which counts, and its successor on its way.
const LINKS: [&str; 2] = ["current", "current.new"];

/// The directory in which the files are that count: `dir`, or the version in it that the link
/// names.
pub(crate) fn that_counts(dir: &Path) -> Result<PathBuf, CommandError> {
    let [current, _] = LINKS;
    let link = dir.join(current);
    match fs::read_link(&link) {
        Ok(version) if is_version(&version) => Ok(dir.join(version)),
        Ok(_) => Err(CommandError::SymbolicLink(link)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(dir.into()),
        Err(source) => Err(failed("read", &link, source)),
    }
}

/// Whether what is called `name` in the directory of a device belongs to its renewals, and ends
/// when something is issued to it anew.
pub(crate) fn is_of_renewal(name: &Path) -> bool {
    LINKS.iter().any(|link| *name == **link) || is_version(name)
}

/// Refuses a directory with what cannot be kept when something is issued to it, and one that a
/// device uses which renews its certificate there: it would go on in what is there no more.
pub(crate) fn refuse_unreplaceable(dir: &Path) -> Result<(), CommandError> {
    refuse_symbolic_link(dir)?;
    that_counts(dir)?;
    let mut is_renewed = false;
    for name in names_in(dir)? {
        let path = dir.join(&name);
        let found = fs::symlink_metadata(&path);
        let found = found.map_err(|source| failed("look at", &path, source))?;
        if is_of_renewal(&name) {
            is_renewed = true;
        } else if found.is_dir() {
            let why = "is a directory where a device has files only; move it away";
            return Err(CommandError::NotReplaceable { path, why });
        }
    }
    if is_renewed && is_in_use(dir)? {
        let path = dir.into();
        let why = "is used by a device that renews its certificate there itself; stop it first, \
                   or name another directory with --out";
        return Err(CommandError::NotReplaceable { path, why });
    }
    Ok(())
}

/// `v1`, `v2`, …
fn is_version(name: &Path) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix('v'));
    number.is_some_and(|number| {
        number.bytes().all(|digit| digit.is_ascii_digit()) && !number.is_empty()
    })
}

/// A device holds the lock on its directory as long as it lives.
fn is_in_use(dir: &Path) -> Result<bool, CommandError> {
    let opened = File::open(dir).map_err(|source| failed("open", dir, source))?;
    match opened.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(failed("lock", dir, source)),
    }
}
