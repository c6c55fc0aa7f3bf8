//! Private keys in files: unencrypted PKCS#8 PEM, for their owner alone.
//!
//! A key that others may read is not used: it would sign for whoever read it.

use std::path::Path;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use super::crypto;
use crate::error::CommandError;
use crate::files;

/// A new P-256 key.
pub(crate) fn generate() -> Result<KeyPair, CommandError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(crypto("make a key"))
}

/// Reads the key in the file `path`.
pub(crate) fn open(path: &Path) -> Result<KeyPair, CommandError> {
    let pem = files::read_private(path)?;
    // The cause is not shown: it could quote the file.
    KeyPair::from_pem(&pem).map_err(|_| CommandError::Unreadable {
        path: path.into(),
        expected: "an unencrypted private key (PKCS#8, PEM)",
    })
}
