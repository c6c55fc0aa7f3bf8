//! `countersign trust export`: the roots to trust, signed by those that are trusted so far.
//!
//! Every root signs whose key is here, also one that was retired: who trusts any of them learns
//! which to trust from now on. The number rises over everything that was exported before.

use std::path::{Path, PathBuf};

use certs::{BundleHeader, BundleWriter, Role, TrustBundle};
use rustls_pki_types::UnixTime;

use crate::authority::{Authority, Hierarchy, KeyKept, Passphrase};
use crate::commands::refusal::noted;
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::AuthorityId;
use crate::registry::{AuthorityStage, Publication};

/// What to export.
#[derive(Clone, Copy, Debug)]
pub struct TrustRequest<'a> {
    /// The directory of the authority.
    pub dir: &'a Path,
    /// What opens the keys of the roots, when they are encrypted.
    pub passphrase: Option<&'a Passphrase>,
}

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrustExported {
    /// The number of the bundle.
    pub number: u64,
    /// The roots that are to be trusted.
    pub roots: Vec<Box<str>>,
    /// The roots that have signed it.
    pub signed_by: Vec<Box<str>>,
    /// When it was made.
    pub created: UnixTime,
    /// Where it is.
    pub file: PathBuf,
}

/// Signs a bundle of the roots that are to be trusted.
///
/// # Errors
/// [`CommandError`] names what is in the way, such as a root whose key is elsewhere.
pub fn trust_export(
    request: &TrustRequest<'_>,
    now: UnixTime,
) -> Result<TrustExported, CommandError> {
    noted((request.dir, "trust-bundle"), now, || export(request, now))
}

fn export(request: &TrustRequest<'_>, now: UnixTime) -> Result<TrustExported, CommandError> {
    let mut ca = Hierarchy::open(request.dir)?;
    let signers = signers(&ca)?;
    for id in &signers {
        ca.unlock(*id, request.passphrase, now)?;
    }
    let number = ca.registry.highest_number(Publication::TrustBundle)?;
    let seen = number.max(newest(&ca)?);
    let issuer = ca.root.serial();
    let number = ca
        .registry
        .take_number(Publication::TrustBundle, issuer, (seen, now, now))?;
    let header = BundleHeader {
        number,
        trust_domain: ca.trust_domain.clone(),
        created: now,
    };
    let trusted = trusted(&ca);
    let pems: Vec<_> = trusted.iter().map(|it| it.pem()).collect();
    let mut writer = BundleWriter::new(&header, &pems)?;
    let mut signed_by = Vec::new();
    for id in signers {
        let root = ca.authority(id)?;
        root.sign_bundle(&mut writer)?;
        signed_by.push(root.name().into());
    }
    let octets = writer.finish();
    // What no root that signed it would be believed for is not handed out.
    TrustBundle::read(&octets, &[ca.root.as_issuer()?], seen)?;
    let file = ca.layout.trust_bundle();
    let mut staging = Staging::new(ca.layout.dir());
    staging.write(&file, octets)?;
    staging.commit()?;
    Ok(TrustExported {
        number,
        roots: trusted.iter().map(|it| it.name().into()).collect(),
        signed_by,
        created: now,
        file,
    })
}

fn trusted(ca: &Hierarchy) -> Vec<&Authority> {
    let mut roots = ca.of_role(Role::Root);
    roots.retain(|it| it.stage().is_trusted());
    roots
}

/// The active root, and every other that was ever trusted and has its key here.
fn signers(ca: &Hierarchy) -> Result<Vec<AuthorityId>, CommandError> {
    let mut signers = Vec::new();
    for root in ca.of_role(Role::Root) {
        let was_trusted = root.stage() != AuthorityStage::Prepared;
        let has_key = KeyKept::at(&ca.layout.authority_key(root.id()))? != KeyKept::Elsewhere;
        if root.stage() == AuthorityStage::Active || (was_trusted && has_key) {
            signers.push(root.id());
        }
    }
    Ok(signers)
}

