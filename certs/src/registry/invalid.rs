//! Why a registry export is not taken, in words for whoever made it or put it there.

use thiserror::Error;

/// Why a registry export is not read or not written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidExport {
    /// It is longer than any that is read.
    #[error("the registry export has {0} octets, more than are read")]
    TooLong(usize),
    /// It is not lines of JSON with a header first and a signature last.
    #[error("not a registry export: a header, a line for each device, and a signature")]
    Form,
    /// Another version of the format.
    #[error("a registry export of version {0}; this program reads version 1")]
    Version(u32),
    /// No authority that is trusted here has the key that is said to have signed it.
    #[error("it is signed by the key {0}, which no authority here has")]
    UnknownIssuer(Box<str>),
    /// It is signed in a way that is not accepted.
    #[error("it is signed with an algorithm that is not accepted here")]
    Algorithm,
    /// The signature is not one of its issuer.
    #[error("its signature is wrong: it was changed, cut short or made by somebody else")]
    BadSignature,
    /// Its end is before its beginning.
    #[error("its next_update is not after its created")]
    DatesReversed,
    /// A line is not a device.
    #[error("line {line}: {why}")]
    Device {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        why: Box<str>,
    },
}
