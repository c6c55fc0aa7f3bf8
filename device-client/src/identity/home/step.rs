//! One change on the disk. What is made is for its owner alone, and what is written is durable
//! before the next step.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// One change on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    MakeDirectory(PathBuf),
    /// The file and its contents.
    Write(PathBuf, Vec<u8>),
    /// What the link is called, and what it names.
    Link(PathBuf, String),
    /// From, to.
    Rename(PathBuf, PathBuf),
    /// A file or link, if it is there.
    Remove(PathBuf),
    /// One of ours, if it is there, with whatever is in it.
    RemoveDirectory(PathBuf),
    /// The names in a directory.
    Sync(PathBuf),
}

pub(super) fn carry_out(step: &Step) -> io::Result<()> {
    match step {
        Step::MakeDirectory(path) => make_directory(path),
        Step::Write(path, contents) => write(path, contents),
        Step::Link(path, target) => link(path, target),
        Step::Rename(from, to) => fs::rename(from, to),
        Step::Remove(path) => unless_missing(fs::remove_file(path)),
        Step::RemoveDirectory(path) => unless_missing(fs::remove_dir_all(path)),
        Step::Sync(path) => sync(path),
    }
}

fn unless_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = private_file().create_new(true).write(true).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(unix)]
fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().create(path)
}

#[cfg(unix)]
fn private_file() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
fn private_file() -> OpenOptions {
    OpenOptions::new()
}

#[cfg(unix)]
fn link(path: &Path, target: &str) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn link(path: &Path, target: &str) -> io::Result<()> {
    write(path, target.as_bytes())
}

#[cfg(unix)]
fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Elsewhere a directory cannot be opened to be synced: its file system keeps the order of names.
#[cfg(not(unix))]
fn sync(_path: &Path) -> io::Result<()> {
    Ok(())
}