/// The number of the bundle that is there, which may be younger than a registry restored from a
/// backup; 0 when there is none.
fn newest(ca: &Hierarchy) -> Result<u64, CommandError> {
    let Some(octets) = files::read_large_if_there(&ca.layout.trust_bundle())? else {
        return Ok(0);
    };
    let roots = ca.of_role(Role::Root).into_iter().map(Authority::as_issuer);
    let roots: Vec<_> = roots.collect::<Result<_, _>>()?;
    let found = TrustBundle::read(&octets, &roots, 0);
    // One that is not good has no number to go by, and is replaced.
    Ok(found.map_or(0, |bundle| bundle.header().number))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use certs::InvalidBundle;

    use super::*;
    use crate::layout::Layout;
    use crate::testing::{day, up};
    use crate::{KeyFate, RotateRequest, RotationStage, ca_rotate};

    fn rotate(dir: &Path, role: Role, stage: RotationStage) {
        ca_rotate(&RotateRequest::new(dir, role, stage), day(1)).unwrap();
    }

    fn export(dir: &Path) -> TrustExported {
        let passphrase = None;
        trust_export(&TrustRequest { dir, passphrase }, day(2)).unwrap()
    }

    /// What a device learns that trusts this root and has seen a bundle of this number.
    fn learn(dir: &Path, number: u32, seen: u64) -> Result<usize, InvalidBundle> {
        let layout = Layout::new(dir);
        let role = Role::Root;
        let pem = fs::read_to_string(layout.authority_pem(AuthorityId { role, number })).unwrap();
        let root = certs::Authority::read(&crate::authority::der(&pem).unwrap()).unwrap();
        let octets = fs::read(layout.trust_bundle()).unwrap();
        TrustBundle::read(&octets, &[root], seen).map(|it| it.roots().len())
    }

    #[test]
    fn a_device_that_trusts_the_old_root_learns_of_the_new_one_and_then_of_its_end() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        up(dir, 0, day(0)).unwrap();
        assert_eq!(export(dir).number, 1);
        assert_eq!(learn(dir, 1, 0), Ok(1));
        rotate(dir, Role::Root, RotationStage::Prepare);
        assert_eq!(export(dir).roots.len(), 1, "nobody is to trust it yet");
        rotate(dir, Role::Root, RotationStage::Publish);
        let exported = export(dir);
        assert_eq!((exported.number, exported.roots.len()), (3, 2));
        for root in [1, 2] {
            assert_eq!(learn(dir, root, 2), Ok(2), "root {root}");
        }
        assert_eq!(
            learn(dir, 1, 3),
            Err(InvalidBundle::Old { number: 3, seen: 3 })
        );
        rotate(dir, Role::Root, RotationStage::Switch);
        for role in [Role::DeviceCa, Role::ServerCa] {
            for stage in &RotationStage::ALL[..3] {
                rotate(dir, role, *stage);
            }
            let request = RotateRequest {
                cut_off: true,
                ..RotateRequest::new(dir, role, RotationStage::Retire)
            };
            ca_rotate(&request, day(1)).unwrap();
        }
        rotate(dir, Role::Root, RotationStage::Retire);
        assert_eq!(export(dir).signed_by.len(), 2);
        assert_eq!((learn(dir, 1, 3), learn(dir, 2, 3)), (Ok(1), Ok(1)));
        let request = RotateRequest {
            key: KeyFate::Destroy,
            ..RotateRequest::new(dir, Role::Root, RotationStage::Retire)
        };
        ca_rotate(&request, day(1)).unwrap();
        assert_eq!(export(dir).signed_by.len(), 1);
        assert_eq!(learn(dir, 1, 0), Err(InvalidBundle::UnknownRoots));
        assert_eq!(crate::ca_verify(dir, day(2)).unwrap().findings, []);
    }

    #[test]
    fn a_registry_from_a_backup_does_not_lower_the_number() {
        let temp = tempfile::tempdir().unwrap();
        let layout = up(temp.path(), 0, day(0)).unwrap().layout;
        export(temp.path());
        let backup = fs::read(layout.registry()).unwrap();
        assert_eq!(export(temp.path()).number, 2);
        fs::write(layout.registry(), backup).unwrap();
        assert_eq!(export(temp.path()).number, 3);
        fs::write(layout.trust_bundle(), "nothing").unwrap();
        assert_eq!(export(temp.path()).number, 4);
    }
}
