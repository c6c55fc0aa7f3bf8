//! `countersign batch check`: whether a list can become a batch, and all that is in the way.
//!
//! Nothing is changed by looking.

use std::collections::HashMap;
use std::path::Path;

use certs::Kind;
use rustls_pki_types::UnixTime;

use crate::error::CommandError;
use crate::layout::Layout;
use crate::registry::{Device, DeviceState, Registry};
use crate::roster::{Entry, Mistake, Roster};

/// What a list comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// How many devices are in it.
    pub devices: usize,
    /// How many of them are not in the inventory yet.
    pub new: usize,
}

/// Checks the list in `file` against itself and against what is on record in `dir`.
///
/// # Errors
/// [`CommandError::Roster`] with every mistake, and what else is in the way.
pub fn batch_check(dir: &Path, file: &Path, now: UnixTime) -> Result<Checked, CommandError> {
    let registry = Registry::open_in(&Layout::new(dir))?;
    let roster = Roster::open(file)?;
    let new = check_against(&registry, (&roster, file), now)?;
    Ok(Checked {
        devices: roster.entries.len(),
        new,
    })
}

/// Finds every row whose device cannot be issued a certificate; how many devices are new.
pub(super) fn check_against(
    registry: &Registry,
    (roster, path): (&Roster, &Path),
    now: UnixTime,
) -> Result<usize, CommandError> {
    let known = registry.devices(None, now)?;
    let known: HashMap<String, &Device> = known
        .iter()
        .map(|device| (lower(device.subject.id.as_str()), device))
        .collect();
    let waiting = registry.waiting_devices()?;
    let (mut new, mut mistakes) = (0, Vec::new());
    for entry in &roster.entries {
        let Some(device) = known.get(&lower(entry.id.as_str())) else {
            new += 1;
            continue;
        };
        let batch = waiting.get(device.subject.id.as_str());
        if let Some(what) = in_the_way(entry, device, batch.map(AsRef::as_ref)) {
            mistakes.push(Mistake::of_id(entry.line, what));
        }
    }
    refuse(path, mistakes)?;
    Ok(new)
}

pub(super) fn refuse(path: &Path, mistakes: Vec<Mistake>) -> Result<(), CommandError> {
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(CommandError::Roster {
        path: path.into(),
        mistakes,
    })
}

pub(super) fn lower(id: &str) -> String {
    id.to_ascii_lowercase()
}

fn in_the_way(entry: &Entry, device: &Device, batch: Option<&str>) -> Option<String> {
    let (id, found) = (&entry.id, &device.subject);
    if found.kind != Kind::Device || found.id != *id {
        return Some(format!(
            "{id} is taken by {found}; ids differ by more than case, and no device has that of an \
             application"
        ));
    }
    if let Some(batch) = batch {
        return Some(format!("{id} is waiting in the batch {batch}"));
    }
    if let Some(certificate) = device.certificate {
        let serial = certificate.serial;
        return Some(format!(
            "{id} has the certificate {serial}; renew it with: countersign device renew {id}"
        ));
    }
    let revoked = device.revoked?;
    // It may have been removed since, and stays revoked.
    matches!(device.state, DeviceState::Revoked | DeviceState::Removed).then(|| {
        format!(
            "{id} was revoked {revoked}; if it is to come back: countersign device issue {id} \
             --again"
        )
    })
}
