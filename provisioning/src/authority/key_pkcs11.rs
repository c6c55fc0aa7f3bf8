//! The key of an authority in a token (PKCS #11): a reference stands where its file would be, one
//! line with the URI that leads to it (RFC 7512).
//!
//! The reference is its owner's alone, for it names a library that is loaded. The passphrase of the
//! other keys is the PIN too, where the URI names no file with one.

use std::path::{Path, PathBuf};

use pkcs11::{InvalidUri, KeyUri, Pin, TokenError, TokenKey};
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey, SubjectPublicKeyInfo};
use thiserror::Error;

use super::pbes2::Passphrase;
use super::{Algorithm, crypto};
use crate::error::{CommandError, ExitClass};
use crate::files;

/// Where the reference stands to the key whose file would be `key_file`.
pub(crate) fn reference(key_file: &Path) -> PathBuf {
    key_file.with_extension("uri")
}

/// The URI of a key that is in a token, and not in the file `key_file`.
pub(crate) fn read_reference(key_file: &Path) -> Result<Option<KeyUri>, CommandError> {
    let path = reference(key_file);
    if files::exists(key_file)? || !files::exists(&path)? {
        return Ok(None);
    }
    let uri = KeyUri::parse(files::read_private(&path)?.trim_end());
    let bad = |source| KeyInTokenError::Reference { path, source };
    Ok(uri.map(Some).map_err(bad)?)
}

/// A key in a token, open.
pub(crate) struct KeyInToken {
    key: TokenKey,
    public: SubjectPublicKeyInfo,
}

impl KeyInToken {
    /// Opens the key at `uri`.
    pub(crate) fn open(
        uri: &KeyUri,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, CommandError> {
        let key = TokenKey::open(uri, pin(uri, passphrase).as_ref());
        Self::new(key.map_err(failed(uri))?)
    }

    /// Makes a key at `uri`, where none may be.
    pub(crate) fn make(
        uri: &KeyUri,
        algorithm: Algorithm,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, CommandError> {
        let algorithm = match algorithm {
            Algorithm::P256 => pkcs11::Algorithm::P256,
            Algorithm::P384 => pkcs11::Algorithm::P384,
            Algorithm::Ed25519 => pkcs11::Algorithm::Ed25519,
            Algorithm::MlDsa44 | Algorithm::MlDsa65 => {
                return Err(KeyInTokenError::NotMade(algorithm).into());
            }
        };
        let key = TokenKey::make(uri, pin(uri, passphrase).as_ref(), algorithm);
        Self::new(key.map_err(failed(uri))?)
    }

    fn new(key: TokenKey) -> Result<Self, CommandError> {
        let public = SubjectPublicKeyInfo::from_der(key.public_key());
        let public = public.map_err(crypto("use a key in a token"))?;
        Ok(Self { key, public })
    }
}

fn failed(uri: &KeyUri) -> impl FnOnce(TokenError) -> CommandError {
    |source| {
        let (uri, source) = (Box::new(uri.clone()), Box::new(source));
        KeyInTokenError::Unusable { uri, source }.into()
    }
}

/// The PIN, unless the URI names a file with one.
fn pin(uri: &KeyUri, passphrase: Option<&Passphrase>) -> Option<Pin> {
    let passphrase = passphrase.filter(|_| uri.pin_source().is_none())?;
    let text = str::from_utf8(passphrase.as_bytes()).ok()?;
    Pin::new(text.to_owned())
}

impl PublicKeyData for KeyInToken {
    fn der_bytes(&self) -> &[u8] {
        self.public.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.public.algorithm()
    }
}

impl SigningKey for KeyInToken {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(message).map_err(|why| {
            // The library has room for no cause.
            tracing::error!(key = %self.key.uri(), error = %certs::WithCauses(&why), "not signed");
            rcgen::Error::RemoteKeyError
        })
    }
}

/// Why a key that is in a token, or should be, is of no use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyInTokenError {
    /// It cannot be used.
    #[error("the key {uri} cannot be used")]
    Unusable {
        /// Where it is.
        uri: Box<KeyUri>,
        /// Why not.
        source: Box<TokenError>,
    },
    /// It is not such as is asked for.
    #[error("the key {uri} is {found}, not {asked}")]
    Other {
        /// Where it is.
        uri: Box<KeyUri>,
        /// What it is.
        found: &'static str,
        /// What was asked for.
        asked: Algorithm,
    },
    /// Keys of this algorithm are made in no token.
    #[error("{0} keys are made in no token here; there are p256, p384 and ed25519")]
    NotMade(Algorithm),
    /// Another key would be made in a file to follow it.
    #[error(
        "the key whose file would be {} is in a token, and another would be made in a file; make \
         one in a token (countersign key make URI), and name it with --key",
        .0.display()
    )]
    NotFollowed(PathBuf),
    /// What stands in the place of its file does not lead to it.
    #[error("{} does not say where a key is", path.display())]
    Reference {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: InvalidUri,
    },
}

impl KeyInTokenError {
    /// How a command ends that needs the key.
    pub(crate) fn exit_class(&self) -> ExitClass {
        match self {
            Self::Unusable { source, .. } => match **source {
                TokenError::NoToken { .. } | TokenError::NoKey { .. } => ExitClass::NotFound,
                TokenError::NoPin { .. }
                | TokenError::NoPinInFile(_)
                | TokenError::SeveralTokens { .. }
                | TokenError::SeveralKeys { .. } => ExitClass::Usage,
                TokenError::PinExposed { .. } | TokenError::KeyExists { .. } => ExitClass::Refused,
                _ => ExitClass::Failed,
            },
            Self::Other { .. } | Self::NotMade(_) => ExitClass::Usage,
            Self::NotFollowed(_) => ExitClass::Refused,
            Self::Reference { .. } => ExitClass::Failed,
        }
    }
}
