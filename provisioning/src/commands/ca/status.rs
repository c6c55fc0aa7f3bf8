//! `countersign ca status`: the authorities of a directory, how their keys are kept, how old the
//! revocation list is, and what should be done next.
//!
//! No key is opened, and nothing is changed.

use std::path::{Path, PathBuf};

use certs::{Freshness, RevocationList, Role, Serial, TrustDomain};
use rustls_pki_types::UnixTime;

use super::request::{Awaited, waiting};
use super::rotate::{RotationStage, rotation_under_way};
use crate::authority::{Algorithm, Authority, Hierarchy, KeyKept};
use crate::commands::crl_publish::{is_past_half, newest_file};
use crate::commands::up_prepare::is_near_its_end;
use crate::error::CommandError;
use crate::files;
use crate::layout::Layout;
use crate::registry::{AuthorityStage, Registry};

/// The authorities of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaStatus {
    /// For whom they speak.
    pub trust_domain: TrustDomain,
    /// The root, and below it those who issue; then those that do not, or not yet, or no more.
    pub authorities: Vec<AuthorityStatus>,
    /// The revocation list that the active device CA has published last, if there is one.
    pub list: Option<ListStatus>,
    /// The authorities that wait for a certificate of a root that is elsewhere.
    pub awaited: Vec<Awaited>,
    /// What should be done next.
    pub next: NextStep,
}

/// One authority.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorityStatus {
    /// What it is.
    pub role: Role,
    /// Its number among those of its role.
    pub number: u32,
    /// Where it is in its life.
    pub stage: AuthorityStage,
    /// Its name.
    pub subject: Box<str>,
    /// The serial number of its certificate.
    pub serial: Serial,
    /// The last second of its certificate.
    pub not_after: UnixTime,
    /// With what it signs, when that is known here.
    pub algorithm: Option<Algorithm>,
    /// How its key is kept.
    pub key: KeyKept,
    /// Where its key is, unless it is elsewhere.
    pub key_file: PathBuf,
    /// The revocation list that it has published last, if there is one.
    pub list: Option<ListStatus>,
}

/// The revocation list that was published last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListStatus {
    /// Its number.
    pub number: u64,
    /// How many certificates are on it.
    pub entries: usize,
    /// When it was made.
    pub this_update: UnixTime,
    /// By when there must be a newer one.
    pub next_update: UnixTime,
    /// Whether it speaks of the present.
    pub freshness: Freshness,
}

/// What should be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// An authority is on its way to be the one that issues, or has been it.
    GoOn(Role, RotationStage),
    /// An authority is in the last third of its life, or beyond it.
    Replace(Role),
    /// It is, and the key of the root is elsewhere: a certificate for another must be asked for.
    Ask(Role),
    /// A root that is elsewhere has the word.
    Install,
    /// There is no list, or it is past half of its life.
    Publish,
    /// All is well: go on issuing.
    Issue,
}

/// Says how the authorities in `dir` stand.
///
/// # Errors
/// [`CommandError`] names what is in the way, such as a key that others may read.
pub fn ca_status(dir: &Path, now: UnixTime) -> Result<CaStatus, CommandError> {
    let layout = Layout::new(dir);
    if files::exists(&layout.registry())? {
        let registry = Registry::open_in(&layout)?;
        if registry.authorities()?.is_empty()
            && let Some(trust_domain) = registry.trust_domain()?
        {
            return begun((&layout, &registry), trust_domain);
        }
    }
    let ca = Hierarchy::open(dir)?;
    let awaited = awaited(&ca.layout, &ca.registry)?;
    let status = |authority| AuthorityStatus::of(&ca, authority, now);
    let authorities = ca.all().map(status).collect::<Result<Vec<_>, _>>()?;
    let list = list_of(&ca, &ca.device_ca, now)?;
    Ok(CaStatus {
        next: next_step((&ca, &awaited), list, now)?,
        awaited,
        authorities,
        trust_domain: ca.trust_domain.clone(),
        list,
    })
}

/// Where those who will issue wait for their first certificates.
fn begun(
    (layout, registry): (&Layout, &Registry),
    trust_domain: TrustDomain,
) -> Result<CaStatus, CommandError> {
    Ok(CaStatus {
        trust_domain,
        authorities: Vec::new(),
        list: None,
        awaited: awaited(layout, registry)?,
        next: NextStep::Install,
    })
}

fn awaited(layout: &Layout, registry: &Registry) -> Result<Vec<Awaited>, CommandError> {
    let waiting = waiting(layout, registry)?.into_iter();
    Ok(waiting.map(|it| it.shown).collect())
}

