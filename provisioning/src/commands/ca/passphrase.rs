//! Which commands need a passphrase, and where it comes from when nobody is there to be asked.

use std::path::Path;

use certs::Role;
use zeroize::Zeroizing;

use crate::authority::{KeyKept, Passphrase};
use crate::error::CommandError;
use crate::files;
use crate::layout::{AuthorityId, Layout};
use crate::registry::{AuthorityStage, RecordedAuthority, Registry};

/// No passphrase is longer.
const PASSPHRASE_LEN_MAX: usize = 4096;

/// How the keys in `dir` are kept with which certificates are issued.
///
/// # Errors
/// [`CommandError::Exposed`] when others may read one, and what else is in the way.
pub fn key_kept(dir: &Path) -> Result<KeyKept, CommandError> {
    let layout = Layout::new(dir);
    let mut active = AuthorityId::from(Role::DeviceCa);
    if files::exists(&layout.registry())? {
        let authorities = Registry::open_in(&layout)?.authorities()?;
        let issues = |it: &RecordedAuthority| {
            it.id.role == Role::DeviceCa && it.stage == AuthorityStage::Active
        };
        active = authorities
            .into_iter()
            .find(issues)
            .map_or(active, |it| it.id);
    }
    KeyKept::at(&layout.authority_key(active))
}

/// How the key of the root in `dir` is kept.
///
/// # Errors
/// [`CommandError::Exposed`] when others may read it, and what else is in the way.
pub fn key_kept_of_root(dir: &Path) -> Result<KeyKept, CommandError> {
    KeyKept::at(&Layout::new(dir).authority_key(Role::Root))
}

/// The first line of the file `path`, which may be a pipe.
///
/// # Errors
/// [`CommandError::NoPassphrase`] when it is empty, and what else is in the way.
pub fn read_passphrase(path: &Path) -> Result<Passphrase, CommandError> {
    let octets = Zeroizing::new(files::read_up_to(path, PASSPHRASE_LEN_MAX)?);
    let text = str::from_utf8(&octets).map_err(|_| CommandError::Unreadable {
        path: path.into(),
        expected: "text",
    })?;
    let line = text.lines().next().unwrap_or_default();
    Passphrase::new(line.to_owned()).ok_or_else(|| CommandError::NoPassphrase(path.into()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_first_line_of_a_file_is_the_passphrase_without_its_end() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("passphrase");
        for (text, expected) in [
            ("right\n", "right"),
            ("right", "right"),
            ("right\r\nmore\n", "right"),
            (" right ", " right "),
        ] {
            fs::write(&path, text).unwrap();
            let found = read_passphrase(&path).unwrap();
            assert_eq!(
                Some(found),
                Passphrase::new(expected.to_owned()),
                "{text:?}"
            );
        }
        for (text, expected) in [(&b"\nright"[..], "is empty"), (b"\xff", "is not text")] {
            fs::write(&path, text).unwrap();
            let refused = read_passphrase(&path).unwrap_err();
            assert!(refused.to_string().contains(expected), "{refused}");
        }
    }
}
