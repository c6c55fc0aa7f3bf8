//! The second stage: brokers trust it, and find its revocation list.
//!
//! The anchor is there before the list, which nobody would believe without it.

use certs::Role;
use rustls_pki_types::UnixTime;

use super::{RotateRequest, Rotated, RotationError, next, rotated};
use crate::authority::Hierarchy;
use crate::commands::ca::copies::{write_broker_trust, write_copies};
use crate::commands::crl_publish::{Published, bring_one};
use crate::error::CommandError;
use crate::layout::AuthorityId;
use crate::registry::AuthorityStage;

pub(super) fn publish(
    ca: &mut Hierarchy,
    request: &RotateRequest<'_>,
    now: UnixTime,
) -> Result<Rotated, CommandError> {
    let Some(next) = next(ca, request.role) else {
        return published_before(ca, request, now);
    };
    let (id, made) = (next.id(), next.stage() == AuthorityStage::Prepared);
    // A key that cannot be opened would be found out too late.
    ca.unlock(id, request.passphrase, now)?;
    if made {
        ca.advance(&[(id, AuthorityStage::Published)], now)?;
    }
    let (files, list) = make_known(ca, id, now)?;
    Ok(Rotated {
        files,
        list,
        ..rotated(ca, (ca.authority(id)?, made), now)?
    })
}

/// Puts an authority that is trusted, and whose key is open, where it is to be found.
pub(super) fn make_known(
    ca: &mut Hierarchy,
    id: AuthorityId,
    now: UnixTime,
) -> Result<(Vec<std::path::PathBuf>, Option<Published>), CommandError> {
    write_copies(ca)?;
    if id.role != Role::DeviceCa {
        return Ok((vec![ca.layout.authority_pem(id)], None));
    }
    let mut files = vec![ca.layout.device_cas_pem()];
    files.extend(write_broker_trust(ca)?);
    let list = bring_one(ca, id, (None, now))?;
    Ok((files, Some(list)))
}

/// The one that was published last issues already.
fn published_before(
    ca: &Hierarchy,
    request: &RotateRequest<'_>,
    now: UnixTime,
) -> Result<Rotated, CommandError> {
    match ca.active(request.role) {
        Some(active) if active.id().number > 1 => rotated(ca, (active, false), now),
        Some(_) | None => Err(RotationError::NotPrepared {
            role: request.role.as_str(),
            dir: request.dir.into(),
        }
        .into()),
    }
}
