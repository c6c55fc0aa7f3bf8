//! Memory: what the broker must not forget of revocation, whatever becomes of its files.
//!
//! Who was revoked here, a line of JSON each, and the newest list of each kind that was believed:
//! a directory of lists that is restored from a backup brings nobody back.

use super::lists::{ListFile, read_file};
use super::{Authority, TrustError};
use certs::admin::Target;
use certs::{RevocationReason, RevocationSet, Revoked};
use rustls_pki_types::UnixTime;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ENTRIES: &str = "revoked.jsonl";
const LISTS: &str = "lists";
const REGISTRY_NUMBER: &str = "registry-number";

/// That a device or a certificate was revoked here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Whom.
    pub(crate) target: Target,
    /// Why.
    pub(crate) reason: RevocationReason,
    /// Since when, in seconds since 1970.
    pub(crate) time: u64,
}

impl Entry {
    /// Adds it to a set.
    pub(crate) fn enter(&self, set: &mut RevocationSet) {
        let revoked = Revoked {
            at: UnixTime::since_unix_epoch(Duration::from_secs(self.time)),
            reason: self.reason,
        };
        match &self.target {
            Target::Device(subject) => set.revoke_subject(subject.clone(), revoked),
            Target::Certificate { issuer, serial } => {
                set.revoke_certificate(&issuer.0, *serial, revoked);
            }
        }
    }
}

/// The folder of a data directory in which that is kept.
#[derive(Debug)]
pub(crate) struct Memory {
    directory: PathBuf,
    entries: File,
    registry_number: Option<u64>,
}

impl Memory {
    /// Opens the memory in a data directory, and puts what it has into `set`. A list of an anchor
    /// that is trusted no more is left out.
    ///
    /// # Errors
    /// If it cannot be read, or has a line that is none.
    pub(crate) fn open(
        data: &Path,
        authorities: &[Authority],
        set: &mut RevocationSet,
    ) -> Result<Self, TrustError> {
        let directory = data.join("trust");
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| TrustError::Unreadable { path, source }
        };
        let lists = directory.join(LISTS);
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&lists);
        made.map_err(unreadable(&lists))?;
        let path = directory.join(ENTRIES);
        let entries = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(unreadable(&path))?;
        let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
        let whole = read_entries(&path, &text, set)?;
        if whole < text.len() {
            // Nobody was told of a line that was not written to its end.
            let cut = entries.set_len(whole as u64);
            cut.and_then(|()| entries.sync_all())
                .map_err(unreadable(&path))?;
        }
        read_kept(&lists, authorities, set)?;
        sync_folder(&directory).map_err(unreadable(&directory))?;
        let number = fs::read_to_string(directory.join(REGISTRY_NUMBER)).ok();
        let registry_number = number.and_then(|it| it.trim().parse().ok());
        Ok(Self {
            directory,
            entries,
            registry_number,
        })
    }

    /// Keeps an entry: it is durable when this returns.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub(crate) fn keep_entry(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.entries.write_all(&line)?;
        self.entries.sync_data()
    }

    /// Keeps lists in place of older ones: they are durable when this returns.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub(crate) fn keep_lists<'a>(
        &self,
        lists: impl Iterator<Item = &'a ListFile>,
    ) -> io::Result<()> {
        let folder = self.directory.join(LISTS);
        for ListFile { list, der, .. } in lists {
            // An id has a slash, which no name of a file has.
            let name = list.id().as_str().replace('/', "_");
            replace(&folder, &format!("{name}.crl"), der)?;
        }
        sync_folder(&folder)
    }

    /// The highest number of a registry export that was seen.
    pub(crate) fn registry_number(&self) -> Option<u64> {
        self.registry_number
    }

    /// Keeps the number of a registry export: it is durable when this returns.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub(crate) fn keep_registry_number(&mut self, number: u64) -> io::Result<()> {
        if self.registry_number == Some(number) {
            return Ok(());
        }
        replace(
            &self.directory,
            REGISTRY_NUMBER,
            number.to_string().as_bytes(),
        )?;
        sync_folder(&self.directory)?;
        self.registry_number = Some(number);
        Ok(())
    }
}

/// Writes a file whole in the place of the one before.
fn replace(folder: &Path, name: &str, octets: &[u8]) -> io::Result<()> {
    let new = folder.join("new");
    let mut file = File::create(&new)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(new, folder.join(name))
}

/// Reads all lines that end. How long these are.
fn read_entries(path: &Path, text: &str, set: &mut RevocationSet) -> Result<usize, TrustError> {
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let lines = text.get(..whole).unwrap_or_default().lines();
    for (line, number) in lines.zip(1..) {
        let entry: Entry = serde_json::from_str(line).map_err(|source| TrustError::NotAnEntry {
            path: path.to_owned(),
            line: number,
            source,
        })?;
        entry.enter(set);
    }
    Ok(whole)
}

fn read_kept(
    folder: &Path,
    authorities: &[Authority],
    set: &mut RevocationSet,
) -> Result<(), TrustError> {
    let mut errors = Vec::new();
    for path in super::lists::list_files(&[folder.to_owned()], &mut errors) {
        let octets = fs::read(&path).map_err(|source| TrustError::Unreadable {
            path: path.clone(),
            source,
        })?;
        for read in read_file(&path, &octets, authorities) {
            match read {
                // Each stands in the set for the first time.
                Ok(file) => drop(set.replace_list(file.list)),
                Err(error) => tracing::warn!(%error, "a revocation list that was kept is left out"),
            }
        }
    }
    errors.pop().map_or(Ok(()), Err)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
