//! The files of an outbox: slots of one size, made in advance and used again and again.
//!
//! All room is taken when the outbox is opened, so that it cannot run out later, and a sync has no
//! metadata to write. A directory is held by one process at a time.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::OutboxError;
use crate::disk::{private, private_directory, sync_directory};

/// Zeros are written this many at a time.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What a log needs of a disk. Nothing is durable before it is synced.
pub(crate) trait Slots: Send + 'static {
    /// The slots that there are, each with what is in it.
    fn read_all(&mut self) -> io::Result<BTreeMap<u32, Vec<u8>>>;
    /// What is in a slot.
    fn read(&mut self, slot: u32) -> io::Result<Vec<u8>>;
    /// Makes a slot of zeros, durably.
    fn create(&mut self, slot: u32, len: u32) -> io::Result<()>;
    /// Gives a slot back, durably.
    fn remove(&mut self, slot: u32) -> io::Result<()>;
    /// Keeps what is in a slot under another name, durably, where it is no slot any more.
    fn set_aside(&mut self, slot: u32) -> io::Result<()>;
    fn write(&mut self, slot: u32, begin: u32, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self, slot: u32) -> io::Result<()>;
    /// What a person calls it.
    fn path(&self, slot: u32) -> PathBuf;
}

/// Slots in a directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    files: BTreeMap<u32, File>,
    /// Ours as long as this is open.
    _lock: File,
}

impl Directory {
    /// Opens a directory, or makes it, and takes it for this process.
    pub(crate) fn open(path: &Path) -> Result<Self, OutboxError> {
        let unusable = |source: io::Error| OutboxError::Unusable {
            path: path.into(),
            source: source.into(),
        };
        if !path.is_dir() {
            make(path).map_err(unusable)?;
        }
        let lock = private(OpenOptions::new().create(true).truncate(false).write(true))
            .open(path.join("lock"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.into(),
                files: BTreeMap::new(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(OutboxError::InUse { path: path.into() }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    fn file(&mut self, slot: u32) -> io::Result<&mut File> {
        self.files
            .get_mut(&slot)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }

    fn slot_names(&self) -> io::Result<Vec<u32>> {
        let mut slots = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".slot"));
            slots.extend(name.and_then(|number| number.parse::<u32>().ok()));
        }
        Ok(slots)
    }
}

impl Slots for Directory {
    fn read_all(&mut self) -> io::Result<BTreeMap<u32, Vec<u8>>> {
        for slot in self.slot_names()? {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(self.path(slot))?;
            self.files.insert(slot, file);
        }
        let slots: Vec<_> = self.files.keys().copied().collect();
        slots
            .into_iter()
            .map(|slot| Ok((slot, self.read(slot)?)))
            .collect()
    }

    fn read(&mut self, slot: u32) -> io::Result<Vec<u8>> {
        fs::read(self.path(slot))
    }

    fn create(&mut self, slot: u32, len: u32) -> io::Result<()> {
        // Under another name until it is whole: half a slot would be one of another size.
        let unfinished = self.path.join("unfinished");
        let options = &mut OpenOptions::new();
        let mut file = private(options.create(true).truncate(true).read(true).write(true))
            .open(&unfinished)?;
        let mut left = usize::try_from(len).unwrap_or(usize::MAX);
        while left > 0 {
            let zeros = ZEROS.get(..left).unwrap_or(&ZEROS);
            file.write_all(zeros)?;
            left -= zeros.len();
        }
        file.sync_all()?;
        fs::rename(unfinished, self.path(slot))?;
        self.files.insert(slot, file);
        self.sync_names()
    }

    fn remove(&mut self, slot: u32) -> io::Result<()> {
        self.files.remove(&slot);
        fs::remove_file(self.path(slot))?;
        self.sync_names()
    }

    fn set_aside(&mut self, slot: u32) -> io::Result<()> {
        self.files.remove(&slot);
        let aside = (1..).map(|n: u32| self.path.join(format!("{slot:03}.damaged-{n}")));
        let free = aside.into_iter().find(|path| !path.exists());
        fs::rename(self.path(slot), free.ok_or(io::ErrorKind::AlreadyExists)?)?;
        self.sync_names()
    }

    fn write(&mut self, slot: u32, begin: u32, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(slot)?;
        file.seek(SeekFrom::Start(begin.into()))?;
        file.write_all(bytes)
    }

    fn sync(&mut self, slot: u32) -> io::Result<()> {
        self.file(slot)?.sync_data()
    }

    fn path(&self, slot: u32) -> PathBuf {
        self.path.join(format!("{slot:03}.slot"))
    }
}

/// Makes a directory, and those above it that are missing, durably.
fn make(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|it| !it.exists());
    let parents: Vec<_> = missing.filter_map(Path::parent).collect();
    private_directory().recursive(true).create(path)?;
    parents.into_iter().try_for_each(sync_directory)
}
