//! Memory: what the broker must not forget of revocation, whatever becomes of its files.
//!
//! Who was revoked here, a line of JSON each, and the newest list of each kind that was believed:
//! a directory of lists that is restored from a backup brings nobody back.

use super::files::{self, unreadable};
use super::lists::{ListFile, list_files, read_file};
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
        let lists = directory.join(LISTS);
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&lists);
        made.map_err(|source| unreadable(&lists, source))?;
        let path = directory.join(ENTRIES);
        let entries = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| unreadable(&path, source))?;
        let text = fs::read_to_string(&path).map_err(|source| unreadable(&path, source))?;
        let whole = read_entries(&path, &text, set)?;
        if whole < text.len() {
            // Nobody was told of a line that was not written to its end.
            let cut = entries.set_len(whole as u64);
            cut.and_then(|()| entries.sync_all())
                .map_err(|source| unreadable(&path, source))?;
        }
        read_kept(&lists, authorities, set)?;
        sync_folder(&directory).map_err(|source| unreadable(&directory, source))?;
        Ok(Self {
            registry_number: read_number(&directory.join(REGISTRY_NUMBER))?,
            directory,
            entries,
        })
    }

    /// Keeps an entry: it is durable when this returns.
    ///
    /// # Errors
    /// If the disk fails or is full.
    pub(crate) fn keep_entry(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let len = self.entries.metadata()?.len();
        let kept = self
            .entries
            .write_all(&line)
            .and_then(|()| self.entries.sync_data());
        if kept.is_err() {
            // What was half written must not stand before the next one.
            self.entries.set_len(len)?;
        }
        kept
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

/// The number in a file; none where there is no file. One that cannot be read is none that may be
/// taken for 0.
fn read_number(path: &Path) -> Result<Option<u64>, TrustError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(unreadable(path, source)),
    };
    let number = text.trim().parse().map_err(io::Error::other);
    number.map(Some).map_err(|source| unreadable(path, source))
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
    for path in list_files(&[folder.to_owned()], &mut errors) {
        for read in read_file(&path, &files::read(&path)?, authorities) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use certs::Subject;

    fn entry(device: &str) -> Entry {
        Entry {
            target: Target::Device(Subject::parse(device).unwrap()),
            reason: RevocationReason::KeyCompromise,
            time: 1_800_000_000,
        }
    }

    fn open(data: &Path) -> Result<(Memory, RevocationSet), TrustError> {
        let mut set = RevocationSet::default();
        Memory::open(data, &[], &mut set).map(|memory| (memory, set))
    }

    fn revoked(set: &RevocationSet) -> Vec<String> {
        let mut names: Vec<_> = set.own_subjects().map(|(it, _)| it.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn who_was_revoked_is_remembered_and_half_a_line_was_told_to_nobody() {
        let data = tempfile::tempdir().unwrap();
        let (mut memory, _) = open(data.path()).unwrap();
        memory.keep_entry(&entry("dev-1")).unwrap();
        let path = data.path().join("trust/revoked.jsonl");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], &whole[..20]].concat()).unwrap();
        let (mut memory, set) = open(data.path()).unwrap();
        assert_eq!(revoked(&set), ["dev-1"]);
        memory.keep_entry(&entry("dev-2")).unwrap();
        let (_, set) = open(data.path()).unwrap();
        assert_eq!(revoked(&set), ["dev-1", "dev-2"]);
    }

    #[test]
    fn a_line_that_is_none_of_ours_is_named() {
        let data = tempfile::tempdir().unwrap();
        let (mut memory, _) = open(data.path()).unwrap();
        memory.keep_entry(&entry("dev-1")).unwrap();
        let path = data.path().join("trust/revoked.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.clone() + "{}\n" + &text).unwrap();
        let error = open(data.path()).err().unwrap().to_string();
        assert!(error.contains("revoked.jsonl:2: not an entry"), "{error}");
    }

    #[test]
    fn a_number_that_cannot_be_read_is_not_taken_for_none() {
        let data = tempfile::tempdir().unwrap();
        let (mut memory, _) = open(data.path()).unwrap();
        assert_eq!(memory.registry_number(), None);
        memory.keep_registry_number(7).unwrap();
        let (memory, _) = open(data.path()).unwrap();
        assert_eq!(memory.registry_number(), Some(7));
        fs::write(data.path().join("trust/registry-number"), "").unwrap();
        let error = open(data.path()).err().unwrap().to_string();
        assert!(error.contains("registry-number"), "{error}");
    }
}
