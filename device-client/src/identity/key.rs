//! The private key of an identity: in a file, or in a token that never shows it (PKCS #11).
//!
//! A file with a key, or with where one is, is its owner's alone: the latter names a library that
//! is loaded.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use pkcs11::{Algorithm, KeyUri, Pin, TokenKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::{IdentityError, KEY, PemFile};

/// Where the private key is, in the place of it.
pub(super) const KEY_URI: &str = "key.uri";

/// A private key.
pub(crate) enum Key {
    File(PemFile),
    Token(Arc<TokenKey>),
}

impl Key {
    /// The key in `directory`: `key.pem`, or what `key.uri` leads to.
    pub(super) fn open(directory: &Path) -> Result<Self, IdentityError> {
        let (file, reference) = (directory.join(KEY), directory.join(KEY_URI));
        if file.exists() || !reference.exists() {
            check_private(&file)?;
            return PemFile::open(file).map(Self::File);
        }
        check_private(&reference)?;
        let text = fs::read_to_string(&reference).map_err(|source| IdentityError::Unreadable {
            path: reference.clone(),
            source,
        })?;
        let uri = KeyUri::parse(text.trim_end()).map_err(|source| IdentityError::Reference {
            path: reference,
            source,
        })?;
        Self::in_token(&uri, None)
    }

    pub(super) fn in_token(uri: &KeyUri, pin: Option<&Pin>) -> Result<Self, IdentityError> {
        let key = TokenKey::open(uri, pin).map_err(|source| IdentityError::Token {
            uri: Box::new(uri.clone()),
            source: Box::new(source),
        })?;
        Ok(Self::Token(Arc::new(key)))
    }

    /// The file by which it is opened again: its name, and what is in it.
    pub(crate) fn file(&self) -> (&'static str, Vec<u8>) {
        match self {
            Self::File(file) => (KEY, file.text.clone()),
            Self::Token(key) => (KEY_URI, format!("{}\n", key.uri()).into_bytes()),
        }
    }

    /// Where it is, for words.
    pub(super) fn place(&self) -> &Path {
        match self {
            Self::File(file) => &file.path,
            Self::Token(key) => Path::new(key.uri().as_str()),
        }
    }
}

/// Signs handshakes with a key in a token.
#[derive(Clone, Debug)]
pub(super) struct TokenSigner(pub(super) Arc<TokenKey>);

impl SigningKey for TokenSigner {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let ours = offered.contains(&Signer::scheme(self));
        ours.then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.0.public_key().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.algorithm() {
            Algorithm::P256 | Algorithm::P384 => SignatureAlgorithm::ECDSA,
            Algorithm::Ed25519 => SignatureAlgorithm::ED25519,
        }
    }
}

impl Signer for TokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let failed = |why| rustls::Error::General(certs::WithCauses(&why).to_string());
        self.0.sign(message).map_err(failed)
    }

    fn scheme(&self) -> SignatureScheme {
        match self.0.algorithm() {
            Algorithm::P256 => SignatureScheme::ECDSA_NISTP256_SHA256,
            Algorithm::P384 => SignatureScheme::ECDSA_NISTP384_SHA384,
            Algorithm::Ed25519 => SignatureScheme::ED25519,
        }
    }
}

/// Refuses a key that another account of this machine could take.
#[cfg(unix)]
pub(super) fn check_private(path: &Path) -> Result<(), IdentityError> {
    use std::os::unix::fs::PermissionsExt;

    let metadata = fs::metadata(path).map_err(|source| IdentityError::Unreadable {
        path: path.into(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::KeyReadableByOthers {
            path: path.into(),
            mode,
        });
    }
    Ok(())
}

/// Elsewhere access to a file is not a matter of three digits.
#[cfg(not(unix))]
pub(super) fn check_private(_path: &Path) -> Result<(), IdentityError> {
    Ok(())
}
