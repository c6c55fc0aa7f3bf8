//! Files encrypted in the format of `age` (age-encryption.org/v1), to a passphrase or to
//! recipients, so that they can be opened without this program.
//!
//! The cryptography is that of `aws-lc-rs`, and scrypt; here is the format. Nothing of a file is
//! handed on before the part it stands in was authenticated, and a file that was cut off anywhere
//! is found to be.

mod bech32;
mod header;
mod keys;
mod stream;

use std::io::{self, BufRead, Write};

use aws_lc_rs::{hkdf, hmac, rand};
use thiserror::Error;
use zeroize::Zeroizing;

use self::header::{Header, Stanza};
pub use self::keys::{Identity, Recipient};
pub(crate) use self::stream::{Decryptor, Encryptor};
use crate::authority::Passphrase;

const FILE_KEY_LEN: usize = 16;
const NONCE_LEN: usize = 16;

/// The key of one file: all else is derived from it.
type FileKey = Zeroizing<[u8; FILE_KEY_LEN]>;

/// To whom a file is encrypted.
#[derive(Clone, Copy, Debug)]
pub enum EncryptTo<'a> {
    /// Whoever has this passphrase.
    Passphrase(&'a Passphrase),
    /// Each of these.
    Recipients(&'a [Recipient]),
}

/// With what a file is opened.
#[derive(Clone, Copy, Debug)]
pub enum DecryptWith<'a> {
    /// The passphrase.
    Passphrase(&'a Passphrase),
    /// One of these is that of a recipient.
    Identities(&'a [Identity]),
}

/// Why a file was not encrypted or opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AgeError {
    /// It is not a file of `age`.
    #[error("it is not encrypted by age, version 1")]
    Form,
    /// It is encrypted to somebody else.
    #[error("it is encrypted to another passphrase or other recipients")]
    NotForUs,
    /// It was changed, or cut off.
    #[error("it was changed since it was encrypted, or is not whole")]
    Damaged,
    /// Whoever encrypted it wants more work done than anybody waits for.
    #[error("opening it needs more work than is done for anybody")]
    TooMuchWork,
    /// There is nobody to encrypt to.
    #[error("there is no recipient")]
    NoRecipient,
    /// Text is no recipient or identity.
    #[error("an age recipient begins with age1, an identity with AGE-SECRET-KEY-1")]
    InvalidKey,
    /// Cryptography failed, which it does only when the machine is broken.
    #[error("the machine cannot encrypt")]
    Crypto,
    /// The file could not be read or written.
    #[error("cannot read or write it")]
    Io(#[from] io::Error),
}

/// Begins a file that is encrypted; [`Encryptor::finish`] ends it.
pub(crate) fn encrypt<W: Write>(mut file: W, to: EncryptTo<'_>) -> Result<Encryptor<W>, AgeError> {
    let file_key: FileKey = Zeroizing::new(random()?);
    let stanzas = match to {
        EncryptTo::Passphrase(passphrase) => vec![keys::wrap_passphrase(&file_key, passphrase)?],
        EncryptTo::Recipients([]) => return Err(AgeError::NoRecipient),
        EncryptTo::Recipients(recipients) => {
            let wrap = |it: &Recipient| it.wrap(&file_key);
            recipients.iter().map(wrap).collect::<Result<_, _>>()?
        }
    };
    let mut text = header::write(&stanzas);
    let tag = hmac::sign(&header_key(&file_key)?, text.as_bytes());
    text.push_str(&header::tag_text(tag.as_ref()));
    file.write_all(text.as_bytes())?;
    let nonce: [u8; NONCE_LEN] = random()?;
    file.write_all(&nonce)?;
    Encryptor::new(file, &payload_key(&file_key, &nonce)?)
}

/// Opens a file: what is read from it then was authenticated.
pub(crate) fn decrypt<R: BufRead>(
    mut file: R,
    with: DecryptWith<'_>,
) -> Result<Decryptor<R>, AgeError> {
    let Header { stanzas, text, tag } = header::read(&mut file)?;
    let file_key = unwrap(&stanzas, with)?.ok_or(AgeError::NotForUs)?;
    hmac::verify(&header_key(&file_key)?, &text, &tag).map_err(|_| AgeError::Damaged)?;
    let mut nonce = [0; NONCE_LEN];
    file.read_exact(&mut nonce).map_err(|_| AgeError::Damaged)?;
    Decryptor::new(file, &payload_key(&file_key, &nonce)?)
}

fn unwrap(stanzas: &[Stanza], with: DecryptWith<'_>) -> Result<Option<FileKey>, AgeError> {
    let by_passphrase = |it: &Stanza| it.kind() == keys::SCRYPT;
    // "An scrypt stanza, if present, MUST be the only stanza in the header."
    if stanzas.iter().any(by_passphrase) && stanzas.len() > 1 {
        return Err(AgeError::Form);
    }
    match with {
        DecryptWith::Passphrase(passphrase) => match stanzas.iter().find(|it| by_passphrase(it)) {
            Some(stanza) => keys::unwrap_passphrase(stanza, passphrase).map(Some),
            None => Ok(None),
        },
        DecryptWith::Identities(identities) => {
            let pairs = stanzas
                .iter()
                .flat_map(|stanza| identities.iter().map(move |identity| (stanza, identity)));
            for (stanza, identity) in pairs {
                if let Some(found) = identity.unwrap(stanza)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], AgeError> {
    let mut octets = [0; N];
    rand::fill(&mut octets).map_err(|_| AgeError::Crypto)?;
    Ok(octets)
}

fn header_key(file_key: &FileKey) -> Result<hmac::Key, AgeError> {
    let key = derive(&**file_key, &[], b"header")?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &*key))
}

fn payload_key(file_key: &FileKey, nonce: &[u8]) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    derive(&**file_key, nonce, b"payload")
}

/// HKDF with SHA-256 (RFC 5869).
fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    let mut key = Zeroizing::new([0; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut *key))
        .map_err(|_| AgeError::Crypto)?;
    Ok(key)
}

#[cfg(test)]
mod tests;
