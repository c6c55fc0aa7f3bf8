//! The root's list of revoked authorities, as it is kept where they issue.
//!
//! Its number only rises. Brokers go by it where the root is their anchor; where the device CA is,
//! as here, taking that away from what they trust does what a list would.

use certs::RevocationList;
use rustls_pki_types::UnixTime;

use super::read::{Found, FoundList};
use crate::authority::{Authority, Hierarchy};
use crate::commands::ca::root::OfflineRootError;
use crate::commands::crl_publish::newest_of;
use crate::error::CommandError;
use crate::files::Staging;
use crate::layout::Layout;
use crate::registry::{Publication, Registry};

/// A list to keep.
pub(super) struct NewList {
    list: RevocationList,
    number: u64,
    pem: String,
}

/// The newest list of the root in the files, if it is no older than what was seen.
pub(super) fn judge(
    (layout, registry): (&Layout, &Registry),
    root: &Authority,
    found: &[FoundList],
) -> Result<Option<NewList>, CommandError> {
    let issuers = [root.as_issuer()?];
    let mut newest: Option<(RevocationList, &FoundList)> = None;
    for it in found {
        let list = RevocationList::read(&it.der, &issuers).map_err(|source| {
            let path = it.path.clone();
            OfflineRootError::BadList { path, source }
        })?;
        if newest
            .as_ref()
            .is_none_or(|(newest, _)| newest.number() < list.number())
        {
            newest = Some((list, it));
        }
    }
    let Some((list, found)) = newest else {
        return Ok(None);
    };
    let there = newest_of(root, &[layout.list(root.id())])?.map(|(list, _)| list);
    let kept = registry.last_number(Publication::RevocationList, root.serial())?;
    let of_there = there.as_ref().and_then(|list| list.number().to_u64());
    let have = kept.max(of_there.unwrap_or(0));
    let is_same = there.is_some_and(|it| it.sha256() == list.sha256());
    let offered = list.number();
    // The registry counts no further.
    let number = offered.to_u64().filter(|it| i64::try_from(*it).is_ok());
    let number = number.ok_or(crate::RegistryError::NumbersExhausted)?;
    let is_newer = number > have;
    // One that was recorded and not written is written now.
    let is_unfinished = of_there < Some(kept) && number == kept;
    if !(is_same || is_newer || is_unfinished) {
        return Err(OfflineRootError::OldList { have, offered }.into());
    }
    let pem = pem::encode_config(
        &pem::Pem::new("X509 CRL", found.der.clone()),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    );
    Ok(Some(NewList { list, number, pem }))
}

/// Keeps a list, and yields its number.
pub(super) fn keep(ca: &mut Hierarchy, new: NewList, now: UnixTime) -> Result<u64, CommandError> {
    let (serial, times) = (
        ca.root.serial(),
        (new.list.this_update(), new.list.next_update()),
    );
    ca.registry.keep_number((serial, new.number), times, now)?;
    let mut staging = Staging::new(ca.layout.dir());
    staging.write(&ca.layout.list(ca.root.id()), new.pem)?;
    staging.commit()?;
    Ok(new.number)
}

/// Whether the newest list that there is, here or in the files, has a certificate on it.
pub(super) fn revokes(
    layout: &Layout,
    (root, new): (&Authority, Option<&NewList>),
    found: &Found,
) -> Result<bool, CommandError> {
    let serial = found.certificate.serial;
    if let Some(new) = new {
        return Ok(new.list.find(serial).is_some());
    }
    let there = newest_of(root, &[layout.list(root.id())])?;
    Ok(there.is_some_and(|(list, _)| list.find(serial).is_some()))
}

/// The authorities that are trusted here and stand on the list of their root.
pub(in crate::commands::ca) fn revoked_here(
    ca: &Hierarchy,
) -> Result<Vec<&Authority>, CommandError> {
    let list = newest_of(&ca.root, &[ca.layout.list(ca.root.id())])?;
    let Some((list, _)) = list else {
        return Ok(Vec::new());
    };
    let is_on_it = |it: &&Authority| {
        it.stage().is_trusted() && it.is_issued_by(&ca.root) && list.find(it.serial()).is_some()
    };
    Ok(ca.all().filter(is_on_it).collect())
}
