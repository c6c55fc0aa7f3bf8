//! The first stage: a key and a certificate of its own, which nobody trusts yet.
//!
//! The key comes first: without a record it signed nothing that anybody has, and the next try
//! replaces it.

use certs::{AuthorityName, BasicConstraints, Holder, Role};
use pkcs11::KeyUri;
use rcgen::PublicKeyData;
use rustls_pki_types::UnixTime;

use super::{RotateRequest, Rotated, RotationError, next, older, rotated};
use crate::authority::{
    Algorithm, Authority, AuthorityKey, Hierarchy, KeyInToken, KeyInTokenError, KeyKept, key_file,
    reference,
};
use crate::commands::ca::copies::write_copies;
use crate::commands::ca::init::refuse_token;
use crate::commands::ca::root::OfflineRootError;
use crate::error::CommandError;
use crate::files::{self, Staging};
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
    if let Some(asked) = request.token {
        refuse_token(&ca.layout, id, asked)?;
    }
    let key = ca.layout.authority_key(id);
    let key = match KeyKept::at(&key)? {
        KeyKept::Token { .. } => reference(&key),
        KeyKept::Encrypted | KeyKept::Unencrypted | KeyKept::Elsewhere => key,
    };
    let files = vec![ca.layout.authority_pem(id), key];
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
    refuse_without_root(ca, request)?;
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
    (name, key): (AuthorityName<'_>, AuthorityKey),
    (id, now): (AuthorityId, UnixTime),
) -> Result<(), CommandError> {
    let cross = ca.root.sign(Holder::Root(name), &key, now)?;
    let (_, signed) = Authority::new_root(name, key, now)?;
    Ok(ca.record_prepared((&signed, Some(&cross)), id, now)?)
}

/// Says who can be asked where the key of the root is not.
fn refuse_without_root(ca: &Hierarchy, request: &RotateRequest<'_>) -> Result<(), CommandError> {
    let (role, dir) = (request.role.as_str(), request.dir.to_path_buf());
    match KeyKept::at(&ca.layout.authority_key(ca.root.id()))? {
        KeyKept::Encrypted | KeyKept::Unencrypted | KeyKept::Token { .. } => Ok(()),
        KeyKept::Elsewhere if request.role == Role::Root => {
            Err(OfflineRootError::RootNeeded(dir).into())
        }
        KeyKept::Elsewhere => Err(OfflineRootError::RootElsewhere { role, dir }.into()),
    }
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

/// The key in the token that is named, or one that is kept as that of the one before: encrypted
/// under the same passphrase, or not.
pub(in crate::commands::ca) fn make_key(
    ca: &Hierarchy,
    (request, id): (&RotateRequest<'_>, AuthorityId),
) -> Result<AuthorityKey, CommandError> {
    let before = of_role(ca, id.role)?;
    if let Some(uri) = request.token {
        return open_token(ca, (request, uri), id);
    }
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
    files::remove_if_there(&reference(&ca.layout.authority_key(id)))?;
    staging.commit()?;
    Ok(key.into())
}

/// A key that was made in a token, and is nobody's yet: a new key under an old one's list would
/// make good revocation lists look forged, and an old key under a new name is no new one.
fn open_token(
    ca: &Hierarchy,
    (request, uri): (&RotateRequest<'_>, &KeyUri),
    id: AuthorityId,
) -> Result<AuthorityKey, CommandError> {
    let key = AuthorityKey::InToken(KeyInToken::open(uri, request.passphrase)?);
    let public = key.subject_public_key_info();
    let found = Algorithm::of(&public);
    if let Some(asked) = request.algorithm.filter(|asked| Some(*asked) != found) {
        let (uri, found) = (
            Box::new(uri.clone()),
            found.map_or("something else", Algorithm::as_str),
        );
        return Err(KeyInTokenError::Other { uri, found, asked }.into());
    }
    if let Some(holder) = ca.all().find(|it| *it.certificate().public_key == *public) {
        let (uri, name) = (Box::new(uri.clone()), holder.name().into());
        return Err(RotationError::SameKey { uri, name }.into());
    }
    let path = ca.layout.authority_key(id);
    files::remove_if_there(&path)?;
    let mut staging = Staging::new(ca.layout.dir());
    staging.write(&reference(&path), format!("{uri}\n"))?;
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
