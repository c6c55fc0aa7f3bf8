//! Files and directories on their way to their places.
//!
//! What is staged is on disk under another name before it takes its place, and takes it in one
//! rename: a file by itself, a directory with all that is in it, so that whoever opens one never
//! finds a key in it next to the certificate of another one, whenever power failed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use super::home::is_of_renewal;
use super::{
    create, exists, failed, make_dir, names_in, refuse_symbolic_link, sync, sync_file_system,
};
use crate::error::CommandError;

/// Up to here each file is synced by itself, which waits for nobody else's data; beyond, the whole
/// file system is, which costs the same for any number of files.
const SYNC_EACH_MAX: usize = 64;

/// Files and directories that reach their places in [`Staging::commit`]. Whatever is not committed
/// is deleted.
pub(crate) struct Staging {
    /// The directory below which everything happens, on one file system.
    root: PathBuf,
    /// Where each is, and where it will be.
    moves: Vec<(PathBuf, PathBuf)>,
    /// What must be on disk before anything is moved.
    written: Vec<PathBuf>,
    /// The directories in which names change.
    dirs: BTreeSet<PathBuf>,
}

impl Staging {
    /// For files below `root`.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.into(),
            moves: Vec::new(),
            written: Vec::new(),
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
        let mut file = self.create(path)?;
        let written = file.write_all(contents.as_ref());
        written.map_err(|source| failed("write", path, source))
    }

    /// An empty file, to be written before the commit, which will be the file `path`.
    pub(crate) fn create(&mut self, path: &Path) -> Result<File, CommandError> {
        refuse_symbolic_link(path)?;
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let staged = PathBuf::from(name);
        self.stage(staged.clone(), path);
        self.create_staged(staged)
    }

    /// Writes what will be the directory `dir`: `files`, of which those without contents are not to
    /// be there, and whatever other files are there now, but for what a device made there when it
    /// renewed its certificate.
    pub(crate) fn write_dir(
        &mut self,
        dir: &Path,
        files: &[(&Path, Option<&str>)],
    ) -> Result<(), CommandError> {
        if let Some(parent) = dir.parent() {
            self.make_dir(parent)?;
        }
        refuse_symbolic_link(dir)?;
        let staged = hidden(dir);
        // A command that was killed left it.
        remove(&staged)?;
        self.stage(staged.clone(), dir);
        make_dir(&staged)?;
        for (path, contents) in files {
            refuse_symbolic_link(path)?;
            if let (Some(name), Some(contents)) = (path.file_name(), contents) {
                let mut file = self.create_staged(staged.join(name))?;
                let written = file.write_all(contents.as_bytes());
                written.map_err(|source| failed("write", path, source))?;
            }
        }
        self.written.push(staged.clone());
        for name in names_in(dir)? {
            let path = dir.join(&name);
            let is_half_a_file = name.extension().is_some_and(|extension| extension == "new");
            if is_half_a_file
                || is_of_renewal(&name)
                || files.iter().any(|(file, _)| **file == *path)
            {
                continue;
            }
            fs::hard_link(&path, staged.join(name))
                .map_err(|source| failed("keep", &path, source))?;
        }
        Ok(())
    }

    /// Brings everything to its place, in the order in which it was written.
    pub(crate) fn commit(mut self) -> Result<(), CommandError> {
        if self.moves.is_empty() {
            return Ok(());
        }
        // The contents must be on disk before the names are, or a power cut could leave an empty
        // file where a whole one was; and the names, before anybody is told.
        self.sync(self.written.iter().map(PathBuf::as_path))?;
        for (staged, path) in &self.moves {
            move_to(staged, path)?;
        }
        self.sync(self.dirs.iter().map(PathBuf::as_path))?;
        // Where a directory was before, it is the one before that has the other name now.
        self.moves.drain(..).try_for_each(|(old, _)| remove(&old))
    }

    fn stage(&mut self, staged: PathBuf, path: &Path) {
        self.dirs.extend(path.parent().map(Path::to_path_buf));
        self.moves.push((staged, path.into()));
    }

    fn create_staged(&mut self, staged: PathBuf) -> Result<File, CommandError> {
        let file = create(&staged).map_err(|source| failed("write", &staged, source))?;
        self.written.push(staged);
        Ok(file)
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
        for (staged, _) in &self.moves {
            // What cannot be deleted now is replaced by the next command.
            let _ = remove(staged);
        }
    }
}

