//! `countersign ca root status`: the root, what it has certified, and its last list.
//!
//! No key is opened, and nothing is changed.

use std::path::Path;

use certs::{Revoked, Role, Serial, TrustDomain, sha256};
use rustls_pki_types::UnixTime;

use super::home::RootHome;
use crate::authority::{Algorithm, KeyKept};
use crate::commands::ca::status::ListStatus;
use crate::commands::crl_publish::newest_of;
use crate::error::CommandError;

/// A root that is kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootStatus {
    /// For whom the authorities speak that it signs.
    pub trust_domain: TrustDomain,
    /// Its name.
    pub subject: Box<str>,
    /// The SHA-256 of its certificate, by which others know it.
    pub fingerprint: [u8; 32],
    /// The last second of its certificate.
    pub not_after: UnixTime,
    /// With what it signs, when that is known here.
    pub algorithm: Option<Algorithm>,
    /// How its key is kept.
    pub key: KeyKept,
    /// What it has certified.
    pub certified: Vec<CertifiedStatus>,
    /// The list that it has signed last, if there is one.
    pub list: Option<ListStatus>,
}

/// An authority that the root has certified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertifiedStatus {
    /// What it is.
    pub role: Role,
    /// Its name.
    pub name: Box<str>,
    /// The serial number of its certificate.
    pub serial: Serial,
    /// The SHA-256 of its public key.
    pub key: [u8; 32],
    /// The last second of its certificate.
    pub not_after: UnixTime,
    /// When and why it was revoked.
    pub revoked: Option<Revoked>,
}

/// Says how the root in `dir` stands.
///
/// # Errors
/// [`CommandError`] names what is in the way, such as a key that others may read.
pub fn root_status(dir: &Path, now: UnixTime) -> Result<RootStatus, CommandError> {
    let home = RootHome::open(dir)?;
    let certificate = home.root.certificate();
    let list = newest_of(&home.root, &[home.layout.list(home.root.id())])?;
    let certified = home
        .registry
        .certified_authorities()?
        .into_iter()
        .map(|it| {
            let certificate = it.recorded.certificate();
            CertifiedStatus {
                role: it.recorded.role(),
                name: it.recorded.name().into(),
                serial: certificate.serial,
                key: sha256(&certificate.public_key),
                not_after: certificate.not_after,
                revoked: it.revoked,
            }
        });
    Ok(RootStatus {
        trust_domain: home.trust_domain.clone(),
        subject: certificate.subject.clone(),
        fingerprint: certificate.sha256,
        not_after: certificate.not_after,
        algorithm: Algorithm::of(&certificate.public_key),
        key: KeyKept::at(&home.layout.authority_key(home.root.id()))?,
        certified: certified.collect(),
        list: list.map(|(list, _)| ListStatus::of(&list, now)),
    })
}
