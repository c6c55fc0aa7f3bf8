//! Why a peer's proof of identity is not good enough, in words for the operator's log.
//!
//! A refusal never carries a peer's text that is not escaped and bounded.

use std::fmt;
use std::time::Duration;

use crate::device_id::DeviceId;
use crate::extensions::Purpose;
use crate::gate::{NamePlace, UnfitId};
use crate::revocation::Revoked;
use crate::subject::InvalidSpiffeId;

/// Why a peer is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The peer showed no certificate.
    NoCertificate,
    /// The certificate is not well-formed; what is wrong with it.
    Malformed(&'static str),
    /// No current trust anchor stands behind the certificate.
    UnknownAuthority,
    /// A signature on the way to the anchor is wrong.
    BadSignature,
    /// The certificate is for other purposes; these.
    NotAClientCertificate(Box<[Purpose]>),
    /// The key may not sign handshakes.
    NoDigitalSignature,
    /// It is the certificate of an authority, not of a device.
    IsAuthority,
    /// An issuer on the way to the anchor may not issue certificates.
    IssuerIsNoAuthority,
    /// It does not say which key signed it, so it could not be found in a revocation list.
    NoIssuerKeyId,
    /// It has no URI among its alternative names.
    NoDeviceId,
    /// It has several URIs among its alternative names: two names are none.
    SeveralDeviceIds(usize),
    /// Its URI does not name a device.
    InvalidDeviceId {
        /// The URI, escaped.
        uri: Box<str>,
        /// What is wrong with it.
        why: InvalidSpiffeId,
    },
    /// The name that its anchor goes by is not one device id.
    UnfitName {
        /// Where the name should stand.
        place: NamePlace,
        /// What is wrong with it.
        why: UnfitId,
    },
    /// Its anchor goes by fingerprints, and its own is not on the table.
    UnknownFingerprint,
    /// Its URI belongs to a trust domain for which its issuer does not speak.
    ForeignTrustDomain(Box<str>),
    /// Its common name is not the id in its URI.
    NameMismatch {
        /// The id, which decides.
        id: Box<str>,
        /// The common name, escaped.
        common_name: Box<str>,
    },
    /// Its id is none of those that its anchor may give.
    ForeignId {
        /// The id.
        id: DeviceId,
        /// What ids of the anchor begin with.
        prefix: Box<str>,
    },
    /// It is not valid yet.
    NotYetValid {
        /// How long it will take.
        until: Duration,
    },
    /// It is not valid any more.
    Expired {
        /// For how long.
        since: Duration,
    },
    /// The certificate was revoked.
    RevokedCertificate(Revoked),
    /// The device was revoked, and all its certificates with it.
    RevokedDevice(Revoked),
    /// An authority between it and its anchor was revoked.
    RevokedAuthority(Revoked),
    /// Whether the certificate is revoked is not known any more: the list of its issuer is out of
    /// date for too long.
    StaleRevocationList {
        /// For how long.
        since: Duration,
    },
    /// Whether the certificate is revoked is not known: lists of its issuer are there, and each
    /// is about other certificates (RFC 5280 §6.3.3).
    NoRevocationList,
    /// Nobody registered the device here.
    UnknownDevice,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("no certificate was shown"),
            Self::Malformed(what) => write!(f, "malformed certificate: {what}"),
            Self::UnknownAuthority => f.write_str("certificate is from an unknown authority"),
            Self::BadSignature => f.write_str("a signature in the certificate chain is wrong"),
            Self::NotAClientCertificate(purposes) => write_purposes(f, purposes),
            Self::NoDigitalSignature => f.write_str(
                "certificate is not for signing (key usage digitalSignature is missing)",
            ),
            Self::IsAuthority => f.write_str("certificate is an authority's, not a device's"),
            Self::IssuerIsNoAuthority => {
                f.write_str("an issuer in the certificate chain may not issue certificates")
            }
            Self::NoIssuerKeyId => f.write_str("certificate has no authority key identifier"),
            Self::NoDeviceId => {
                f.write_str("certificate names no device (no URI alternative name)")
            }
            Self::SeveralDeviceIds(count) => {
                write!(
                    f,
                    "certificate has {count} URI alternative names, one is permitted"
                )
            }
            Self::InvalidDeviceId { uri, why } => {
                write!(f, "certificate URI \"{uri}\" names no device: {why}")
            }
            Self::UnfitName { place, why } => write!(f, "certificate {place} {why}"),
            Self::UnknownFingerprint => {
                f.write_str("certificate fingerprint is not on the table of its authority")
            }
            Self::ForeignTrustDomain(name) => {
                write!(
                    f,
                    "certificate is for trust domain {name}, for which its issuer may not speak"
                )
            }
            Self::NameMismatch { id, common_name } => {
                write!(
                    f,
                    "certificate CN \"{common_name}\" is not its device id {id}"
                )
            }
            Self::ForeignId { id, prefix } => write!(
                f,
                "the id {id} does not begin with \"{prefix}\", as those of its authority must"
            ),
            Self::NotYetValid { until } => write!(f, "not valid for another {}", Rough(*until)),
            Self::Expired { since } => write!(f, "expired {} ago", Rough(*since)),
            Self::RevokedCertificate(revoked) => write!(f, "certificate was revoked {revoked}"),
            Self::RevokedDevice(revoked) => write!(f, "device was revoked {revoked}"),
            Self::RevokedAuthority(revoked) => {
                write!(
                    f,
                    "an authority in the certificate chain was revoked {revoked}"
                )
            }
            Self::StaleRevocationList { since } => {
                write!(
                    f,
                    "the revocation list of its issuer is out of date for {}",
                    Rough(*since)
                )
            }
            Self::NoRevocationList => {
                f.write_str("no revocation list of its issuer is about this certificate")
            }
            Self::UnknownDevice => f.write_str("device is not in the registry"),
        }
    }
}

fn write_purposes(f: &mut fmt::Formatter<'_>, purposes: &[Purpose]) -> fmt::Result {
    match purposes {
        [] => f.write_str("certificate is not for clients (extended key usage is missing)"),
        [Purpose::ServerAuth] => {
            f.write_str("certificate is for servers (extended key usage serverAuth)")
        }
        [first, rest @ ..] => {
            write!(
                f,
                "certificate is not for clients (extended key usage {first}"
            )?;
            // The rest may be long; that clientAuth is missing was said.
            if rest.is_empty() {
                f.write_str(")")
            } else {
                write!(f, " and {} more)", rest.len())
            }
        }
    }
}

/// A duration for people: one number, one unit.
struct Rough(Duration);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 0..120 => write!(f, "{seconds} s"),
            seconds @ 120..7_200 => write!(f, "{} min", seconds / 60),
            seconds @ 7_200..172_800 => write!(f, "{} h", seconds / 3_600),
            seconds => write!(f, "{} d", seconds / 86_400),
        }
    }
}
