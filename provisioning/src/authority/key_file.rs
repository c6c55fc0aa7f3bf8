//! Private keys in files: PKCS #8 PEM, for their owner alone, an authority's encrypted.
//!
//! A key that others may read is not used: it would sign for whoever read it.

use std::fmt;
use std::path::Path;

use certs::KeyAlgorithm;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_ML_DSA_44,
    PKCS_ML_DSA_65, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use zeroize::Zeroizing;

use super::crypto;
use super::ml_dsa::MlDsaKey;
use super::pbes2::{self, NotOpened, Passphrase};
use crate::error::CommandError;
use crate::files;

/// What precedes the 32 octets of an Ed25519 key in PKCS #8 (RFC 8410 §7).
const ED25519_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const ED25519_KEY_LEN: usize = 32;

/// What a key signs with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256, which every TLS library on a small device verifies.
    #[default]
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// ML-DSA-44 (FIPS 204), against quantum computers: an experiment.
    MlDsa44,
    /// ML-DSA-65: an experiment.
    MlDsa65,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 5] = [
        Self::P256,
        Self::P384,
        Self::Ed25519,
        Self::MlDsa44,
        Self::MlDsa65,
    ];

    /// The algorithm as commands take it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::Ed25519 => "ed25519",
            Self::MlDsa44 => "ml-dsa-44",
            Self::MlDsa65 => "ml-dsa-65",
        }
    }

    /// The algorithm called `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
    }

    /// Whether it is for trial: few TLS libraries know it, and OpenSSL only since 3.5.
    pub fn is_experimental(self) -> bool {
        match self {
            Self::P256 | Self::P384 | Self::Ed25519 => false,
            Self::MlDsa44 | Self::MlDsa65 => true,
        }
    }

    /// The algorithm of a subject public key info, when it is one of ours.
    pub(crate) fn of(public_key: &[u8]) -> Option<Self> {
        match KeyAlgorithm::of(public_key) {
            KeyAlgorithm::P256 => Some(Self::P256),
            KeyAlgorithm::P384 => Some(Self::P384),
            KeyAlgorithm::Ed25519 => Some(Self::Ed25519),
            KeyAlgorithm::MlDsa44 => Some(Self::MlDsa44),
            KeyAlgorithm::MlDsa65 => Some(Self::MlDsa65),
            KeyAlgorithm::P521 | KeyAlgorithm::Rsa(_) | KeyAlgorithm::Other(_) => None,
        }
    }

    fn signature(self) -> &'static SignatureAlgorithm {
        match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
            Self::Ed25519 => &PKCS_ED25519,
            Self::MlDsa44 => &PKCS_ML_DSA_44,
            Self::MlDsa65 => &PKCS_ML_DSA_65,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key that was read from a file.
pub(crate) enum KeyInFile {
    Known(KeyPair),
    MlDsa(MlDsaKey),
}

impl KeyInFile {
    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let known = KeyPair::try_from(der).ok().map(Self::Known);
        known.or_else(|| MlDsaKey::from_pkcs8(der).map(Self::MlDsa))
    }
}

impl PublicKeyData for KeyInFile {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::Known(key) => key.der_bytes(),
            Self::MlDsa(key) => key.der_bytes(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::Known(key) => key.algorithm(),
            Self::MlDsa(key) => key.algorithm(),
        }
    }
}

impl SigningKey for KeyInFile {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            Self::Known(key) => key.sign(message),
            Self::MlDsa(key) => key.sign(message),
        }
    }
}

/// A new key for a device, an application or a broker.
pub(crate) fn generate() -> Result<KeyPair, CommandError> {
    generate_for(Algorithm::P256)
}

/// A new key.
pub(crate) fn generate_for(algorithm: Algorithm) -> Result<KeyPair, CommandError> {
    KeyPair::generate_for(algorithm.signature()).map_err(crypto("make a key"))
}

/// Reads the unencrypted key in the file `path`.
pub(crate) fn open(path: &Path) -> Result<KeyInFile, CommandError> {
    let pem = Zeroizing::new(files::read_private(path)?);
    // The cause is not shown: it could quote the file.
    let der = pem::parse(&*pem)
        .ok()
        .map(|pem| Zeroizing::new(pem.into_contents()));
    let key = der.and_then(|der| KeyInFile::from_pkcs8(&der));
    key.ok_or_else(|| CommandError::Unreadable {
        path: path.into(),
        expected: "an unencrypted private key (PKCS#8, PEM)",
    })
}

/// Reads the key of an authority in the file `path`, which is encrypted or not.
pub(super) fn open_authority(
    path: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<KeyInFile, CommandError> {
    let pem = Zeroizing::new(files::read_private(path)?);
    if !pbes2::is_encrypted(&pem) {
        return open(path);
    }
    let passphrase = passphrase.ok_or_else(|| CommandError::Encrypted(path.into()))?;
    let wrong = || CommandError::WrongPassphrase(path.into());
    let key = pbes2::decrypt(&pem, passphrase).map_err(|why| match why {
        NotOpened::Passphrase => wrong(),
        NotOpened::Form => CommandError::Unreadable {
            path: path.into(),
            expected: "a private key under PBES2, HMAC-SHA-256 and AES-256 (PKCS#8, PEM)",
        },
    })?;
    KeyInFile::from_pkcs8(&key).ok_or_else(wrong)
}

/// The key of an authority as it is written: encrypted, if there is a passphrase.
pub(crate) fn to_pem(
    key: &KeyPair,
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<String>, CommandError> {
    let Some(passphrase) = passphrase else {
        return Ok(Zeroizing::new(key.serialize_pem()));
    };
    let encrypted = pbes2::encrypt(&to_pkcs8(key), passphrase);
    encrypted
        .map(Zeroizing::new)
        .map_err(|_| CommandError::Encryption)
}

/// PKCS #8 without the public key, which OpenSSL 3.0 takes for an error in an Ed25519 key.
fn to_pkcs8(key: &KeyPair) -> Zeroizing<Vec<u8>> {
    let der = Zeroizing::new(key.serialize_der());
    let secret = der
        .get(ED25519_PREFIX.len()..)
        .and_then(|rest| rest.get(..ED25519_KEY_LEN));
    match secret {
        Some(secret) if key.algorithm() == &PKCS_ED25519 => {
            Zeroizing::new([&ED25519_PREFIX, secret].concat())
        }
        Some(_) | None => der,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::KeyKept;

    #[test]
    fn a_key_of_each_algorithm_comes_back_from_its_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("key.pem");
        let passphrase = Passphrase::new("right".to_owned());
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
            let key = generate_for(algorithm).unwrap();
            let public_key = key.subject_public_key_info();
            assert_eq!(Algorithm::of(&public_key), Some(algorithm));
            for (passphrase, kept) in [
                (passphrase.as_ref(), KeyKept::Encrypted),
                (None, KeyKept::Unencrypted),
            ] {
                fs::write(&path, to_pem(&key, passphrase).unwrap()).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                assert_eq!(KeyKept::at(&path).unwrap(), kept);
                let found = open_authority(&path, passphrase).unwrap();
                assert_eq!(found.subject_public_key_info(), public_key, "{algorithm}");
            }
        }
        assert_eq!(
            KeyKept::at(&temp.path().join("none")).unwrap(),
            KeyKept::Elsewhere
        );
    }
}
