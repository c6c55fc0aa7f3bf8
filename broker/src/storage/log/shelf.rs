//! The files of one log, by their names.
//!
//! Whatever fails here says which file it was, and a full disk how much room there would have to
//! be.

use super::disk::{Disk, DiskFile};
use super::error::{Damage, Free, LogError, Operation};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the files are.
#[derive(Clone)]
pub(in crate::storage) struct Shelf {
    disk: Arc<dyn Disk>,
}

/// One of them, open.
pub(in crate::storage) struct NamedFile {
    shelf: Shelf,
    name: String,
    file: Box<dyn DiskFile>,
}

impl Shelf {
    pub(in crate::storage) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }

    pub(in crate::storage) fn names(&self) -> Result<Vec<String>, LogError> {
        let names = self.disk.names();
        names.map_err(|source| self.failed(Operation::List, "", source))
    }

    pub(in crate::storage) fn create(&self, name: &str) -> Result<NamedFile, LogError> {
        let file = self.disk.create(name);
        let file = file.map_err(|source| self.failed(Operation::Create, name, source))?;
        Ok(self.named(name, file))
    }

    pub(in crate::storage) fn open(&self, name: &str) -> Result<NamedFile, LogError> {
        let file = self.disk.open(name);
        let file = file.map_err(|source| self.failed(Operation::Open, name, source))?;
        Ok(self.named(name, file))
    }

    pub(in crate::storage) fn rename(&self, from: &str, to: &str) -> Result<(), LogError> {
        let done = self.disk.rename(from, to);
        done.map_err(|source| self.failed(Operation::Rename, from, source))
    }

    pub(in crate::storage) fn remove(&self, name: &str) -> Result<(), LogError> {
        let done = self.disk.remove(name);
        done.map_err(|source| self.failed(Operation::Remove, name, source))
    }

    pub(in crate::storage) fn sync_names(&self) -> Result<(), LogError> {
        let done = self.disk.sync_names();
        done.map_err(|source| self.failed(Operation::Sync, "", source))
    }

    /// How many bytes are free; all there could be where the disk does not say.
    pub(in crate::storage) fn free_bytes(&self) -> u64 {
        self.disk.free_bytes().unwrap_or(u64::MAX)
    }

    /// The same error with as much room as there is now, where it says that there was too little.
    pub(in crate::storage) fn measured_again(&self, error: LogError) -> LogError {
        match error {
            LogError::Full {
                path, size, source, ..
            } => LogError::Full {
                path,
                size,
                free: Free(self.disk.free_bytes().ok()),
                source,
            },
            other => other,
        }
    }

    pub(in crate::storage) fn missing(&self, name: &str) -> LogError {
        LogError::Missing {
            path: self.disk.path(name),
        }
    }

    pub(in crate::storage) fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }

    fn named(&self, name: &str, file: Box<dyn DiskFile>) -> NamedFile {
        NamedFile {
            shelf: self.clone(),
            name: name.to_owned(),
            file,
        }
    }

    fn failed(&self, operation: Operation, name: &str, source: io::Error) -> LogError {
        LogError::Disk {
            operation,
            path: self.disk.path(name),
            source,
        }
    }
}

impl NamedFile {
    pub(in crate::storage) fn size(&self) -> Result<u64, LogError> {
        let size = self.file.size();
        size.map_err(|source| self.shelf.failed(Operation::Read, &self.name, source))
    }

    pub(in crate::storage) fn read_at(&self, into: &mut [u8], offset: u64) -> Result<(), LogError> {
        let done = self.file.read_at(into, offset);
        done.map_err(|source| self.shelf.failed(Operation::Read, &self.name, source))
    }

    /// Writes into a file that takes `size` bytes as a whole.
    pub(in crate::storage) fn write_at(
        &self,
        bytes: &[u8],
        offset: u64,
        size: u64,
    ) -> Result<(), LogError> {
        let done = self.file.write_at(bytes, offset);
        done.map_err(|source| self.not_written(Operation::Write, size, source))
    }

    /// Syncs a file that takes `size` bytes as a whole.
    pub(in crate::storage) fn sync(&self, size: u64) -> Result<(), LogError> {
        let done = self.file.sync();
        done.map_err(|source| self.not_written(Operation::Sync, size, source))
    }

    pub(in crate::storage) fn damaged(&self, offset: u64, damage: Damage) -> LogError {
        LogError::Damaged {
            path: self.path(),
            offset,
            damage,
        }
    }

    pub(in crate::storage) fn path(&self) -> PathBuf {
        self.shelf.path(&self.name)
    }

    /// How much room there was for a file that was to have this size.
    fn free_bytes_for(&self, size: u64) -> Option<u64> {
        let free = self.shelf.disk.free_bytes().ok()?;
        // What it has taken before the disk was full was free for it.
        let taken = self.file.size().ok().filter(|taken| *taken < size);
        Some(free + taken.unwrap_or_default())
    }

    fn not_written(&self, operation: Operation, size: u64, source: io::Error) -> LogError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LogError::Full {
                path: self.path(),
                size,
                free: Free(self.free_bytes_for(size)),
                source,
            },
            _ => self.shelf.failed(operation, &self.name, source),
        }
    }
}