fn next_step(
    (ca, awaited): (&Hierarchy, &[Awaited]),
    list: Option<ListStatus>,
    now: UnixTime,
) -> Result<NextStep, CommandError> {
    let mut active = [&ca.root, &ca.device_ca, &ca.server_ca].into_iter();
    if let Some((role, stage)) = rotation_under_way(ca, now)? {
        return Ok(NextStep::GoOn(role, stage));
    }
    if !awaited.is_empty() {
        return Ok(NextStep::Install);
    }
    let old = active.find(|it| is_near_its_end(it.certificate(), now));
    Ok(match (old, list) {
        (Some(old), _) if asks_elsewhere(ca, old.id().role)? => NextStep::Ask(old.id().role),
        (Some(old), _) => NextStep::Replace(old.id().role),
        (None, Some(list)) if !list.is_past_half_its_life(now) => NextStep::Issue,
        (None, Some(_) | None) => NextStep::Publish,
    })
}

/// Whether the one that follows is certified by a root that is elsewhere.
pub(super) fn asks_elsewhere(ca: &Hierarchy, role: Role) -> Result<bool, CommandError> {
    let root = KeyKept::at(&ca.layout.authority_key(ca.root.id()))?;
    Ok(role != Role::Root && root == KeyKept::Elsewhere)
}

fn list_of(
    ca: &Hierarchy,
    device_ca: &Authority,
    now: UnixTime,
) -> Result<Option<ListStatus>, CommandError> {
    Ok(newest_file(ca, device_ca)?.map(|(list, _)| ListStatus::of(&list, now)))
}

impl AuthorityStatus {
    fn of(ca: &Hierarchy, authority: &Authority, now: UnixTime) -> Result<Self, CommandError> {
        let (id, certificate) = (authority.id(), authority.certificate());
        let key_file = ca.layout.authority_key(id);
        let list = match id.role {
            Role::DeviceCa => list_of(ca, authority, now)?,
            Role::Root | Role::ServerCa | Role::Broker | Role::Device | Role::App => None,
        };
        Ok(Self {
            role: id.role,
            number: id.number,
            stage: authority.stage(),
            subject: certificate.subject.clone(),
            serial: certificate.serial,
            not_after: certificate.not_after,
            algorithm: Algorithm::of(&certificate.public_key),
            key: KeyKept::at(&key_file)?,
            key_file,
            list,
        })
    }
}

impl ListStatus {
    pub(super) fn of(list: &RevocationList, now: UnixTime) -> Self {
        Self {
            number: list.number().to_u64().unwrap_or(u64::MAX),
            entries: list.len(),
            this_update: list.this_update(),
            next_update: list.next_update(),
            freshness: list.freshness(now),
        }
    }

    /// Whether a new one should be signed.
    pub fn is_past_half_its_life(&self, now: UnixTime) -> bool {
        is_past_half((self.this_update, self.next_update), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{day, issue};
    use crate::{InitRequest, PublishRequest, ca_init, crl_publish};

    #[test]
    fn what_is_there_and_what_to_do_next_is_said() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        ca_init(&InitRequest::new(dir), day(0)).unwrap();
        let status = ca_status(dir, day(0)).unwrap();
        assert_eq!((status.list, status.next), (None, NextStep::Publish));
        let stand: Vec<_> = status
            .authorities
            .iter()
            .map(|it| (it.role, it.algorithm.unwrap(), it.key))
            .collect();
        let expected = [
            (Role::Root, Algorithm::P384, KeyKept::Unencrypted),
            (Role::DeviceCa, Algorithm::P256, KeyKept::Unencrypted),
            (Role::ServerCa, Algorithm::P256, KeyKept::Unencrypted),
        ];
        assert_eq!(stand, expected);

        let request = PublishRequest {
            passphrase: None,
            force: true,
            dir,
            days: Some(8),
        };
        crl_publish(&request, day(1)).unwrap();
        for (at, next) in [
            (4, NextStep::Issue),
            (5, NextStep::Publish),
            (3_000, NextStep::Replace(Role::DeviceCa)),
        ] {
            let status = ca_status(dir, day(at)).unwrap();
            assert_eq!(status.next, next, "day {at}");
            assert_eq!(status.list.unwrap().number, 1);
        }
        // A root may be kept elsewhere: devices are issued to without it.
        std::fs::remove_file(&status.authorities[0].key_file).unwrap();
        let status = ca_status(dir, day(1)).unwrap();
        assert_eq!(status.authorities[0].key, KeyKept::Elsewhere);
        issue(dir, "dev-1", None).unwrap();
    }
}
