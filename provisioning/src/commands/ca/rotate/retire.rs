//! The last stage: what an authority has issued counts no longer.
//!
//! Its last revocation list is good until the last of its certificates ends, for whoever still goes
//! by it. It leaves the lists that the broker reads before its anchor goes, and its key goes last.

use std::fs;
use std::io;

use certs::{Role, Serial};
use rustls_pki_types::UnixTime;

use super::{
    KeyFate, RotateRequest, Rotated, RotationError, authorities_below, holders, older, rotated,
};
use crate::authority::{Authority, Hierarchy};
use crate::commands::ca::copies::{write_broker_trust, write_copies};
use crate::commands::crl_publish::{Published, bring_last};
use crate::commands::registry_export::renew_by_active;
use crate::error::CommandError;
use crate::files;
use crate::layout::AuthorityId;
use crate::registry::AuthorityStage;

pub(super) fn retire(
    ca: &mut Hierarchy,
    request: &RotateRequest<'_>,
    now: UnixTime,
) -> Result<Rotated, CommandError> {
    let authority = which(ca, request)?;
    let (id, made) = (authority.id(), authority.stage() != AuthorityStage::Retired);
    let mut list = None;
    if made {
        refuse_authorities_below(ca, authority)?;
        if !request.cut_off {
            refuse_in_use(ca, authority, (request, now))?;
        }
        list = last_list(ca, (request, id), now)?;
        ca.advance(&[(id, AuthorityStage::Retired)], now)?;
    }
    let mut files = Vec::new();
    if id.role == Role::DeviceCa {
        remove_lists(ca)?;
        files.extend(write_broker_trust(ca)?);
    }
    write_copies(ca)?;
    let export = follow_export(ca, (request, id), now)?;
    if request.key == KeyFate::Destroy {
        remove(&ca.layout.authority_key(id))?;
    }
    Ok(Rotated {
        files,
        list,
        export,
        ..rotated(ca, (ca.authority(id)?, made), now)?
    })
}

/// The one that is asked for; or else the oldest that can be retired, or the last that was.
fn which<'a>(
    ca: &'a Hierarchy,
    request: &RotateRequest<'_>,
) -> Result<&'a Authority, RotationError> {
    let role = request.role.as_str();
    let all = ca.of_role(request.role);
    let found = if let Some(number) = request.number {
        let found = all.into_iter().find(|it| it.id().number == number);
        found.ok_or(RotationError::NoSuchNumber { role, number })?
    } else {
        let retired = |it: &&Authority| it.stage() == AuthorityStage::Retired;
        let retired = all.into_iter().rfind(retired);
        let found = older(ca, request.role).or(retired);
        found.ok_or(RotationError::NothingToRetire { role })?
    };
    if found.stage() == AuthorityStage::Active {
        return Err(RotationError::IsActive(found.name().into()));
    }
    Ok(found)
}

/// Without their root they would issue what nobody can verify.
fn refuse_authorities_below(ca: &Hierarchy, root: &Authority) -> Result<(), RotationError> {
    match authorities_below(ca, root).next() {
        Some(below) => Err(RotationError::AuthoritiesBelow {
            name: root.name().into(),
            authority: below.name().into(),
        }),
        None => Ok(()),
    }
}

fn refuse_in_use(
    ca: &Hierarchy,
    authority: &Authority,
    (request, now): (&RotateRequest<'_>, UnixTime),
) -> Result<(), CommandError> {
    let (id, dir) = (authority.id(), request.dir.display());
    let holders = holders(ca, authority, now)?;
    let connected = connected_by(ca, authority, request.connected)?;
    if (holders, connected) == (0, 0) {
        return Ok(());
    }
    let (_, first) = ca.registry.holders_below(authority.serial(), now)?;
    let mend = match id.role {
        Role::ServerCa => {
            format!("renew what the broker has with: countersign broker issue --dir {dir}")
        }
        Role::Root | Role::DeviceCa | Role::Broker | Role::Device | Role::App => {
            let number = id.number;
            format!(
                "list them with: countersign device list --device-ca {number} --dir {dir}, and \
                 renew them"
            )
        }
    };
    Err(RotationError::InUse {
        name: authority.name().into(),
        holders,
        first: first.unwrap_or_default().into(),
        connected,
        mend: mend.into(),
    }
    .into())
}

/// How many of these certificates it has issued.
fn connected_by(
    ca: &Hierarchy,
    authority: &Authority,
    serials: &[Serial],
) -> Result<usize, CommandError> {
    let mut count = 0;
    for serial in serials {
        let issuer = ca.registry.issuer_serial(*serial)?;
        count += usize::from(issuer == Some(authority.serial()));
    }
    Ok(count)
}

/// The last list of a device CA that was trusted.
fn last_list(
    ca: &mut Hierarchy,
    (request, id): (&RotateRequest<'_>, AuthorityId),
    now: UnixTime,
) -> Result<Option<Published>, CommandError> {
    let authority = ca.authority(id)?;
    if id.role != Role::DeviceCa || !authority.stage().is_trusted() {
        return Ok(None);
    }
    let end = authority.certificate().not_after;
    let last = ca.registry.last_end_below(authority.serial())?;
    // A list must be good for some time, and nothing outlives its authority.
    let last = last.unwrap_or(end).min(end);
    let last = if last > now { last } else { end };
    ca.unlock(id, request.passphrase, now)?;
    bring_last(ca, id, (last, now)).map(Some)
}

/// An export that the retired one has signed is followed by one of the active one.
fn follow_export(
    ca: &mut Hierarchy,
    (request, id): (&RotateRequest<'_>, AuthorityId),
    now: UnixTime,
) -> Result<Option<crate::Exported>, CommandError> {
    if id.role != Role::DeviceCa {
        return Ok(None);
    }
    ca.unlock_device_ca(request.passphrase, now)?;
    renew_by_active(ca, now)
}

/// The broker refuses all of its lists if nobody it trusts stands behind one.
fn remove_lists(ca: &Hierarchy) -> Result<(), CommandError> {
    let device_cas = ca.of_role(Role::DeviceCa).into_iter();
    let mut retired = device_cas.filter(|it| it.stage() == AuthorityStage::Retired);
    retired.try_for_each(|it| remove(&ca.layout.broker_list(it.id())))
}

fn remove(path: &std::path::Path) -> Result<(), CommandError> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), files::sync),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(files::failed("remove", path, source)),
    }
}
