//! `countersign ca root revoke`: an authority that counts no longer.
//!
//! It is on record at once, and nothing takes it back. Others learn of it by the next list.

use std::path::Path;

use certs::{RevocationReason, Revoked, Serial};
use rustls_pki_types::UnixTime;

use super::OfflineRootError;
use super::home::RootHome;
use crate::error::CommandError;

/// An authority that counts no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorityRevoked {
    /// What it is called.
    pub name: Box<str>,
    /// The serial number of its certificate.
    pub serial: Serial,
    /// When and why; of the first time, if it was revoked before.
    pub revoked: Revoked,
}

/// Revokes an authority that the root in `dir` has certified. No key is opened.
///
/// # Errors
/// [`OfflineRootError::NoSuchAuthority`], and what else is in the way.
pub fn root_revoke(
    dir: &Path,
    serial: Serial,
    reason: RevocationReason,
    now: UnixTime,
) -> Result<AuthorityRevoked, CommandError> {
    let mut home = RootHome::open(dir)?;
    let revoked = Revoked { at: now, reason };
    let found = home.registry.revoke_authority(serial, revoked)?;
    let (name, revoked) = found.ok_or(OfflineRootError::NoSuchAuthority(serial))?;
    Ok(AuthorityRevoked {
        name,
        serial,
        revoked,
    })
}
