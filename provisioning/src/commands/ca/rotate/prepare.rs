//! The first stage: a key and a certificate of its own, which nobody trusts yet.
//!
//! The key comes first: without a record it signed nothing that anybody has, and the next try
//! replaces it.

use certs::{AuthorityName, BasicConstraints, Holder, Role};
use rcgen::KeyPair;
use rustls_pki_types::UnixTime;

use super::{RotateRequest, Rotated, RotationError, next, older, rotated};
use crate::authority::{Algorithm, Authority, Hierarchy, KeyInTokenError, KeyKept, key_file};
use crate::commands::ca::copies::write_copies;
use crate::error::CommandError;
use crate::files::Staging;
use crate::layout::AuthorityId;

pub(super) fn prepare(
    ca: &mut Hierarchy,
    request: &RotateRequest<'_>,
    now: UnixTime,
) -> Result<Rotated, CommandError> {
    let made = next(ca, request.role).is_none();
    if made {
        make(ca, request, now)?;
    }
    write_copies(ca)?;
    let next = next(ca, request.role).ok_or(crate::RegistryError::Damaged)?;
    let id = next.id();
    let files = vec![ca.layout.authority_pem(id), ca.layout.authority_key(id)];
    Ok(Rotated {
        files,
        ..rotated(ca, (next, made), now)?
    })
}

fn make(
    ca: &mut Hierarchy,
    request: &RotateRequest<'_>,
    now: UnixTime,
) -> Result<(), CommandError> {
    let role = request.role;
    if let Some(older) = older(ca, role).filter(|_| !request.another) {
        let name = older.name().into();
        return Err(RotationError::NotRetired { name }.into());
    }
    ca.unlock(ca.root.id(), request.passphrase, now)?;
    let number = ca.of_role(role).last().map_or(0, |it| it.id().number) + 1;
    let id = AuthorityId { role, number };
    if role == Role::Root {
        refuse_short(ca)?;
    }
    let key = make_key(ca, (request, id))?;
    let common_name = format!("{} {number}", without_number(of_role(ca, role)?.name()));
    let organizations = ca.root.certificate().organizations.clone();
    let name = AuthorityName {
        organization: organizations.first().map(AsRef::as_ref),
        common_name: &common_name,
    };
    name.check()?;
    let holder = match role {
        Role::Root => return make_root(ca, (name, key), (id, now)),
        Role::ServerCa => Holder::ServerCa(name),
        Role::DeviceCa | Role::Broker | Role::Device | Role::App => Holder::DeviceCa(name),
    };
    let signed = ca.root.sign(holder, &key, now)?;
    Ok(ca.record_prepared((&signed, None), id, now)?)
}

/// A root that signs itself, and whose key the one before certifies: whoever trusts that one finds
/// the way to what the new one issues.
fn make_root(
    ca: &mut Hierarchy,
    (name, key): (AuthorityName<'_>, KeyPair),
    (id, now): (AuthorityId, UnixTime),
) -> Result<(), CommandError> {
    let cross = ca.root.sign(Holder::Root(name), &key, now)?;
    let (_, signed) = Authority::new_root(name, key, now)?;
    Ok(ca.record_prepared((&signed, Some(&cross)), id, now)?)
}

fn refuse_short(ca: &Hierarchy) -> Result<(), RotationError> {
    if has_room_below(ca.root.certificate().extensions.basic_constraints) {
        return Ok(());
    }
    Err(RotationError::NoRoomBelow(ca.root.name().into()))
}

/// Whether another root and an authority that it has issued may follow: OpenSSL and others count
/// the authorities below a root that they trust. Roots of an earlier version permit one.
fn has_room_below(root: BasicConstraints) -> bool {
    match root {
        BasicConstraints::Authority { path_len } => path_len.is_none_or(|len| len >= 2),
        BasicConstraints::EndEntity => false,
    }
}

fn of_role(ca: &Hierarchy, role: Role) -> Result<&Authority, CommandError> {
    Ok(ca.active(role).ok_or(crate::RegistryError::Damaged)?)
}

/// A key that is kept as that of the one before: encrypted under the same passphrase, or not.
fn make_key(
    ca: &Hierarchy,
    (request, id): (&RotateRequest<'_>, AuthorityId),
) -> Result<KeyPair, CommandError> {
    let before = of_role(ca, id.role)?;
    let before_key = ca.layout.authority_key(before.id());
    let passphrase = match KeyKept::at(&before_key)? {
        KeyKept::Unencrypted => None,
        KeyKept::Encrypted | KeyKept::Elsewhere => request.passphrase,
        // What was never on disk is not to be followed by what is.
        KeyKept::Token { .. } => return Err(KeyInTokenError::NotFollowed(before_key).into()),
    };
    if passphrase.is_none() && KeyKept::at(&before_key)? == KeyKept::Encrypted {
        return Err(CommandError::Encrypted(before_key));
    }
    let algorithm = request.algorithm;
    let algorithm = algorithm.or_else(|| Algorithm::of(&before.certificate().public_key));
    let key = key_file::generate_for(algorithm.unwrap_or_default())?;
    let pem = key_file::to_pem(&key, passphrase)?;
    let mut staging = Staging::new(ca.layout.dir());
    staging.write(&ca.layout.authority_key(id), pem.as_bytes())?;
    staging.commit()?;
    Ok(key)
}

/// What an authority and those that follow it are called.
fn without_number(name: &str) -> &str {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    stem.trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_permits_no_root_below_it_is_not_followed() {
        let authority = |path_len| BasicConstraints::Authority { path_len };
        for (root, has_room) in [
            (authority(Some(1)), false),
            (authority(Some(2)), true),
            (authority(None), true),
            (BasicConstraints::EndEntity, false),
        ] {
            assert_eq!(has_room_below(root), has_room, "{root:?}");
        }
    }

    #[test]
    fn what_follows_is_called_like_the_one_before_but_for_its_number() {
        for (name, stem) in [
            ("Acme device CA 1", "Acme device CA"),
            ("CA 12", "CA"),
            ("CA", "CA"),
        ] {
            assert_eq!(without_number(name), stem);
        }
    }
}
