//! A directory that holds an identity and can be given another: versions side by side, and a link
//! that says which one counts.
//!
//! ```text
//! dev-1/current -> v7        what counts
//! dev-1/v7/{key,cert,ca}.pem  or key.uri in the place of key.pem
//! dev-1/v6/…                 the one before, until v7 has been used
//! ```
//!
//! A version is whole and durable before the link names it, so that at any moment, a loss of power
//! included, the link leads to an identity that can be used. A directory without a link has its
//! files at the top, as they were issued; these are the version before the first.

mod first;
mod step;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use certs::Certificate;
use rustls::pki_types::UnixTime;

use super::key::KEY_URI;
use super::{AUTHORITIES, CHAIN, IdentityError, KEY, Key, PemFile};
pub(crate) use first::EmptyHome;
use step::Step;

/// What names the version that counts: a symbolic link or, where there are none, a file.
const CURRENT: &str = "current";

/// Under which its successor is made.
const NEXT: &str = "current.new";

/// In every version, and at the top before there is one. The key comes first: it is the first to be
/// removed.
const FILES: [&str; 4] = [KEY, KEY_URI, CHAIN, AUTHORITIES];

/// Where the files of an identity are that can be renewed, held by one device.
#[derive(Debug)]
pub(crate) struct Home {
    directory: PathBuf,
    counts: Version,
    /// Released when it is dropped.
    _lock: File,
}

/// One version, counted from 1; 0 are the files at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32);

/// A version that does not count yet: there is no more of it than its key.
#[derive(Debug)]
pub(crate) struct Staged(Version);

/// Where the files are that count.
pub(super) fn files(directory: &Path) -> Result<PathBuf, IdentityError> {
    Ok(current(directory)?.path(directory))
}

impl Home {
    /// Takes `directory` over, and removes what a renewal that was cut off has left in it. What
    /// came before the version that counts stays until [`Home::retire`].
    pub(crate) fn open(directory: &Path) -> Result<Self, IdentityError> {
        let home = Self {
            _lock: lock(directory)?,
            counts: current(directory)?,
            directory: directory.into(),
        };
        home.remove(|version| version > home.counts)?;
        Ok(home)
    }

    /// Where the files are that count.
    pub(crate) fn files(&self) -> PathBuf {
        self.counts.path(&self.directory)
    }

    /// Begins another version with its key, durably: who has no room for it asks for no
    /// certificate.
    pub(crate) fn stage(&self, key: &Key) -> Result<Staged, IdentityError> {
        let next = Version(self.counts.0.saturating_add(1));
        carry_out(&self.directory, &stage(&self.directory, next, key.file()))?;
        Ok(Staged(next))
    }

    /// Completes a version, and lets it count.
    pub(crate) fn switch(
        &mut self,
        staged: &Staged,
        (chain, authorities): (&[u8], &[u8]),
    ) -> Result<(), IdentityError> {
        let steps = switch(&self.directory, staged.0, (chain, authorities));
        carry_out(&self.directory, &steps)?;
        self.counts = staged.0;
        Ok(())
    }

    /// Lets the version before count again, after [`Home::switch`] and before [`Home::retire`].
    pub(crate) fn revert(&mut self) -> Result<(), IdentityError> {
        let before = Version(self.counts.0.saturating_sub(1));
        carry_out(&self.directory, &point(&self.directory, before))?;
        self.counts = before;
        self.remove(|version| version > before)
    }

    /// Gives up a version that does not count.
    pub(crate) fn discard(&self, staged: &Staged) -> Result<(), IdentityError> {
        self.remove(|version| version == staged.0)
    }

    /// Removes what came before the version that counts.
    pub(crate) fn retire(&self) -> Result<(), IdentityError> {
        self.remove(|version| version < self.counts)
    }

    fn remove(&self, which: impl Fn(Version) -> bool) -> Result<(), IdentityError> {
        let mut steps = Vec::new();
        for version in versions(&self.directory)? {
            if which(version) && version != self.counts {
                steps.extend(remove(&self.directory, version));
            }
        }
        if self.directory.join(NEXT).symlink_metadata().is_ok() {
            steps.push(Step::Remove(self.directory.join(NEXT)));
        }
        if !steps.is_empty() {
            steps.push(Step::Sync(self.directory.clone()));
        }
        carry_out(&self.directory, &steps)
    }
}

/// Changes what is kept in `directory`.
fn carry_out(directory: &Path, steps: &[Step]) -> Result<(), IdentityError> {
    let done = steps.iter().try_for_each(Step::carry_out);
    done.map_err(|source| IdentityError::NotKept {
        path: directory.into(),
        source,
    })
}

