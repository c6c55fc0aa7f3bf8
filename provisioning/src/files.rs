//! Private files: readable for their owner alone, whole at any moment, durable when said to be.
//!
//! Files get mode 0600 and directories 0700 whatever the umask. A file is written under another
//! name, synced, and renamed, so that no reader and no power cut ever sees half of one. Nothing is
//! read or written through a symbolic link.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::CommandError;

/// No certificate chain, key or request is longer.
const FILE_LEN_MAX: u64 = 64 * 1024;

const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// Up to here each file is synced by itself, which waits for nobody else's data; beyond, the whole
/// file system is, which costs the same for any number of files.
const SYNC_EACH_MAX: usize = 64;

/// Files on their way to their places.
///
/// They are written under names of their own and reach their places together in
/// [`Staging::commit`]. Whatever is not committed is deleted.
pub(crate) struct Staging {
    /// The directory below which everything happens, on one file system.
    root: PathBuf,
    renames: Vec<(PathBuf, PathBuf)>,
    dirs: BTreeSet<PathBuf>,
}

impl Staging {
    /// For files below `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.into(),
            renames: Vec::new(),
            dirs: BTreeSet::new(),
        }
    }

    /// Makes the directory `path` and those between it and the root, where they are missing.
    pub(crate) fn make_dir(&mut self, path: &Path) -> Result<(), CommandError> {
        let below: Vec<_> = path
            .ancestors()
            .take_while(|dir| *dir != self.root)
            .collect();
        for dir in below.into_iter().rev() {
            self.dirs.extend(dir.parent().map(Path::to_path_buf));
            make_dir(dir)?;
        }
        Ok(())
    }

    /// Writes `contents`, which will be the file `path`.
    pub(crate) fn write(
        &mut self,
        path: &Path,
        contents: impl AsRef<[u8]>,
    ) -> Result<(), CommandError> {
        refuse_symbolic_link(path)?;
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let staged = PathBuf::from(name);
        self.dirs.extend(path.parent().map(Path::to_path_buf));
        self.renames.push((staged.clone(), path.into()));
        create(&staged)
            .and_then(|mut file| file.write_all(contents.as_ref()))
            .map_err(|source| failed("write", &staged, source))
    }

    /// Brings all files to their places, in the order in which they were written.
    pub(crate) fn commit(mut self) -> Result<(), CommandError> {
        if self.renames.is_empty() {
            return Ok(());
        }
        // The contents must be on disk before the names are, or a power cut could leave an empty
        // file where a whole one was; and the names, before anybody is told.
        self.sync(self.renames.iter().map(|(staged, _)| staged.as_path()))?;
        for (staged, path) in &self.renames {
            fs::rename(staged, path).map_err(|source| failed("rename", path, source))?;
        }
        self.renames.clear();
        self.sync(self.dirs.iter().map(PathBuf::as_path))
    }

    fn sync<'a>(&self, paths: impl ExactSizeIterator<Item = &'a Path>) -> Result<(), CommandError> {
        if paths.len() > SYNC_EACH_MAX {
            return sync_file_system(&self.root);
        }
        paths.into_iter().try_for_each(sync)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        for (staged, _) in &self.renames {
            // What cannot be deleted now is overwritten by the next command.
            let _ = fs::remove_file(staged);
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::mode;

    #[test]
    fn files_reach_their_places_together_or_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let [one, two] = ["a/one", "b/two"].map(|name| temp.path().join(name));
        let stage = |contents| {
            let mut staging = Staging::new(temp.path());
            for path in [&one, &two] {
                staging.make_dir(path.parent().unwrap()).unwrap();
                staging.write(path, contents).unwrap();
            }
            staging
        };
        drop(stage("never"));
        assert!(names_in(&temp.path().join("a")).unwrap().is_empty());
        stage("first").commit().unwrap();
        drop(stage("never"));
        assert_eq!(
            [read(&one).unwrap(), read(&two).unwrap()],
            [b"first", b"first"]
        );
        stage("second").commit().unwrap();
        assert_eq!(
            [read(&one).unwrap(), read(&two).unwrap()],
            [b"second", b"second"]
        );
        assert_eq!(
            names_in(&temp.path().join("a")).unwrap(),
            [Path::new("one")]
        );
        assert_eq!((mode(&one), mode(&temp.path().join("a"))), (0o600, 0o700));
    }

    #[test]
    fn what_a_killed_command_left_under_a_name_of_ours_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("key.pem");
        let outside = temp.path().join("outside");
        fs::write(&outside, "theirs").unwrap();
        std::os::unix::fs::symlink(&outside, temp.path().join("key.pem.new")).unwrap();
        let mut staging = Staging::new(temp.path());
        staging.write(&path, "ours").unwrap();
        staging.commit().unwrap();
        assert_eq!(read(&path).unwrap(), b"ours");
        assert_eq!(read(&outside).unwrap(), b"theirs");
    }

    #[test]
    fn more_files_than_are_synced_one_by_one_reach_their_places_too() {
        let temp = tempfile::tempdir().unwrap();
        let mut staging = Staging::new(temp.path());
        for n in 0..=SYNC_EACH_MAX {
            staging
                .write(&temp.path().join(n.to_string()), "x")
                .unwrap();
        }
        staging.commit().unwrap();
        assert_eq!(names_in(temp.path()).unwrap().len(), SYNC_EACH_MAX + 1);
    }
}
