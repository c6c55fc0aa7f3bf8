//! Disk: the few things that the log asks of a file system.
//!
//! Nothing else of the log touches files, so that a simulated disk can stand in for it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::PathBuf;

/// One folder of files.
#[allow(
    clippy::missing_errors_doc,
    reason = "each fails as the operating system says"
)]
pub trait Disk: Send + Sync {
    /// The names of all files there.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file, in place of the one that had the name.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file to read and to write.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file, whole or not at all. Durable after [`Self::sync_names`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable after [`Self::sync_names`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Waits until the names are on the disk.
    fn sync_names(&self) -> io::Result<()>;

    /// How many bytes are free.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Where a file is, for those who have to look after it.
    fn path(&self, name: &str) -> PathBuf;
}

/// One file.
#[allow(
    clippy::missing_errors_doc,
    reason = "each fails as the operating system says"
)]
pub trait DiskFile: Send {
    /// How long it is.
    fn size(&self) -> io::Result<u64>;

    /// Reads as many bytes as `into` takes.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all bytes, beyond the end, too.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Waits until all that was written is on the disk.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the operating system.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at `path`, which is made if it is not there; the one that it is in must be.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // A folder that is not there after a power cut has nothing in it either.
        File::open(path.join(".."))?.sync_all()?;
        Ok(Self { path })
    }
}

impl Disk for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let free = rustix::fs::statvfs(&self.path)?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// A folder in which nothing is changed.
#[derive(Clone, Debug)]
pub struct ReadOnly {
    folder: Folder,
}

impl ReadOnly {
    /// The folder at `path`, which must be there.
    pub fn new(path: PathBuf) -> Self {
        Self {
            folder: Folder { path },
        }
    }
}

impl Disk for ReadOnly {
    fn names(&self) -> io::Result<Vec<String>> {
        self.folder.names()
    }

    fn create(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(self.folder.path.join(name))?))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.folder.free_bytes()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync: the length is synced with it where it has changed.
        self.sync_data()
    }
}
