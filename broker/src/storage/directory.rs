//! The data directory: whose it is, in which format, and for how many shards.
//!
//! One process has it at a time. It says by its lock who that is, and by its format what may be
//! read in it.

use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The version of the directory. What is in each shard's has versions of its own.
const FORMAT_VERSION: u32 = 1;
const LOCK: &str = "lock";
const FORMAT: &str = "format";

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

/// A data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The operating system refused.
    #[error("{}: cannot be used as the data directory", path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// Why it cannot.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{}: {holder} has this data directory; stop it first, or set another \
        `storage.directory`", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who has it.
        holder: String,
    },
    /// What is in it was made by another version.
    #[error("{}: {found:?} is not the format of a data directory; this broker reads {known:?}",
        path.display())]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// Its first line.
        found: String,
        /// What it should be.
        known: String,
    },
    /// It was made for another number of shards.
    #[error("{}: it was made for {found} shards, and this broker runs {wanted}", path.display())]
    Shards {
        /// The directory.
        path: PathBuf,
        /// How many it has.
        found: u32,
        /// How many there are to be.
        wanted: u32,
    },
}

impl DataDirectory {
    /// Takes the directory at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// If another process has it, or it was not made for us.
    pub fn take(path: &Path, shards: u32) -> Result<Self, DirectoryError> {
        let at = |path: PathBuf| move |source| DirectoryError::Disk { path, source };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(at(path.to_owned()))?;
        let lock = lock(path)?;
        let format = path.join(FORMAT);
        match fs::read_to_string(&format) {
            Ok(text) => check_format(&format, &text, shards)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_format(path, shards).map_err(at(format))?;
            }
            Err(error) => return Err(at(format)(error)),
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Where the files of a shard are.
    pub fn shard(&self, index: u32) -> PathBuf {
        shard_path(&self.path, index)
    }
}

/// How many shards a data directory was made for, without taking it.
///
/// # Errors
/// If it is none, or none of this version.
pub(super) fn shards_of(path: &Path) -> Result<u32, DirectoryError> {
    let format = path.join(FORMAT);
    let text = fs::read_to_string(&format).map_err(|source| DirectoryError::Disk {
        path: format.clone(),
        source,
    })?;
    parse_format(&format, &text)
}

/// Where the files of a shard are in the directory at `path`.
pub(super) fn shard_path(path: &Path, index: u32) -> PathBuf {
    path.join(format!("shard-{index}"))
}

/// Locks the directory, or says who has it.
fn lock(path: &Path) -> Result<File, DirectoryError> {
    let name = path.join(LOCK);
    let open = || -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.mode(0o600).open(&name)
    };
    let disk = |source| DirectoryError::Disk {
        path: name.clone(),
        source,
    };
    let mut file = open().map_err(disk)?;
    if let Err(errno) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if errno != rustix::io::Errno::WOULDBLOCK {
            return Err(disk(errno.into()));
        }
        let mut holder = String::new();
        // Where it cannot be read, it is still somebody's.
        let _ = file.read_to_string(&mut holder);
        let holder = match holder.trim() {
            "" => "another process".to_owned(),
            holder => holder.escape_debug().to_string(),
        };
        return Err(DirectoryError::InUse {
            path: path.to_owned(),
            holder,
        });
    }
    let ours = format!("{} (process {})\n", program(), std::process::id());
    file.set_len(0).map_err(disk)?;
    file.write_all(ours.as_bytes()).map_err(disk)?;
    Ok(file)
}

/// What this program is called.
fn program() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(Path::file_name);
    name.map_or_else(|| "a broker".to_owned(), |name| name.display().to_string())
}

fn first_line() -> String {
    format!("countersign storage {FORMAT_VERSION}")
}

fn write_format(path: &Path, shards: u32) -> io::Result<()> {
    let unfinished = path.join("format-preparing");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&unfinished)?;
    write!(file, "{}\nshards {shards}\n", first_line())?;
    file.sync_all()?;
    fs::rename(unfinished, path.join(FORMAT))?;
    File::open(path)?.sync_all()
}

fn check_format(format: &Path, text: &str, wanted: u32) -> Result<(), DirectoryError> {
    let found = parse_format(format, text)?;
    if found == wanted {
        return Ok(());
    }
    Err(DirectoryError::Shards {
        path: format.parent().unwrap_or(format).to_owned(),
        found,
        wanted,
    })
}

fn parse_format(format: &Path, text: &str) -> Result<u32, DirectoryError> {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let shards = lines.next().and_then(|it| it.strip_prefix("shards "));
    match shards.and_then(|it| it.parse().ok()) {
        Some(shards) if first == first_line() => Ok(shards),
        _ => Err(DirectoryError::Format {
            path: format.to_owned(),
            found: first.chars().take(80).collect(),
            known: first_line(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_broker_is_refused_by_name_and_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = DataDirectory::take(&path, 1).unwrap();
        let refused = DataDirectory::take(&path, 1).unwrap_err().to_string();
        let holder = format!("(process {}) has this data directory", std::process::id());
        assert!(refused.contains(&holder), "{refused}");
        assert!(refused.contains(&program()), "{refused}");
        drop(first);
        let again = DataDirectory::take(&path, 1).unwrap();
        assert_eq!(again.shard(0), path.join("shard-0"));
    }

    #[test]
    fn what_was_made_for_others_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataDirectory::take(folder.path(), 3).unwrap());
        assert_eq!(shards_of(folder.path()).unwrap(), 3);
        let refused = DataDirectory::take(folder.path(), 1).unwrap_err();
        let words = "it was made for 3 shards, and this broker runs 1";
        assert!(refused.to_string().ends_with(words), "{refused}");
        for text in [
            "",
            "countersign storage 2\nshards 3\n",
            "countersign storage 1\n",
        ] {
            fs::write(folder.path().join(FORMAT), text).unwrap();
            let refused = DataDirectory::take(folder.path(), 3).unwrap_err();
            assert!(
                matches!(refused, DirectoryError::Format { .. }),
                "{refused}"
            );
        }
    }

    #[test]
    fn nobody_else_may_look_into_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let _taken = DataDirectory::take(&path, 1).unwrap();
        for (name, expected) in [(".", 0o700), (LOCK, 0o600), (FORMAT, 0o600)] {
            let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, expected, "{name}");
        }
    }
}