impl Version {
    fn path(self, directory: &Path) -> PathBuf {
        match self.0 {
            0 => directory.into(),
            _ => directory.join(self.name()),
        }
    }

    fn name(self) -> String {
        format!("v{}", self.0)
    }

    /// What [`Version::name`] wrote, and nothing that would lead elsewhere.
    fn parse(name: &str) -> Option<Self> {
        let version = Self(name.strip_prefix('v')?.parse().ok()?);
        (version.0 > 0 && version.name() == name).then_some(version)
    }
}

/// The version that counts: the one that the link names, unless a newer certificate was issued to
/// the top since.
fn current(directory: &Path) -> Result<Version, IdentityError> {
    let linked = linked(directory)?;
    let top = Version(0);
    if linked == top {
        return Ok(top);
    }
    let begins = |version: Version| begins(&version.path(directory).join(CHAIN));
    Ok(if is_whole(directory) && begins(top) > begins(linked) {
        top
    } else {
        linked
    })
}

/// Whether nothing of what stands beside a certificate is missing: it may be half removed.
fn is_whole(path: &Path) -> bool {
    let is_there = |name| path.join(name).exists();
    (is_there(KEY) || is_there(KEY_URI)) && is_there(AUTHORITIES)
}

/// When the certificate at `path` begins, if there is a good one.
fn begins(path: &Path) -> Option<UnixTime> {
    let chain = PemFile::open(path.into()).ok()?.certificates().ok()?;
    Some(Certificate::read(chain.first()?).ok()?.not_before)
}

fn linked(directory: &Path) -> Result<Version, IdentityError> {
    let path = directory.join(CURRENT);
    let read = || {
        let found = fs::symlink_metadata(&path)?;
        if found.is_symlink() {
            let target = fs::read_link(&path)?;
            return Ok(target.to_string_lossy().into_owned());
        }
        fs::read_to_string(&path)
    };
    let name = match read() {
        Ok(name) => name,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Version(0)),
        Err(source) => return Err(IdentityError::Unreadable { path, source }),
    };
    Version::parse(name.trim_end()).ok_or(IdentityError::NoVersion { path, name })
}

/// All versions that are there, whole or not.
fn versions(directory: &Path) -> Result<Vec<Version>, IdentityError> {
    let unreadable = |source| IdentityError::Unreadable {
        path: directory.into(),
        source,
    };
    let mut versions = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        versions.extend(name.to_str().and_then(Version::parse));
    }
    let is_at_top = |name| directory.join(name).symlink_metadata().is_ok();
    versions.extend(FILES.into_iter().any(is_at_top).then_some(Version(0)));
    Ok(versions)
}

/// Two devices that renewed one directory would take each other's versions away.
fn lock(directory: &Path) -> Result<File, IdentityError> {
    let path = || directory.into();
    let unreadable = |source| IdentityError::Unreadable {
        path: path(),
        source,
    };
    let lock = File::open(directory).map_err(unreadable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(IdentityError::InUse { path: path() }),
        Err(TryLockError::Error(source)) => Err(unreadable(source)),
    }
}

// The steps of each change, in an order in which each may be the last before the power goes.

fn stage(directory: &Path, version: Version, (name, key): (&str, Vec<u8>)) -> Vec<Step> {
    let path = version.path(directory);
    vec![
        Step::MakeDirectory(path.clone()),
        Step::Write(path.join(name), key),
    ]
}

fn switch(directory: &Path, version: Version, (chain, authorities): (&[u8], &[u8])) -> Vec<Step> {
    let path = version.path(directory);
    let mut steps = vec![
        Step::Write(path.join(CHAIN), chain.into()),
        Step::Write(path.join(AUTHORITIES), authorities.into()),
        // The names of the files, and that of the directory, before anything leads there.
        Step::Sync(path),
        Step::Sync(directory.into()),
    ];
    steps.extend(point(directory, version));
    steps
}

/// Lets a version count that is whole. Without a link, the files at the top do.
fn point(directory: &Path, version: Version) -> Vec<Step> {
    let (link, next) = (directory.join(CURRENT), directory.join(NEXT));
    let steps = match version {
        Version(0) => vec![Step::Remove(link)],
        version => vec![
            Step::Link(next.clone(), version.name()),
            Step::Rename(next, link),
        ],
    };
    let durable = Step::Sync(directory.into());
    steps.into_iter().chain([durable]).collect()
}

fn remove(directory: &Path, version: Version) -> Vec<Step> {
    let path = version.path(directory);
    let files = FILES.into_iter().map(|name| Step::Remove(path.join(name)));
    let rest = (version != Version(0)).then(|| Step::RemoveDirectory(path.clone()));
    files.chain(rest).collect()
}

#[cfg(test)]
mod tests;