/// The name beside `dir` under which its successor is made: no id begins with a dot.
fn hidden(dir: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(dir.file_name().unwrap_or_default());
    name.push(".new");
    dir.with_file_name(name)
}

/// Gives what is staged its place. Of two directories each takes the other's.
pub(crate) fn move_to(staged: &Path, path: &Path) -> Result<(), CommandError> {
    let moved = if staged.is_dir() && exists(path)? {
        rustix::fs::renameat_with(CWD, staged, CWD, path, RenameFlags::EXCHANGE)
            .map_err(io::Error::from)
    } else {
        fs::rename(staged, path)
    };
    moved.map_err(|source| failed("replace", path, source))
}

/// Deletes a file, or a directory with all that is in it, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), CommandError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
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

    /// What stands in `dir`, by name.
    fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut names = names_in(dir).unwrap();
        names.sort();
        let read = |name: PathBuf| (name.clone(), read(&dir.join(name)).unwrap());
        names.into_iter().map(read).collect()
    }

    #[test]
    fn a_directory_is_replaced_at_once_and_what_others_put_there_stays() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("devices/dev-1");
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.join(name));
        let stage = |contents: &str, key_contents: Option<&str>| {
            let mut staging = Staging::new(temp.path());
            let files = [(&*cert, Some(contents)), (&*key, key_contents)];
            staging.write_dir(&dir, &files).unwrap();
            staging
        };
        let file = |name: &str, contents: &str| (PathBuf::from(name), contents.into());
        drop(stage("never", None));
        assert!(!exists(&dir).unwrap());
        stage("one", Some("key one")).commit().unwrap();
        let first = vec![file("cert.pem", "one"), file("key.pem", "key one")];
        assert_eq!(contents(&dir), first);

        fs::write(dir.join("notes"), "theirs").unwrap();
        fs::write(dir.join("key.pem.new"), "half").unwrap();
        drop(stage("never", None));
        assert_eq!(read(&key).unwrap(), b"key one");
        // What a command leaves that was killed after it had exchanged the two.
        fs::create_dir(hidden(&dir)).unwrap();
        fs::write(hidden(&dir).join("key.pem"), "older").unwrap();
        let staging = stage("two", Some("key two"));
        assert_eq!(read(&cert).unwrap(), b"one");
        staging.commit().unwrap();
        let second = vec![
            file("cert.pem", "two"),
            file("key.pem", "key two"),
            file("notes", "theirs"),
        ];
        assert_eq!(contents(&dir), second);
        stage("three", None).commit().unwrap();
        let third = vec![file("cert.pem", "three"), file("notes", "theirs")];
        assert_eq!(contents(&dir), third);
        assert_eq!(names_in(&temp.path().join("devices")).unwrap().len(), 1);
        assert_eq!((mode(&cert), mode(&dir)), (0o600, 0o700));
    }

    #[test]
    fn a_directory_with_what_cannot_be_kept_stays_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("dev-1");
        fs::create_dir_all(dir.join("below")).unwrap();
        let mut staging = Staging::new(temp.path());
        let refused = staging.write_dir(&dir, &[(&dir.join("cert.pem"), Some("new"))]);
        assert!(refused.unwrap_err().to_string().contains("below"));
        drop(staging);
        assert_eq!(names_in(temp.path()).unwrap(), [Path::new("dev-1")]);
    }
}
