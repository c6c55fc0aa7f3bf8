//! Why a revocation list is not believed, in words for whoever put it there.

use thiserror::Error;

use super::der::Broken;

/// Why a revocation list is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidList {
    /// There is none, neither in PEM nor in DER.
    #[error("no revocation list in it (PEM with \"BEGIN X509 CRL\", or DER)")]
    None,
    /// It is longer than any list that is read.
    #[error("the revocation list has {0} octets, more than are read")]
    TooLong(usize),
    /// It is not the DER of one revocation list.
    #[error("not a well-formed revocation list (RFC 5280 §5.1)")]
    Malformed,
    /// It is of version 1, which has no number and cannot say what it is about.
    #[error("a revocation list of version 1; make one of version 2, with extensions")]
    Version1,
    /// It does not say which key signed it.
    #[error("it has no authority key identifier (RFC 5280 §5.2.1)")]
    NoIssuerKeyId,
    /// It has no number, so that an old one could not be told from a new one.
    #[error("it has no CRL number (RFC 5280 §5.2.3)")]
    NoNumber,
    /// It does not say when the next one will come.
    #[error("it has no nextUpdate (RFC 5280 §5.1.2.5)")]
    NoNextUpdate,
    /// The next one would come before this one.
    #[error("its nextUpdate is not after its thisUpdate")]
    DatesReversed,
    /// It holds changes only.
    #[error("a delta CRL (RFC 5280 §5.2.4), which is not read; publish complete lists")]
    Delta,
    /// It is about certificates of other issuers.
    #[error("an indirect CRL (RFC 5280 §5.2.5), which is not read; each issuer signs its own list")]
    Indirect,
    /// It is about attribute certificates.
    #[error("it is about attribute certificates only (RFC 5280 §5.2.5)")]
    AttributeCertificates,
    /// It does not list those revoked for other reasons.
    #[error("it is about some reasons only (RFC 5280 §5.2.5); publish one list for all reasons")]
    SomeReasons,
    /// It has a critical extension that is not understood.
    #[error("it has a critical extension that is not known here ({0})")]
    CriticalExtension(Box<str>),
    /// No authority that is trusted here has the key that is said to have signed it.
    #[error("it is signed by the key {0}, which no authority here has")]
    UnknownIssuer(Box<str>),
    /// The authority with this key has another name.
    #[error("it names another issuer than the authority with its key")]
    OtherIssuer,
    /// The authority may not sign lists.
    #[error("its issuer may not sign revocation lists (key usage cRLSign is missing)")]
    IssuerSignsNoLists,
    /// It is signed in a way that is not accepted.
    #[error("it is signed with an algorithm that is not accepted here")]
    Algorithm,
    /// The signature is not one of its issuer.
    #[error("its signature is wrong")]
    BadSignature,
}

impl From<Broken> for InvalidList {
    fn from(Broken: Broken) -> Self {
        Self::Malformed
    }
}
