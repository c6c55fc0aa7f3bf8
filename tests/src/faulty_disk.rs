//! A disk that fails at a step it is told, and loses what was not synced.
//!
//! What is written waits in memory until it is synced, as it would in the memory of a machine
//! whose power goes: a process that ends before the sync leaves nothing of it behind. It looks at
//! the files of segments only where a step is counted, so that a step is one of a commit.

use broker::storage::log::{Disk, DiskFile, Folder};
use rustix::process::{Signal, getpid, kill_process};
use std::fmt;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

/// The environment variable with the [`Fault`] of a disk.
pub const FAULT: &str = "COUNTERSIGN_TEST_FAULT";

/// What happens, and at which of its kind of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub point: Point,
    /// At which one, from 1 on.
    pub step: u64,
}

/// A point inside a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The process ends before a write has begun.
    BeforeWrite,
    /// The process ends when a write has put half of its bytes on the disk.
    HalfWritten,
    /// The process ends after a write, which is on no disk yet.
    AfterWrite,
    /// The process ends before a sync has begun.
    BeforeSync,
    /// The process ends when all is on the disk and nobody knows: before the acknowledgement.
    AfterSync,
    /// The process ends while those who wait for a sync are told.
    Telling,
    /// The process ends before any step that changes anything, such as a checkpoint's.
    AnyChange,
    /// A write fails, and all that follow.
    WriteFails,
    /// A sync fails, and all that follow.
    SyncFails,
}

impl Point {
    /// All of them at which the process ends.
    pub const DEADLY: [Self; 7] = [
        Self::BeforeWrite,
        Self::HalfWritten,
        Self::AfterWrite,
        Self::BeforeSync,
        Self::AfterSync,
        Self::Telling,
        Self::AnyChange,
    ];

    const NAMES: [(Self, &str); 9] = [
        (Self::BeforeWrite, "before-write"),
        (Self::HalfWritten, "half-written"),
        (Self::AfterWrite, "after-write"),
        (Self::BeforeSync, "before-sync"),
        (Self::AfterSync, "after-sync"),
        (Self::Telling, "telling"),
        (Self::AnyChange, "any-change"),
        (Self::WriteFails, "write-fails"),
        (Self::SyncFails, "sync-fails"),
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Point::NAMES.iter();
        let (_, name) = names.find(|(point, _)| *point == self.point).unwrap();
        write!(f, "{name}:{}", self.step)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (name, step) = text.split_once(':')?;
            let (point, _) = Point::NAMES.iter().find(|(_, it)| *it == name)?;
            let step = step.parse().ok()?;
            Some(Self {
                point: *point,
                step,
            })
        };
        parse().ok_or_else(|| format!("{text:?} is no fault; one is \"after-write:17\""))
    }
}

/// The folder at `path`, with the fault that the environment names.
///
/// # Errors
/// If there is no such folder.
pub fn open(path: PathBuf) -> io::Result<Arc<dyn Disk>> {
    let folder = Folder::open(path)?;
    Ok(Arc::new(FaultyDisk { folder }))
}

static PLAN: LazyLock<Option<Fault>> = LazyLock::new(|| {
    let fault = std::env::var(FAULT).ok()?;
    Some(fault.parse().expect("a fault"))
});
/// How often each point was passed, in the order of [`Point::NAMES`].
static PASSED: [AtomicU64; 9] = [const { AtomicU64::new(0) }; 9];

/// Passes a point. Whether what is planned has happened, or is to happen now.
fn is_due(point: Point) -> bool {
    let Some(fault) = &*PLAN else { return false };
    let place = Point::NAMES.iter().position(|(it, _)| *it == point);
    let passed = PASSED[place.unwrap()].fetch_add(1, Ordering::Relaxed) + 1;
    fault.point == point && passed >= fault.step
}

fn die_if_due(point: Point) {
    if is_due(point) {
        die();
    }
}

/// As SIGKILL from outside: no destructor runs, no buffer is written.
fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    unreachable!("SIGKILL cannot be survived")
}

struct FaultyDisk {
    folder: Folder,
}

impl FaultyDisk {
    fn file(name: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile {
            is_segment: name.strip_suffix(".log").is_some(),
            file,
            unsynced: Mutex::default(),
        })
    }
}

impl Disk for FaultyDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        self.folder.names()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        die_if_due(Point::AnyChange);
        Ok(Self::file(name, self.folder.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Self::file(name, self.folder.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        die_if_due(Point::AnyChange);
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        die_if_due(Point::AnyChange);
        self.folder.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        die_if_due(Point::AnyChange);
        self.folder.sync_names()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.folder.free_bytes()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }
}

struct FaultyFile {
    /// Its steps are those of commits.
    is_segment: bool,
    file: Box<dyn DiskFile>,
    unsynced: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl FaultyFile {
    fn pass(&self, point: Point) {
        if self.is_segment {
            die_if_due(point);
        }
    }

    fn fail(&self, point: Point) -> io::Result<()> {
        if self.is_segment && is_due(point) {
            return Err(io::Error::other("a fault that a test has planned"));
        }
        Ok(())
    }

    /// Whoever reads finds what was written before.
    fn write_back(&self) -> io::Result<()> {
        let unsynced = mem::take(&mut *self.unsynced.lock().unwrap());
        let mut unsynced = unsynced.iter();
        unsynced.try_for_each(|(offset, bytes)| self.file.write_at(bytes, *offset))
    }
}

impl DiskFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.write_back()?;
        self.file.size()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.write_back()?;
        self.file.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        die_if_due(Point::AnyChange);
        self.pass(Point::BeforeWrite);
        self.fail(Point::WriteFails)?;
        if self.is_segment && is_due(Point::HalfWritten) {
            self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            die();
        }
        let unsynced = (offset, bytes.to_vec());
        self.unsynced.lock().unwrap().push(unsynced);
        self.pass(Point::AfterWrite);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        die_if_due(Point::AnyChange);
        self.pass(Point::BeforeSync);
        self.fail(Point::SyncFails)?;
        self.write_back()?;
        self.file.sync()?;
        self.pass(Point::AfterSync);
        if self.is_segment && is_due(Point::Telling) {
            // Somewhere on the way to those who wait.
            std::thread::spawn(|| die());
        }
        Ok(())
    }
}
