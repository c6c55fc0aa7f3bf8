//! `countersign ca rotate`: a new authority in the place of another one, in four stages.
//!
//! Prepared, it is on record; published, it is trusted; switched to, it issues; and the one before
//! is retired once nobody needs it. Whoever is trusted at one stage is so at the next, but for the
//! last, and each stage may be given again: it goes on where it was stopped.

mod error;
mod prepare;
mod publish;
mod retire;
mod switch;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use certs::{Role, Serial};
use pkcs11::KeyUri;
use rustls_pki_types::UnixTime;

pub use self::error::RotationError;
pub(super) use self::prepare::make_key;
use crate::authority::{Algorithm, Authority, Hierarchy, Passphrase};
use crate::commands::crl_publish::Published;
use crate::commands::refusal::noted;
use crate::commands::registry_export::Exported;
use crate::error::CommandError;
use crate::registry::AuthorityStage;

/// A stage of the rotation of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationStage {
    /// The new one is made.
    Prepare,
    /// Whoever must trust it does.
    Publish,
    /// It issues from here.
    Switch,
    /// The one before is trusted no more.
    Retire,
}

impl RotationStage {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Prepare, Self::Publish, Self::Switch, Self::Retire];

    /// The stage as commands take it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Publish => "publish",
            Self::Switch => "switch",
            Self::Retire => "retire",
        }
    }
}

/// What becomes of the key of an authority that is retired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyFate {
    /// It stays where it is.
    #[default]
    Keep,
    /// Its file is deleted, as it is in the directory: a copy elsewhere is not.
    Destroy,
}

/// Which authority to bring to which stage.
#[derive(Clone, Copy, Debug)]
pub struct RotateRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// Of which role.
    pub role: Role,
    /// To which stage.
    pub stage: RotationStage,
    /// What opens the keys, when they are encrypted.
    pub passphrase: Option<&'a Passphrase>,
    /// The key of the new one, when it is in a token. For the first stage.
    pub token: Option<&'a KeyUri>,
    /// With what the new one signs; as the one before when nothing is said. For the first stage.
    pub algorithm: Option<Algorithm>,
    /// Whether to prepare one although the one before the last is not retired.
    pub another: bool,
    /// Which one to retire; the oldest when nothing is said.
    pub number: Option<u32>,
    /// Whether to retire it although somebody still holds a certificate of it.
    pub cut_off: bool,
    /// The certificates behind sessions that brokers have now: none of them is cut off unasked.
    pub connected: &'a [Serial],
    /// What becomes of the key of the one that is retired.
    pub key: KeyFate,
}

impl<'a> RotateRequest<'a> {
    /// A stage with nothing said besides.
    pub fn new(dir: &'a Path, role: Role, stage: RotationStage) -> Self {
        Self {
            dir,
            role,
            stage,
            passphrase: None,
            token: None,
            algorithm: None,
            another: false,
            number: None,
            cut_off: false,
            connected: &[],
            key: KeyFate::Keep,
        }
    }
}

/// What became of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotated {
    /// Its role.
    pub role: Role,
    /// Its number among those of its role.
    pub number: u32,
    /// Its name.
    pub name: Box<str>,
    /// Where it is in its life now.
    pub stage: AuthorityStage,
    /// Whether it came there just now.
    pub made: bool,
    /// Where what was written is.
    pub files: Vec<PathBuf>,
    /// The revocation list that was published, or was there.
    pub list: Option<Published>,
    /// The registry export that was made anew.
    pub export: Option<Exported>,
    /// The authority before, which is still trusted, and how many hold a certificate of it.
    pub before: Option<(u32, u64)>,
}

/// Brings an authority to a stage.
///
/// # Errors
/// [`RotationError`] when it is not at the stage before, or when it would cut somebody off, and
/// what else is in the way.
pub fn ca_rotate(request: &RotateRequest<'_>, now: UnixTime) -> Result<Rotated, CommandError> {
    noted((request.dir, request.role.as_str()), now, || {
        let mut ca = Hierarchy::open(request.dir)?;
        if ca.active(request.role).is_none() {
            return Err(RotationError::NoAuthority(request.role).into());
        }
        match request.stage {
            RotationStage::Prepare => prepare::prepare(&mut ca, request, now),
            RotationStage::Publish => publish::publish(&mut ca, request, now),
            RotationStage::Switch => switch::switch(&mut ca, request, now),
            RotationStage::Retire => retire::retire(&mut ca, request, now),
        }
    })
}

/// The stage that is due, where a rotation has begun and nobody has to wait for the stage.
pub(super) fn rotation_under_way(
    ca: &Hierarchy,
    now: UnixTime,
) -> Result<Option<(Role, RotationStage)>, CommandError> {
    for role in [Role::Root, Role::DeviceCa, Role::ServerCa] {
        for authority in ca.of_role(role) {
            let stage = match authority.stage() {
                AuthorityStage::Prepared => RotationStage::Publish,
                AuthorityStage::Published => RotationStage::Switch,
                AuthorityStage::Older if holders(ca, authority, now)? == 0 => RotationStage::Retire,
                AuthorityStage::Active | AuthorityStage::Older | AuthorityStage::Retired => {
                    continue;
                }
            };
            return Ok(Some((role, stage)));
        }
    }
    Ok(None)
}

/// How many need an authority: who holds a certificate of it, or is an authority that is trusted.
fn holders(ca: &Hierarchy, authority: &Authority, now: UnixTime) -> Result<u64, CommandError> {
    if authority.id().role == Role::Root {
        let below = authorities_below(ca, authority).count();
        return Ok(u64::try_from(below).unwrap_or(u64::MAX));
    }
    Ok(ca.registry.holders_below(authority.serial(), now)?.0)
}

/// The authorities that a root has issued and that are not retired; none of another authority.
fn authorities_below<'a>(
    ca: &'a Hierarchy,
    root: &'a Authority,
) -> impl Iterator<Item = &'a Authority> {
    ca.all().filter(move |it| {
        it.id().role != Role::Root && it.stage() != AuthorityStage::Retired && it.is_issued_by(root)
    })
}

/// The one on its way to be active.
pub(super) fn next(ca: &Hierarchy, role: Role) -> Option<&Authority> {
    let is_next = |it: &&Authority| {
        matches!(
            it.stage(),
            AuthorityStage::Prepared | AuthorityStage::Published
        )
    };
    ca.of_role(role).into_iter().find(is_next)
}

/// The oldest that is trusted and was followed by another.
pub(super) fn older(ca: &Hierarchy, role: Role) -> Option<&Authority> {
    let all = ca.of_role(role).into_iter();
    let mut older = all.filter(|it| it.stage() == AuthorityStage::Older);
    older.next()
}

/// How an authority stands now.
fn rotated(
    ca: &Hierarchy,
    (authority, made): (&Authority, bool),
    now: UnixTime,
) -> Result<Rotated, CommandError> {
    let id = authority.id();
    let before = older(ca, id.role).filter(|it| it.id() != id);
    let before = before.map(|it| Ok::<_, CommandError>((it.id().number, holders(ca, it, now)?)));
    Ok(Rotated {
        role: id.role,
        number: id.number,
        name: authority.name().into(),
        stage: authority.stage(),
        made,
        files: Vec::new(),
        list: None,
        export: None,
        before: before.transpose()?,
    })
}
