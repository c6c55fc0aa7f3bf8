//! Why an identity cannot be used, with the file that is to blame.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use certs::{InvalidSpiffeId, Refusal};
use pkcs11::{InvalidUri, KeyUri, TokenError};
use rustls::pki_types::pem;
use thiserror::Error;

/// Why there is no identity.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The private key can be read by more than its owner.
    #[error(
        "{path} can be read by others (mode {mode:03o}): a private key is its owner's alone, \
         run `chmod 600 {path}`",
        path = .path.display()
    )]
    KeyReadableByOthers {
        /// Where the key is.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file is not PEM, or does not contain what it should.
    #[error("{} contains no {expected}", .path.display())]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What it should contain.
        expected: &'static str,
        /// Why it does not.
        source: pem::Error,
    },
    /// A certificate or key is not usable.
    #[error("{} is not usable", .path.display())]
    Unusable {
        /// In which file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The private key belongs to another certificate.
    #[error("{} does not belong to {}", .key.display(), .certificate.display())]
    KeyMismatch {
        /// Where the key is.
        key: PathBuf,
        /// Where the certificate is.
        certificate: PathBuf,
    },
    /// The certificate is not well-formed.
    #[error("the certificate in {} is refused", .path.display())]
    Refused {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        why: Refusal,
    },
    /// The certificate does not name a device in the one way that counts.
    #[error("the certificate in {} names no device", .path.display())]
    NoDevice {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        #[source]
        why: NoDevice,
    },
    /// The certificate is not valid now.
    #[error("the certificate in {} {}", .path.display(), when(.validity))]
    NotValidNow {
        /// Where it is.
        path: PathBuf,
        /// How far from it.
        validity: Validity,
    },
    /// What should name the version that counts names none.
    #[error("{} names no version of an identity but `{name}`", .path.display())]
    NoVersion {
        /// Where it is.
        path: PathBuf,
        /// What it names.
        name: String,
    },
    /// The private key cannot be used that is in a token.
    #[error("the key {uri} cannot be used")]
    Token {
        /// Where it is.
        uri: Box<KeyUri>,
        /// Why not.
        source: Box<TokenError>,
    },
    /// What should say where a key is does not.
    #[error("{} does not say where a key is", .path.display())]
    Reference {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: InvalidUri,
    },
    /// The identity is in no directory, so that another could not be kept.
    #[error("the identity was not opened from a directory")]
    InMemory,
    /// Another device renews the identity in this directory.
    #[error("another device renews the identity in {}", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A version of the identity cannot be written or removed.
    #[error("the identity in {} cannot be replaced", .path.display())]
    NotKept {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why a certificate names no device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoDevice {
    /// It has no URI, or more than one, among its alternative names.
    #[error("it has {0} URIs among its alternative names, and one is needed")]
    Uris(usize),
    /// Its URI is not `spiffe://<trust domain>/device/<id>`, nor of an application.
    #[error("its URI does not name one")]
    Uri(#[source] InvalidSpiffeId),
}

/// How far a certificate is from its validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It begins later.
    NotYet {
        /// How much later.
        until: Duration,
    },
    /// It is over.
    Expired {
        /// For how long.
        since: Duration,
    },
}

fn when(validity: &Validity) -> String {
    match validity {
        Validity::NotYet { until } => {
            format!(
                "is not valid for another {} s (is the clock right?)",
                until.as_secs()
            )
        }
        Validity::Expired { since } => format!("expired {} s ago: renew it", since.as_secs()),
    }
}
