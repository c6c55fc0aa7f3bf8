//! The certificates of authorities as files.
//!
//! The registry has them; the files are copies, made again where they are missing.

use std::path::PathBuf;

use crate::authority::Hierarchy;
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::Layout;

/// Writes what is not there or says something else: each authority, what devices trust, and what
/// brokers elsewhere trust.
pub(super) fn write_copies(ca: &Hierarchy) -> Result<(), CommandError> {
    let layout = &ca.layout;
    let authorities = ca.all().map(|it| {
        let path = layout.authority_pem(it.id());
        (path, it.pem().to_owned())
    });
    let trusted = [
        (layout.ca_pem(), ca.trusted_by_peers()),
        (layout.device_cas_pem(), ca.trusted_by_brokers()),
    ];
    write_missing(layout, authorities.chain(trusted))
}

/// Writes what the broker of this directory trusts, where it has something to trust; yields where
/// that is.
pub(super) fn write_broker_trust(ca: &Hierarchy) -> Result<Option<PathBuf>, CommandError> {
    let path = ca.layout.broker().ca;
    if !files::exists(&path)? {
        return Ok(None);
    }
    let trusted = (path.clone(), ca.trusted_by_brokers());
    write_missing(&ca.layout, [trusted].into_iter())?;
    Ok(Some(path))
}

/// Writes each file that is not there or says something else.
pub(super) fn write_missing(
    layout: &Layout,
    copies: impl Iterator<Item = (PathBuf, String)>,
) -> Result<(), CommandError> {
    let mut staging = Staging::new(layout.dir());
    for (path, pem) in copies {
        if files::read_if_there(&path)?.as_deref() != Some(pem.as_bytes()) {
            staging.write(&path, pem)?;
        }
    }
    staging.commit()
}
