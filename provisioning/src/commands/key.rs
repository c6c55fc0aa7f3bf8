//! `countersign key make` and `key request`: a key that comes into being in a token (PKCS #11), and
//! a request for a certificate of it.
//!
//! No authority has part in it: this is done where the token is, and nothing secret leaves it.

use certs::DeviceId;
use pkcs11::KeyUri;
use rcgen::{CertificateParams, DistinguishedName, DnType};

use crate::authority::{Algorithm, KeyInToken, Passphrase, crypto};
use crate::error::CommandError;

/// Makes a key in a token. It is called as `uri` says, and never leaves it.
///
/// # Errors
/// [`CommandError::KeyInToken`], among others when there is such a key already.
pub fn key_make(
    uri: &KeyUri,
    algorithm: Algorithm,
    pin: Option<&Passphrase>,
) -> Result<(), CommandError> {
    KeyInToken::make(uri, algorithm, pin).map(drop)
}

/// A request (PKCS #10, PEM) for a certificate of the key at `uri`, in the name of a device.
///
/// # Errors
/// [`CommandError::KeyInToken`], and what else is in the way.
pub fn key_request(
    uri: &KeyUri,
    device: &DeviceId,
    pin: Option<&Passphrase>,
) -> Result<String, CommandError> {
    let key = KeyInToken::open(uri, pin)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let name = device.as_str();
    params.distinguished_name.push(DnType::CommonName, name);
    let made = params.serialize_request(&key).and_then(|it| it.pem());
    made.map_err(crypto("sign a request"))
}
