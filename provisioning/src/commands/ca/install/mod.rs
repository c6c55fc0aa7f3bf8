//! `countersign ca install`: what a root elsewhere has signed, where its keys are.
//!
//! Every certificate is verified before the first one is recorded: it is one of the root that is
//! trusted here, for a key that waits here, and what its profile says. All are installed, or none.

mod list;
mod read;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

use certs::{Role, TrustDomain};
use rustls_pki_types::UnixTime;

pub(super) use self::list::revoked_here;
use self::list::{NewList, judge, keep, revokes};
use self::read::{Found, FoundList, read};
use super::copies::write_copies;
use super::request::{Waiting, waiting};
use super::root::OfflineRootError;
use crate::authority::{Authority, Hierarchy, Signed, hierarchy};
use crate::commands::refusal::noted;
use crate::error::CommandError;
use crate::files;
use crate::layout::{AuthorityId, Layout};
use crate::registry::{AuthorityStage, RecordedAuthority, Registry};

/// What to install.
#[derive(Clone, Copy, Debug)]
pub struct InstallRequest<'a> {
    /// The directory in which it is awaited.
    pub dir: &'a Path,
    /// The files from where the root is.
    pub files: &'a [PathBuf],
    /// The SHA-256 of the certificate of the root that is to be trusted.
    pub root_fingerprint: Option<[u8; 32]>,
}

/// A root that would be trusted from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewRoot {
    /// Its name.
    pub subject: Box<str>,
    /// The SHA-256 of its certificate.
    pub fingerprint: [u8; 32],
    /// The last second of its certificate.
    pub not_after: UnixTime,
}

/// What was installed, or had been.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Installed {
    /// For whom the authorities speak.
    pub trust_domain: TrustDomain,
    /// The SHA-256 of the root's certificate.
    pub root: [u8; 32],
    /// The authorities of the files.
    pub authorities: Vec<InstalledAuthority>,
    /// The number of the root's revocation list, if there was one in the files.
    pub list: Option<u64>,
    /// The authorities that are trusted here and stand on it.
    pub revoked: Vec<Box<str>>,
}

/// An authority whose certificate was in the files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstalledAuthority {
    /// What it is.
    pub role: Role,
    /// Its number among those of its role.
    pub number: u32,
    /// Its name.
    pub name: Box<str>,
    /// Where it is in its life.
    pub stage: AuthorityStage,
    /// Whether it was installed just now.
    pub made: bool,
}

/// Installs what a root has signed for the keys that wait in a directory. A root that was not
/// trusted there is so if it has the fingerprint that was named, or else if `confirm` says so.
///
/// # Errors
/// [`OfflineRootError`] when one of them is not what it should be: then nothing was installed.
pub fn ca_install(
    request: &InstallRequest<'_>,
    confirm: impl FnOnce(&NewRoot) -> bool,
    now: UnixTime,
) -> Result<Installed, CommandError> {
    noted((request.dir, "install"), now, || {
        let desk = Desk::open(request.dir)?;
        let found = read(request.files)?;
        let verified = desk.verify(found, now)?;
        check_root(request, &verified, confirm)?;
        desk.install(verified, now)
    })
}

/// A directory in which certificates are awaited, or were.
struct Desk {
    layout: Layout,
    registry: Registry,
    lock: File,
    trust_domain: TrustDomain,
    known: Vec<RecordedAuthority>,
    waiting: Vec<Waiting>,
}

/// What can be installed.
struct Verified {
    /// The root, which is new here or not.
    root: Authority,
    new_root: Option<Signed>,
    /// Those that wait, in their order.
    signed: Vec<(AuthorityId, Signed)>,
    /// Those that are on record already.
    known: Vec<AuthorityId>,
    list: Option<NewList>,
}

impl Desk {
    fn open(dir: &Path) -> Result<Self, CommandError> {
        let layout = Layout::new(dir);
        let nothing = || OfflineRootError::NothingAwaited(dir.into());
        if !files::exists(&layout.registry())? {
            return Err(nothing().into());
        }
        let lock = hierarchy::lock(&layout)?;
        let registry = Registry::open(&layout.registry())?;
        let trust_domain = registry.trust_domain()?.ok_or_else(nothing)?;
        let known = registry.authorities()?;
        if !known.is_empty() && known.iter().all(|it| it.id.role == Role::Root) {
            return Err(OfflineRootError::RootAlone(dir.into()).into());
        }
        Ok(Self {
            waiting: waiting(&layout, &registry)?,
            layout,
            registry,
            lock,
            trust_domain,
            known,
        })
    }

    fn verify(
        &self,
        (certificates, lists): (Vec<Found>, Vec<FoundList>),
        now: UnixTime,
    ) -> Result<Verified, CommandError> {
        let (roots, certificates): (Vec<_>, Vec<_>) =
            certificates.into_iter().partition(Found::is_root);
        let (root, new_root) = self.find_root(&roots)?;
        let (mut signed, mut known) = (Vec::new(), Vec::new());
        for found in &certificates {
            if let Some(it) = self.known.iter().find(|it| it.is(found)) {
                known.push(it.id);
                continue;
            }
            signed.push(self.verify_one((found, &root), now)?);
        }
        if self.known.is_empty() {
            // One that follows another may come later; of the first two, none is of use alone.
            let missing = |it: &&Waiting| signed.iter().all(|(id, _)| *id != it.id);
            if let Some(missing) = self.waiting.iter().find(missing) {
                return Err(OfflineRootError::Missing(missing.id.to_string().into()).into());
            }
        }
        let list = judge((&self.layout, &self.registry), &root, &lists)?;
        for found in &certificates {
            let is_known = self.known.iter().any(|it| it.is(found));
            if !is_known && revokes(&self.layout, (&root, list.as_ref()), found)? {
                return Err(found.unfit("its root has revoked it"));
            }
        }
        Ok(Verified {
            root,
            new_root,
            signed,
            known,
            list,
        })
    }

