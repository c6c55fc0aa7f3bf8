//! The key for which a certificate is asked: made on the device, or in a token that keeps it.

use std::sync::Arc;

use pkcs11::TokenKey;
use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey, SubjectPublicKeyInfo};
use tracing::warn;

use crate::identity::{KEY, Key, PemFile};

/// The key of whoever asks.
pub(super) enum RequestKey {
    OnDevice(KeyPair),
    InToken(Arc<TokenKey>, SubjectPublicKeyInfo),
}

impl RequestKey {
    pub(super) fn in_token(key: &Arc<TokenKey>) -> Result<Self, rcgen::Error> {
        let public = SubjectPublicKeyInfo::from_der(key.public_key())?;
        Ok(Self::InToken(Arc::clone(key), public))
    }

    /// The same for an identity.
    pub(super) fn to_key(&self) -> Key {
        match self {
            Self::OnDevice(key) => Key::File(PemFile::new(KEY, key.serialize_pem().as_bytes())),
            Self::InToken(key, _) => Key::Token(Arc::clone(key)),
        }
    }
}

impl PublicKeyData for RequestKey {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::OnDevice(key) => key.der_bytes(),
            Self::InToken(_, public) => public.der_bytes(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::OnDevice(key) => PublicKeyData::algorithm(key),
            Self::InToken(_, public) => public.algorithm(),
        }
    }
}

impl SigningKey for RequestKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            Self::OnDevice(key) => key.sign(message),
            Self::InToken(key, _) => key.sign(message).map_err(|why| {
                // The library has room for no cause.
                warn!(key = %key.uri(), error = %certs::WithCauses(&why), "not signed");
                rcgen::Error::RemoteKeyError
            }),
        }
    }
}
