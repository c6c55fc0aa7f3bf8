//! A directory that gets its first identity, file by file: the certificate is the last, and says
//! that all are there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::super::key::check_private;
use super::super::{AUTHORITIES, CHAIN, IdentityError, KEY};
use super::step::Step;
use super::{CURRENT, carry_out, lock};

/// A directory without an identity, held by one device.
#[derive(Debug)]
pub(crate) struct EmptyHome {
    directory: PathBuf,
    /// Released when it is dropped.
    _lock: File,
}

impl EmptyHome {
    /// Makes or takes over `directory`; `None` when there is an identity in it.
    pub(crate) fn open(directory: &Path) -> Result<Option<Self>, IdentityError> {
        if !directory.exists() {
            carry_out(directory, &make(directory))?;
        }
        let lock = lock(directory)?;
        let is_there = |name: &str| directory.join(name).symlink_metadata().is_ok();
        let is_empty = !is_there(CURRENT) && !is_there(CHAIN);
        Ok(is_empty.then(|| Self {
            directory: directory.into(),
            _lock: lock,
        }))
    }

    /// The key that is there already or, durably from now on, another one.
    pub(crate) fn key(&self, new: &str) -> Result<String, IdentityError> {
        let path = self.directory.join(KEY);
        match fs::read_to_string(&path) {
            Ok(text) => {
                check_private(&path)?;
                Ok(text)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                carry_out(
                    &self.directory,
                    &place(&self.directory, KEY, new.as_bytes()),
                )?;
                Ok(new.to_owned())
            }
            Err(source) => Err(IdentityError::Unreadable { path, source }),
        }
    }

    /// Completes the identity.
    pub(crate) fn complete(
        self,
        (chain, authorities): (&[u8], &[u8]),
    ) -> Result<(), IdentityError> {
        let mut steps = place(&self.directory, AUTHORITIES, authorities);
        steps.extend(place(&self.directory, CHAIN, chain));
        carry_out(&self.directory, &steps)
    }
}

/// Makes a directory that is still there when a token was used for what is in it.
pub(super) fn make(directory: &Path) -> Vec<Step> {
    let durable = directory.parent().map(|parent| Step::Sync(parent.into()));
    let made = Step::MakeDirectory(directory.into());
    [made].into_iter().chain(durable).collect()
}

/// A file that is whole as soon as it is there.
pub(super) fn place(directory: &Path, name: &str, contents: &[u8]) -> Vec<Step> {
    let next = directory.join(format!("{name}.new"));
    vec![
        Step::Remove(next.clone()),
        Step::Write(next.clone(), contents.into()),
        Step::Rename(next, directory.join(name)),
        Step::Sync(directory.into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::identity::tests::TestCa;

    #[test]
    fn a_key_survives_until_its_certificate_is_there() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("dev-1");
        let files = TestCa::new().device("dev-1");
        let open = || EmptyHome::open(&directory).unwrap();
        assert_eq!(open().unwrap().key(&files.key).unwrap(), files.key);
        let empty = open().unwrap();
        assert_eq!(empty.key("another").unwrap(), files.key);
        assert!(Identity::open(&directory).is_err());
        // Cut off before the certificate.
        carry_out(&directory, &place(&directory, "ca.pem", b"half")).unwrap();
        drop(empty);
        let files_of = (files.chain.as_bytes(), files.authorities.as_bytes());
        open().unwrap().complete(files_of).unwrap();
        Identity::open(&directory).unwrap();
        assert!(open().is_none());
    }
}
