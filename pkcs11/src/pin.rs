//! What opens a token: read from a private file, or typed by a person.
//!
//! A PIN is shown nowhere and wiped from memory when it is let go.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use crate::error::TokenError;

/// No PIN is longer.
const PIN_LEN_MAX: u64 = 256;

/// The PIN of a token's user.
#[derive(Clone)]
pub struct Pin(Zeroizing<String>);

impl Pin {
    /// Takes a PIN; `None` when it is empty.
    pub fn new(text: String) -> Option<Self> {
        let text = Zeroizing::new(text);
        (!text.is_empty()).then_some(Self(text))
    }

    /// The first line of the file `path`, which is its owner's alone, or a pipe.
    ///
    /// # Errors
    /// [`TokenError::PinFile`], [`TokenError::PinExposed`] and [`TokenError::NoPinInFile`].
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::PinFile {
            path: path.into(),
            source,
        };
        let file = File::open(path).map_err(unreadable)?;
        refuse_exposed(&file, path)?;
        let mut text = Zeroizing::new(String::new());
        let mut file = file.take(PIN_LEN_MAX + 1);
        file.read_to_string(&mut text).map_err(unreadable)?;
        if text.len() > usize::try_from(PIN_LEN_MAX).unwrap_or(usize::MAX) {
            return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
        }
        let line = text.lines().next().unwrap_or_default();
        Self::new(line.to_owned()).ok_or_else(|| TokenError::NoPinInFile(path.into()))
    }

    pub(crate) fn to_auth(&self) -> AuthPin {
        AuthPin::from(self.0.as_str())
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin")
    }
}

/// Refuses a PIN that another account of this machine could read.
#[cfg(unix)]
fn refuse_exposed(file: &File, path: &Path) -> Result<(), TokenError> {
    use std::os::unix::fs::PermissionsExt;

    let found = file.metadata().map_err(|source| TokenError::PinFile {
        path: path.into(),
        source,
    })?;
    let mode = found.permissions().mode() & 0o777;
    if found.is_file() && mode & 0o077 != 0 {
        return Err(TokenError::PinExposed {
            path: path.into(),
            mode,
        });
    }
    Ok(())
}

/// Elsewhere access to a file is not a matter of three digits.
#[cfg(not(unix))]
fn refuse_exposed(_file: &File, _path: &Path) -> Result<(), TokenError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_line_of_a_private_file_is_the_pin() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("pin");
        let read = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Pin::read(&path).map(|pin| pin.0.to_string())
        };
        assert_eq!(read("1234\n", 0o600).unwrap(), "1234");
        assert_eq!(read("1234\r\nmore", 0o400).unwrap(), "1234");
        let long = "1".repeat(257);
        for (text, mode, words) in [
            ("1234", 0o640, "others can read the PIN"),
            ("\n1234", 0o600, "no PIN in the first line"),
            (&*long, 0o600, "cannot read the PIN"),
        ] {
            let refused = read(text, mode).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
            assert!(!refused.contains("1234"), "{refused}");
        }
    }

    #[test]
    fn a_pin_is_shown_nowhere() {
        assert_eq!(format!("{:?}", Pin::new("1234".to_owned()).unwrap()), "Pin");
        assert!(Pin::new(String::new()).is_none());
    }
}
