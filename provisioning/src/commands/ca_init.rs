//! `countersign ca init`: a root, and below it an authority for devices and one for servers.
//!
//! A directory is filled only when it is empty or ours. The authorities exist once the registry has
//! recorded them: keys without a record were never used and are replaced.

use std::path::{Path, PathBuf};

use certs::{Holder, Role, TrustDomain};
use rustls_pki_types::UnixTime;

use crate::authority::{Authority, Hierarchy, hierarchy, key_file};
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::Layout;
use crate::registry::Registry;

/// What `ca init` found or made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaInitialized {
    /// Whether the authorities are new.
    pub made: bool,
    /// Where everything is.
    pub layout: Layout,
    /// For whom they speak.
    pub trust_domain: TrustDomain,
}

/// Makes the authorities in `dir` unless there are some.
///
/// # Errors
/// [`CommandError`], among others when `dir` holds other things, or when its authorities speak for
/// another trust domain than the one asked for.
pub fn ca_init(
    dir: &Path,
    trust_domain: Option<&TrustDomain>,
    now: UnixTime,
) -> Result<CaInitialized, CommandError> {
    let (ca, made) = open_or_make(dir, trust_domain, now)?;
    Ok(CaInitialized {
        made,
        layout: ca.layout.clone(),
        trust_domain: ca.trust_domain.clone(),
    })
}

/// The authorities in `dir`, and whether they had to be made.
pub(super) fn open_or_make(
    dir: &Path,
    trust_domain: Option<&TrustDomain>,
    now: UnixTime,
) -> Result<(Hierarchy, bool), CommandError> {
    let layout = Layout::new(dir);
    refuse_foreign(&layout)?;
    if !files::exists(dir)? {
        files::make_dir(dir)?;
    }
    files::make_dir(&layout.ca_dir())?;
    let lock = hierarchy::lock(&layout)?;
    let mut registry = Registry::open(&layout.registry())?;
    let made = registry.trust_domain()?.is_none();
    if made {
        let trust_domain = trust_domain.cloned().unwrap_or_default();
        make_authorities(&layout, &mut registry, &trust_domain, now)?;
    }
    let ca = Hierarchy::load(layout, registry, lock)?;
    match trust_domain {
        Some(asked) if *asked != ca.trust_domain => Err(CommandError::OtherTrustDomain {
            dir: dir.into(),
            found: ca.trust_domain,
            asked: asked.clone(),
        }),
        Some(_) | None => {
            write_certificates(&ca)?;
            Ok((ca, made))
        }
    }
}

/// Ours is a directory with a registry, or with what a command leaves that was stopped before it
/// had made one.
fn refuse_foreign(layout: &Layout) -> Result<(), CommandError> {
    let names = files::names_in(layout.dir())?;
    let unfinished = || -> Result<bool, CommandError> {
        let only_ca = names
            .iter()
            .all(|name| layout.dir().join(name) == layout.ca_dir());
        let inside = files::names_in(&layout.ca_dir())?;
        let only_lock = inside
            .iter()
            .all(|name| layout.ca_dir().join(name) == layout.lock());
        Ok(only_ca && only_lock)
    };
    if names.is_empty() || files::exists(&layout.registry())? || unfinished()? {
        return Ok(());
    }
    Err(CommandError::NotOurs(layout.dir().into()))
}

/// Keys first, then the record: a key without a record signed nothing that anybody has, but an
/// authority on record without its key could never sign again.
fn make_authorities(
    layout: &Layout,
    registry: &mut Registry,
    trust_domain: &TrustDomain,
    now: UnixTime,
) -> Result<(), CommandError> {
    let mut staging = Staging::new(layout.dir());
    let mut new_key = |role| {
        let key = key_file::generate()?;
        staging.write(&layout.authority_key(role), &key.serialize_pem())?;
        Ok::<_, CommandError>(key)
    };
    let root_key = new_key(Role::Root)?;
    let device_ca_key = new_key(Role::DeviceCa)?;
    let server_ca_key = new_key(Role::ServerCa)?;
    staging.commit()?;

    let (root, signed_root) = Authority::new_root(&name_of("root"), root_key, now)?;
    let device_ca_name = name_of("device CA");
    let device_ca = root.sign(Holder::DeviceCa(&device_ca_name), &device_ca_key, now)?;
    let server_ca_name = name_of("server CA");
    let server_ca = root.sign(Holder::ServerCa(&server_ca_name), &server_ca_key, now)?;
    let signed = [signed_root, device_ca, server_ca];
    Ok(registry.record_authorities(trust_domain, &signed, now)?)
}

/// Every key of an authority has a name of its own, with a number: a new key under an old name
/// would make good revocation lists look forged. That it is unprotected stands in the name too.
fn name_of(authority: &str) -> String {
    format!("Countersign DEV ONLY {authority} 1")
}

/// The registry has them; the files are copies, made again where they are missing.
fn write_certificates(ca: &Hierarchy) -> Result<(), CommandError> {
    let layout = &ca.layout;
    let copies: [(PathBuf, &str); 4] = [
        (layout.ca_pem(), &ca.root_pem),
        (layout.authority_pem(Role::Root), &ca.root_pem),
        (layout.authority_pem(Role::DeviceCa), ca.device_ca.pem()),
        (layout.authority_pem(Role::ServerCa), ca.server_ca.pem()),
    ];
    let mut staging = Staging::new(layout.dir());
    for (path, pem) in copies {
        if files::read_if_there(&path)?.as_deref() != Some(pem.as_bytes()) {
            staging.write(&path, pem)?;
        }
    }
    staging.commit()
}
