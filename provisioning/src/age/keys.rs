//! Who may open a file: recipients by X25519, or whoever has a passphrase, by scrypt.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use zeroize::Zeroizing;

use super::bech32;
use super::header::{Stanza, decode, encode};
use super::{AgeError, FILE_KEY_LEN, FileKey, derive, random};
use crate::authority::Passphrase;

const X25519_KIND: &str = "X25519";
const X25519_INFO: &[u8] = b"age-encryption.org/v1/X25519";
pub(super) const SCRYPT: &str = "scrypt";
const SCRYPT_LABEL: &[u8] = b"age-encryption.org/v1/scrypt";

/// The work for a passphrase, as a power of two: about a second, and for whoever guesses each time
/// again.
const WORK: u8 = if cfg!(test) { 4 } else { 18 };
/// Nobody waits for more than this.
const WORK_MAX: u8 = 22;

/// The public key of somebody to whom files are encrypted: `age1…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

/// The private key of a recipient: `AGE-SECRET-KEY-1…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity(Zeroizing<[u8; 32]>);

impl FromStr for Recipient {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        bech32::decode(text, "age")
            .map(Self)
            .ok_or(AgeError::InvalidKey)
    }
}

impl Identity {
    /// Reads the file that `age-keygen` writes: an identity a line, and remarks.
    ///
    /// # Errors
    /// [`AgeError::InvalidKey`] when a line is something else, or there is none.
    pub fn read_all(text: &str) -> Result<Vec<Self>, AgeError> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let read = |line| bech32::decode(line, "age-secret-key-");
        let read = |line| read(line).map(|key| Self(Zeroizing::new(key)));
        let all: Option<Vec<_>> = lines.map(read).collect();
        all.filter(|all| !all.is_empty())
            .ok_or(AgeError::InvalidKey)
    }

    /// The file key, when the stanza is for this identity.
    pub(super) fn unwrap(&self, stanza: &Stanza) -> Result<Option<FileKey>, AgeError> {
        if stanza.kind() != X25519_KIND {
            return Ok(None);
        }
        let [_, share] = &*stanza.arguments else {
            return Err(AgeError::Form);
        };
        let share: [u8; 32] = decode(share)?.try_into().map_err(|_| AgeError::Form)?;
        let own = private(&self.0)?;
        let recipient = public(&own)?;
        let key = agreed(&own, (&share, &share, &recipient))?;
        // Which of several it is for is not said: it is for whom it opens.
        Ok(open(&key, &stanza.body).ok())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl Recipient {
    pub(super) fn wrap(&self, file_key: &FileKey) -> Result<Stanza, AgeError> {
        let ephemeral = private(&Zeroizing::new(random()?))?;
        let share = public(&ephemeral)?;
        let key = agreed(&ephemeral, (&self.0, &share, &self.0))?;
        Ok(Stanza {
            arguments: vec![X25519_KIND.to_owned(), encode(&share)],
            body: seal(&key, file_key)?,
        })
    }
}

pub(super) fn wrap_passphrase(
    file_key: &FileKey,
    passphrase: &Passphrase,
) -> Result<Stanza, AgeError> {
    let salt: [u8; 16] = random()?;
    let key = stretched(passphrase, &salt, WORK)?;
    Ok(Stanza {
        arguments: vec![SCRYPT.to_owned(), encode(&salt), WORK.to_string()],
        body: seal(&key, file_key)?,
    })
}

pub(super) fn unwrap_passphrase(
    stanza: &Stanza,
    passphrase: &Passphrase,
) -> Result<FileKey, AgeError> {
    let [_, salt, work] = &*stanza.arguments else {
        return Err(AgeError::Form);
    };
    let salt: [u8; 16] = decode(salt)?.try_into().map_err(|_| AgeError::Form)?;
    let is_number = work.bytes().all(|it| it.is_ascii_digit()) && !work.starts_with('0');
    let work: u8 = work
        .parse()
        .ok()
        .filter(|_| is_number)
        .ok_or(AgeError::Form)?;
    if work > WORK_MAX {
        return Err(AgeError::TooMuchWork);
    }
    open(&stretched(passphrase, &salt, work)?, &stanza.body)
}

fn stretched(
    passphrase: &Passphrase,
    salt: &[u8; 16],
    work: u8,
) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    let salt = [SCRYPT_LABEL, salt].concat();
    let parameters = scrypt::Params::new(work, 8, 1).map_err(|_| AgeError::Form)?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.as_bytes(), &salt, &parameters, &mut *key)
        .map_err(|_| AgeError::Crypto)?;
    Ok(key)
}

fn private(octets: &Zeroizing<[u8; 32]>) -> Result<PrivateKey, AgeError> {
    PrivateKey::from_private_key(&X25519, &**octets).map_err(|_| AgeError::Crypto)
}

fn public(key: &PrivateKey) -> Result<[u8; 32], AgeError> {
    let key = key.compute_public_key().map_err(|_| AgeError::Crypto)?;
    key.as_ref().try_into().map_err(|_| AgeError::Crypto)
}

/// The key on which `own` and `peer` agree; a peer of low order, with whom anybody would agree, is
/// refused by the library.
fn agreed(
    own: &PrivateKey,
    (peer, share, recipient): (&[u8; 32], &[u8; 32], &[u8; 32]),
) -> Result<Zeroizing<[u8; 32]>, AgeError> {
    let salt = [&share[..], recipient].concat();
    let peer = UnparsedPublicKey::new(&X25519, peer);
    agree(own, peer, AgeError::Form, |secret| {
        derive(secret, &salt, X25519_INFO)
    })
}

/// Each wrapping key is used once, so its nonce is always the same.
fn cipher(key: &Zeroizing<[u8; 32]>) -> Result<(LessSafeKey, Nonce), AgeError> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &**key).map_err(|_| AgeError::Crypto)?;
    Ok((LessSafeKey::new(key), Nonce::assume_unique_for_key([0; 12])))
}

fn seal(key: &Zeroizing<[u8; 32]>, file_key: &FileKey) -> Result<Vec<u8>, AgeError> {
    let (cipher, nonce) = cipher(key)?;
    let mut body = file_key.to_vec();
    let sealed = cipher.seal_in_place_append_tag(nonce, Aad::empty(), &mut body);
    sealed.map_err(|_| AgeError::Crypto)?;
    Ok(body)
}

fn open(key: &Zeroizing<[u8; 32]>, body: &[u8]) -> Result<FileKey, AgeError> {
    // Another length could be opened by several keys.
    if body.len() != FILE_KEY_LEN + CHACHA20_POLY1305.tag_len() {
        return Err(AgeError::Form);
    }
    let (cipher, nonce) = cipher(key)?;
    let mut body = Zeroizing::new(body.to_vec());
    let opened = cipher.open_in_place(nonce, Aad::empty(), &mut body);
    let opened: &[u8] = opened.map_err(|_| AgeError::NotForUs)?;
    let mut file_key = FileKey::default();
    file_key.copy_from_slice(opened);
    Ok(file_key)
}
