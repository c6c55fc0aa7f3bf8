//! The third stage: it issues from here, and the one before signs its revocation list only.

use certs::Role;
use rustls_pki_types::UnixTime;

use super::publish::make_known;
use super::{RotateRequest, Rotated, RotationError, next, rotated};
use crate::authority::Hierarchy;
use crate::commands::registry_export::renew_by_active;
use crate::error::CommandError;
use crate::registry::AuthorityStage;

pub(super) fn switch(
    ca: &mut Hierarchy,
    request: &RotateRequest<'_>,
    now: UnixTime,
) -> Result<Rotated, CommandError> {
    let role = request.role;
    let active = ca.active(role).ok_or(crate::RegistryError::Damaged)?;
    let (before, next) = (active.id(), next(ca, role));
    let (id, made) = match next {
        Some(next) if next.stage() == AuthorityStage::Published => (next.id(), true),
        Some(next) => {
            return Err(RotationError::NotPublished {
                name: next.name().into(),
                role: role.as_str(),
                dir: request.dir.into(),
            }
            .into());
        }
        None if before.number > 1 => (before, false),
        None => {
            return Err(RotationError::NotPrepared {
                role: role.as_str(),
                dir: request.dir.into(),
            }
            .into());
        }
    };
    ca.unlock(id, request.passphrase, now)?;
    // Whatever was stopped in the stage before is done first.
    let (files, list) = make_known(ca, id, now)?;
    if made {
        let steps = [
            (before, AuthorityStage::Older),
            (id, AuthorityStage::Active),
        ];
        ca.advance(&steps, now)?;
    }
    let export = match role {
        Role::DeviceCa => renew_by_active(ca, now)?,
        Role::Root | Role::ServerCa | Role::Broker | Role::Device | Role::App => None,
    };
    Ok(Rotated {
        files,
        list,
        export,
        ..rotated(ca, (ca.authority(id)?, made), now)?
    })
}
