//! `countersign crl show`: what the published list says, and whose certificates are on it.

use std::path::{Path, PathBuf};

use certs::{Freshness, Revoked, Serial};
use rustls_pki_types::UnixTime;

use super::crl_publish::newest_file;
use crate::authority::{Authority, Hierarchy};
use crate::error::CommandError;

/// A published list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShownList {
    /// The number of the device CA that signed it.
    pub device_ca: u32,
    /// Where it is.
    pub file: PathBuf,
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub this_update: UnixTime,
    /// By when there must be a newer one.
    pub next_update: UnixTime,
    /// Whether it speaks of the present.
    pub freshness: Freshness,
    /// Who is on it, in the order of time.
    pub entries: Vec<ListedCertificate>,
    /// The lists of the other device CAs whose certificates count.
    pub others: Vec<Self>,
}

/// A certificate on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedCertificate {
    /// Its serial number.
    pub serial: Serial,
    /// Whose it is, when the registry knows.
    pub holder: Option<String>,
    /// Since when and why.
    pub revoked: Revoked,
}

/// Reads the lists that were published from `dir` last.
///
/// # Errors
/// [`CommandError::NoList`] when there is none, and what else is in the way.
pub fn crl_show(dir: &Path, now: UnixTime) -> Result<ShownList, CommandError> {
    let ca = Hierarchy::open(dir)?;
    let mut others = Vec::new();
    for device_ca in ca.device_cas().filter(|it| it.id() != ca.device_ca.id()) {
        others.extend(show(&ca, device_ca, now)?);
    }
    let list = show(&ca, &ca.device_ca, now)?;
    let list = list.ok_or_else(|| CommandError::NoList(dir.into()))?;
    Ok(ShownList { others, ..list })
}

fn show(
    ca: &Hierarchy,
    device_ca: &Authority,
    now: UnixTime,
) -> Result<Option<ShownList>, CommandError> {
    let Some((list, _)) = newest_file(ca, device_ca)? else {
        return Ok(None);
    };
    let mut entries = Vec::with_capacity(list.len());
    for (serial, revoked) in list.entries() {
        let holder = ca.registry.holder_of(serial)?;
        entries.push(ListedCertificate {
            serial,
            holder,
            revoked,
        });
    }
    entries.sort_by_key(|entry| (entry.revoked.at.as_secs(), entry.serial));
    Ok(Some(ShownList {
        device_ca: device_ca.id().number,
        file: ca.layout.list(device_ca.id()),
        number: list.number().to_u64().unwrap_or(u64::MAX),
        this_update: list.this_update(),
        next_update: list.next_update(),
        freshness: list.freshness(now),
        entries,
        others: Vec::new(),
    }))
}
