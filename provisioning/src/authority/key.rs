//! The key of an authority, wherever it is: in a file, or in a token.
//!
//! It is looked for in the file first. Whoever signs does not see where it is.

use std::path::Path;

use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};
use zeroize::Zeroizing;

use super::key_file::{self, KeyInFile};
use super::key_pkcs11::{self, KeyInToken};
use super::pbes2::{self, Passphrase};
use crate::error::CommandError;
use crate::files;

/// What an authority signs with.
pub(crate) enum AuthorityKey {
    InFile(KeyInFile),
    InToken(KeyInToken),
}

impl AuthorityKey {
    /// Opens the key in the file `path`, or in the token that the reference beside it names.
    pub(super) fn open(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, CommandError> {
        match key_pkcs11::read_reference(path)? {
            Some(uri) => KeyInToken::open(&uri, passphrase).map(Self::InToken),
            None => key_file::open_authority(path, passphrase).map(Self::InFile),
        }
    }

    fn as_public(&self) -> &dyn PublicKeyData {
        match self {
            Self::InFile(key) => key,
            Self::InToken(key) => key,
        }
    }
}

impl From<KeyPair> for AuthorityKey {
    fn from(key: KeyPair) -> Self {
        Self::InFile(KeyInFile::Known(key))
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        self.as_public().der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.as_public().algorithm()
    }
}

impl SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            Self::InFile(key) => key.sign(message),
            Self::InToken(key) => key.sign(message),
        }
    }
}

/// How the key of an authority is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKept {
    /// In a file, encrypted under a passphrase.
    Encrypted,
    /// In a file as it is: for development.
    Unencrypted,
    /// In a token, which never shows it.
    Token {
        /// Whether the token's PIN is in a file that is named with it.
        has_pin: bool,
    },
    /// Not here.
    Elsewhere,
}

impl KeyKept {
    /// How the key is kept whose file would be `path`.
    pub(crate) fn at(path: &Path) -> Result<Self, CommandError> {
        if let Some(uri) = key_pkcs11::read_reference(path)? {
            let has_pin = uri.pin_source().is_some();
            return Ok(Self::Token { has_pin });
        }
        if !files::exists(path)? {
            return Ok(Self::Elsewhere);
        }
        let pem = Zeroizing::new(files::read_private(path)?);
        Ok(if pbes2::is_encrypted(&pem) {
            Self::Encrypted
        } else {
            Self::Unencrypted
        })
    }

    /// How it is kept, in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Encrypted => "encrypted",
            Self::Unencrypted => "unencrypted",
            Self::Token { .. } => "token",
            Self::Elsewhere => "elsewhere",
        }
    }
}