    /// The root that signs here, or the one in the files that will.
    fn find_root(&self, found: &[Found]) -> Result<(Authority, Option<Signed>), CommandError> {
        let on_record = self
            .known
            .iter()
            .find(|it| it.id.role == Role::Root && it.stage == AuthorityStage::Active);
        if let Some(on_record) = on_record {
            let ours = on_record.recorded.certificate().sha256;
            if let Some(other) = found.iter().find(|it| it.certificate.sha256 != ours) {
                return Err(OfflineRootError::OtherRoot(other.path.clone()).into());
            }
            let root = self.registry.authority(on_record.id)?;
            return Ok((Authority::new(root), None));
        }
        let [root] = found else {
            return Err(match found.first() {
                Some(first) => OfflineRootError::OtherRoot(first.path.clone()).into(),
                None => OfflineRootError::NoRootInFiles.into(),
            });
        };
        root.check(Role::Root, &root.certificate)?;
        let signed = root.signed(Role::Root, root.certificate.serial)?;
        let shown = root.signed(Role::Root, root.certificate.serial)?;
        Ok((Authority::elsewhere(shown), Some(signed)))
    }

    /// The authority that waits for this certificate, and what is recorded of it.
    fn verify_one(
        &self,
        (found, root): (&Found, &Authority),
        now: UnixTime,
    ) -> Result<(AuthorityId, Signed), CommandError> {
        let key = &*found.certificate.public_key;
        let Some(waiting) = self.waiting.iter().find(|it| *it.key.to_der() == *key) else {
            let (path, subject) = (found.path.clone(), found.certificate.subject.clone());
            return Err(OfflineRootError::NotAwaited { path, subject }.into());
        };
        found.check(waiting.id.role, root.certificate())?;
        if now > found.certificate.not_after {
            let subject = found.certificate.subject.clone();
            return Err(CommandError::AuthorityExpired(subject));
        }
        let name = found.name()?;
        if self.known.iter().any(|it| it.recorded.name() == name) {
            return Err(found.unfit("another authority here has its name"));
        }
        Ok((waiting.id, found.signed(waiting.id.role, root.serial())?))
    }

    fn install(mut self, verified: Verified, now: UnixTime) -> Result<Installed, CommandError> {
        let made: Vec<_> = verified.signed.iter().map(|(id, _)| *id).collect();
        if let Some(root) = verified.new_root {
            let signed = verified.signed.into_iter().map(|(_, signed)| signed);
            let all: Vec<_> = std::iter::once(root).chain(signed).collect();
            self.registry
                .record_authorities(&self.trust_domain, &all, now)?;
        } else {
            for (id, signed) in &verified.signed {
                self.registry.record_prepared((signed, None), *id, now)?;
            }
        }
        let layout = self.layout.clone();
        let ca = Hierarchy::load(self.layout, self.registry, self.lock);
        let mut ca = ca?;
        write_copies(&ca)?;
        for id in &made {
            files::remove_if_there(&layout.authority_request(*id))?;
        }
        let list = verified
            .list
            .map(|list| keep(&mut ca, list, now))
            .transpose()?;
        let mut authorities = Vec::new();
        for id in made.iter().chain(&verified.known) {
            let it = ca.authority(*id)?;
            authorities.push(InstalledAuthority {
                role: id.role,
                number: id.number,
                name: it.name().into(),
                stage: it.stage(),
                made: made.contains(id),
            });
        }
        Ok(Installed {
            trust_domain: ca.trust_domain.clone(),
            root: ca.root.certificate().sha256,
            authorities,
            list,
            revoked: revoked_here(&ca)?
                .iter()
                .map(|it| it.name().into())
                .collect(),
        })
    }
}

/// Whether the root is the one that is to be trusted.
fn check_root(
    request: &InstallRequest<'_>,
    verified: &Verified,
    confirm: impl FnOnce(&NewRoot) -> bool,
) -> Result<(), CommandError> {
    let certificate = verified.root.certificate();
    match request.root_fingerprint {
        Some(asked) if asked != certificate.sha256 => Err(OfflineRootError::OtherFingerprint {
            found: certificate.sha256.into(),
            asked: asked.into(),
        }
        .into()),
        Some(_) => Ok(()),
        None if verified.new_root.is_none() => Ok(()),
        None => {
            let shown = NewRoot {
                subject: certificate.subject.clone(),
                fingerprint: certificate.sha256,
                not_after: certificate.not_after,
            };
            if confirm(&shown) {
                Ok(())
            } else {
                Err(OfflineRootError::RootNotConfirmed.into())
            }
        }
    }
}

impl RecordedAuthority {
    fn is(&self, found: &Found) -> bool {
        self.recorded.certificate().sha256 == found.certificate.sha256
    }
}

impl Found {
    /// What the registry records of it.
    fn signed(&self, role: Role, issuer: certs::Serial) -> Result<Signed, CommandError> {
        Ok(Signed {
            role,
            name: self.name()?.into(),
            certificate: self.certificate.clone(),
            issuer,
            pem: self.pem(),
        })
    }
}
