//! Trust: whom we believe and who we are, as one snapshot that is swapped whole.
//!
//! A snapshot that cannot be loaded changes nothing; every problem names its file.

mod anchor;
mod beliefs;
mod files;
mod generation;
mod intermediate;
mod lists;
mod live;
mod memory;
mod nonce;
mod verifier;

use anchor::{Anchors, Authority, check_together, read_anchor};
pub(crate) use beliefs::{Beliefs, Replacement};
pub(crate) use generation::Generation;
use intermediate::{Intermediate, read_intermediates};
use lists::{ListFile, enter, read_lists};
pub(crate) use live::Live;
pub(crate) use memory::Entry;
pub(crate) use nonce::draw_nonce;
pub(crate) use verifier::{Verdict, noting_verdict};

use std::path::PathBuf;

/// A file that trust is made of is not as it must be.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It could not be read.
    #[error("{}: cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is not PEM with what is expected in it.
    #[error("{}: {expected} expected in PEM", .path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What the parser said.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// There is no certificate in it.
    #[error("{}: no certificate in it", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// It may be read by others than its owner.
    #[error(
        "{}: this private key may be read by others (mode {mode:04o}); make it 0600",
        .path.display()
    )]
    ExposedKey {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The certificate cannot be an anchor.
    #[error("{}: cannot be a trust anchor: {why}", .path.display())]
    NotAnAnchor {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: certs::Refusal,
    },
    /// The certificate cannot be an intermediate authority of its anchor.
    #[error("{}: cannot be an intermediate of this anchor: {why}", .path.display())]
    NotAnIntermediate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: certs::Refusal,
    },
    /// Two authorities hold the same key, so that nobody could say for which domain it speaks.
    #[error("{}: the same key as in {}", .path.display(), .other.display())]
    SameKeyTwice {
        /// The second file.
        path: PathBuf,
        /// The first file.
        other: PathBuf,
    },
    /// It is not a revocation list that counts.
    #[error("{}: {why}", .path.display())]
    NotAList {
        /// The file.
        path: PathBuf,
        /// Why it does not count.
        why: certs::InvalidList,
    },
    /// A line of what the broker remembers of revocation is not as it was written.
    #[error(
        "{}:{line}: not an entry of a revocation; it was damaged or written by hand",
        .path.display()
    )]
    NotAnEntry {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// What must not be forgotten could not be kept in the data directory.
    #[error("what was revoked could not be kept in the data directory")]
    NotKept {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is not a registry export that counts.
    #[error("{}: {why}", .path.display())]
    NotARegistry {
        /// The file.
        path: PathBuf,
        /// Why it does not count.
        why: certs::InvalidExport,
    },
    /// It is an old registry export: to go by it would bring devices back.
    #[error(
        "{}: the registry export has number {number}, and {seen} was seen before",
        .path.display()
    )]
    OldRegistry {
        /// The file.
        path: PathBuf,
        /// Its number.
        number: u64,
        /// The number that was seen.
        seen: u64,
    },
    /// It is an old revocation list: to go by it would bring devices back.
    #[error("{}: {why}", .path.display())]
    OldList {
        /// The file.
        path: PathBuf,
        /// What was seen before.
        why: certs::NotNewer,
    },
    /// Two anchors of several trust domains could give one id to two devices.
    #[error(
        "{}: its devices could have the ids of those of {}; give each an id_prefix of its own",
        .path.display(), .other.display()
    )]
    SameIds {
        /// The second file.
        path: PathBuf,
        /// The first file.
        other: PathBuf,
    },
    /// A table of fingerprints is not as it must be.
    #[error("{}: {what}", .path.display())]
    Fingerprints {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Certificate and key do not fit each other or the TLS library.
    #[error("{} and {}: not usable together", .certificate.display(), .key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What TLS said.
        #[source]
        source: rustls::Error,
    },
}
