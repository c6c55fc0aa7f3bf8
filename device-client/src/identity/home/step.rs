//! One change on the disk. What is made is for its owner alone, and what is written is durable
//! before the next step.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::disk::{private, private_directory, sync_directory};

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

impl Step {
    pub(super) fn carry_out(&self) -> io::Result<()> {
        match self {
            Self::MakeDirectory(path) => private_directory().create(path),
            Self::Write(path, contents) => write(path, contents),
            Self::Link(path, target) => link(path, target),
            Self::Rename(from, to) => fs::rename(from, to),
            Self::Remove(path) => unless_missing(fs::remove_file(path)),
            Self::RemoveDirectory(path) => unless_missing(fs::remove_dir_all(path)),
            Self::Sync(path) => sync_directory(path),
        }
    }
}

fn unless_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = private(OpenOptions::new().create_new(true).write(true)).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(unix)]
fn link(path: &Path, target: &str) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn link(path: &Path, target: &str) -> io::Result<()> {
    write(path, target.as_bytes())
}
