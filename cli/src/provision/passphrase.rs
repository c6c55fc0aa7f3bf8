//! The passphrase of the authorities' keys: from a file, or asked for on the terminal.
//!
//! It is never an argument, which everybody on the machine can read, and not in the environment.

use crate::failure::{FAILED, Failure, USAGE};
use clap::Args;
use provisioning::{KeyKept, Passphrase, key_kept, read_passphrase};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs;
use std::io::{self, BufRead, IsTerminal, Stdin, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A new passphrase has at least so many characters. Whatever opens an old key still does.
const CHARACTERS_MIN: usize = 8;

/// Where the passphrase comes from.
#[derive(Debug, Args)]
pub(crate) struct PassphraseArgs {
    /// A file whose first line is the passphrase of the authorities' keys, or the PIN of the token
    /// that one is in [default: it is asked for on the terminal, if it is needed].
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// What opens the keys in `dir`. Without a file or a terminal there is nothing; then a key that
    /// is encrypted is refused by whoever needs it.
    pub(crate) fn open(&self, dir: &Path) -> Result<Option<Passphrase>, Failure> {
        self.open_kept(dir, key_kept(dir)?)
    }

    /// As [`Self::open`], of a key in `dir` that is kept so.
    pub(crate) fn open_kept(
        &self,
        dir: &Path,
        kept: KeyKept,
    ) -> Result<Option<Passphrase>, Failure> {
        if let Some(found) = self.read_file()? {
            return Ok(Some(found));
        }
        let what = match kept {
            KeyKept::Encrypted => "Passphrase of the keys",
            KeyKept::Token { has_pin: false } => "PIN of the token with the key",
            KeyKept::Token { has_pin: true } | KeyKept::Unencrypted | KeyKept::Elsewhere => {
                return Ok(None);
            }
        };
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let passphrase = ask(&format!("{what} in {}: ", dir.display()))?;
        let nothing = || Failure::new(FAILED, "no passphrase was given; nothing was done");
        passphrase.map(Some).ok_or_else(nothing)
    }

    /// Under what new keys are encrypted: `None` when they are for development.
    pub(crate) fn choose(&self) -> Result<Option<Passphrase>, Failure> {
        let question = "Passphrase for the new keys (none: for development, unencrypted): ";
        choose(self.passphrase_file.as_deref(), question)
    }

    /// As [`Self::choose`] where a key of an authority `is_made`. One of an organization is not
    /// made without: it is refused in the `words`.
    pub(crate) fn of_authority(
        &self,
        is_made: bool,
        (organization, words): (Option<&str>, &str),
    ) -> Result<Option<Passphrase>, Failure> {
        if !is_made {
            return self.read_file();
        }
        match self.choose()? {
            None if organization.is_some() => Err(Failure::new(USAGE, words)),
            chosen => Ok(chosen),
        }
    }

    /// The passphrase in the file, if one is named.
    pub(crate) fn read_file(&self) -> Result<Option<Passphrase>, Failure> {
        self.passphrase_file.as_deref().map(from_file).transpose()
    }
}

/// Where the password of PKCS #12 files comes from.
#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// A file whose first line is the password of PKCS #12 files.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// The password in the file, if one is named.
    pub(crate) fn read(&self) -> Result<Option<Passphrase>, Failure> {
        self.password_file.as_deref().map(from_file).transpose()
    }
}

/// The passphrase in a file, which should be private.
pub(crate) fn from_file(path: &Path) -> Result<Passphrase, Failure> {
    let found = read_passphrase(path)?;
    let open = fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o077 != 0);
    if open {
        let path = path.display();
        eprintln!("countersign: others can read the passphrase; run: chmod 600 {path}");
    }
    Ok(found)
}

/// A new passphrase: the one in the file, or what is asked for on the terminal; without either, and
/// when it was nothing, `None`.
pub(crate) fn choose(file: Option<&Path>, question: &str) -> Result<Option<Passphrase>, Failure> {
    let chosen = match file {
        Some(path) => Some(from_file(path)?),
        None if io::stdin().is_terminal() => ask_twice(question)?,
        None => None,
    };
    match chosen.as_ref().map(Passphrase::characters) {
        Some(short @ ..CHARACTERS_MIN) => Err(Failure::new(
            USAGE,
            format!("a new passphrase has at least {CHARACTERS_MIN} characters, this one {short}"),
        )),
        Some(CHARACTERS_MIN..) | None => Ok(chosen),
    }
}

/// Asks for a new passphrase, and for the same again; `None` when it was nothing.
fn ask_twice(question: &str) -> Result<Option<Passphrase>, Failure> {
    let Some(first) = ask(question)? else {
        return Ok(None);
    };
    match ask("The same again: ")? {
        Some(second) if second == first => Ok(Some(first)),
        Some(_) | None => Err(Failure::new(
            USAGE,
            "the two passphrases differ; nothing was made",
        )),
    }
}

/// Asks on the terminal, which does not show what is typed; `None` when it was nothing.
pub(crate) fn ask(question: &str) -> Result<Option<Passphrase>, Failure> {
    let failed = |error: io::Error| {
        Failure::new(FAILED, "the passphrase cannot be read from the terminal").because(&error)
    };
    // What is typed before the question is thrown away, what is typed after it is not shown.
    let terminal = Silent::new(io::stdin()).map_err(failed)?;
    eprint!("{question}");
    io::stderr().flush().map_err(failed)?;
    let mut line = String::new();
    terminal.stdin.lock().read_line(&mut line).map_err(failed)?;
    drop(terminal);
    eprintln!();
    line.truncate(line.trim_end_matches(['\n', '\r']).len());
    Ok(Passphrase::new(line))
}

/// A terminal that does not show what is typed, for as long as this lives.
struct Silent {
    stdin: Stdin,
    before: Termios,
}

impl Silent {
    fn new(stdin: Stdin) -> io::Result<Self> {
        let before = tcgetattr(&stdin)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing more.
        let _ = tcsetattr(&self.stdin, OptionalActions::Flush, &self.before);
    }
}
