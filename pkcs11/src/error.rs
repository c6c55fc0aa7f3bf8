//! Why a key in a token cannot be used, in words that name the token, the key or the file.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a key in a token cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The library cannot be loaded, or does not start.
    #[error("{} is not a PKCS #11 module that works", .path.display())]
    Module {
        /// The library.
        path: PathBuf,
        /// Why.
        source: cryptoki::error::Error,
    },
    /// No token fits.
    #[error("there is no token {wanted} behind {}", .module.display())]
    NoToken {
        /// What was looked for.
        wanted: String,
        /// Where.
        module: PathBuf,
    },
    /// Several tokens fit.
    #[error("{count} tokens fit {wanted:?}; say which by token= or serial= in the URI")]
    SeveralTokens {
        /// How many.
        count: usize,
        /// What was looked for.
        wanted: String,
    },
    /// Nobody said what opens the token.
    #[error("the token {token:?} asks for a PIN; name a file with it by pin-source= in the URI")]
    NoPin {
        /// The token.
        token: String,
    },
    /// The PIN is not the token's.
    #[error("the PIN is not that of the token {token:?}; after a few more the token locks itself")]
    WrongPin {
        /// The token.
        token: String,
    },
    /// The token takes no PIN any more.
    #[error(
        "the token {token:?} is locked after too many wrong PINs; its security officer opens it"
    )]
    PinLocked {
        /// The token.
        token: String,
    },
    /// The file with the PIN cannot be read.
    #[error("cannot read the PIN in {}", .path.display())]
    PinFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read the PIN.
    #[error(
        "others can read the PIN in {path} (mode {mode:04o}); run: chmod 600 {path}",
        path = .path.display()
    )]
    PinExposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is no PIN in a file.
    #[error("there is no PIN in the first line of {}", .0.display())]
    NoPinInFile(PathBuf),
    /// No private key fits.
    #[error("the token {token:?} holds no private key {wanted}")]
    NoKey {
        /// The token.
        token: String,
        /// What was looked for.
        wanted: String,
    },
    /// Several private keys fit.
    #[error("the token {token:?} holds {count} private keys {wanted}; say which by id= in the URI")]
    SeveralKeys {
        /// The token.
        token: String,
        /// How many.
        count: usize,
        /// What was looked for.
        wanted: String,
    },
    /// There is such a key already.
    #[error("the token {token:?} holds a key {wanted} already; it stays as it is")]
    KeyExists {
        /// The token.
        token: String,
        /// What was to be made.
        wanted: String,
    },
    /// There is no public key to a private one.
    #[error("the token {token:?} holds no public key beside the private key {wanted}")]
    NoPublicKey {
        /// The token.
        token: String,
        /// The private key.
        wanted: String,
    },
    /// The key is of a sort that is not used here.
    #[error("the key {wanted} in the token {token:?} is not P-256, P-384 or Ed25519")]
    Algorithm {
        /// The token.
        token: String,
        /// The key.
        wanted: String,
    },
    /// What the private key signs is not what the public key verifies.
    #[error("in the token {token:?}, the public key beside {wanted} is that of another key")]
    OtherPublicKey {
        /// The token.
        token: String,
        /// The key.
        wanted: String,
    },
    /// The token gives no signature that could be one.
    #[error("the signature of the token is none")]
    BadSignature,
    /// The system gave no random octets.
    #[error("the system gives no random octets")]
    NoRandomness,
    /// The token did not do its part.
    #[error("the token cannot {doing}")]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: cryptoki::error::Error,
    },
}

impl TokenError {
    pub(crate) fn failed(doing: &'static str) -> impl FnOnce(cryptoki::error::Error) -> Self {
        move |source| Self::Failed { doing, source }
    }
}
