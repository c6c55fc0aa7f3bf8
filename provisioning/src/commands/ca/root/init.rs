//! `countersign ca root init`: a root alone, for a machine without a network.
//!
//! It exists once the registry has recorded it: a key without a record was never used and is
//! replaced.

use std::path::{Path, PathBuf};

use certs::{Role, TrustDomain};
use pkcs11::KeyUri;
use rustls_pki_types::UnixTime;

use super::home::RootHome;
use crate::authority::{Algorithm, Authority, KeyKept, Passphrase};
use crate::commands::ca::init::{
    AuthorityNames, InitRequest, new_key, open_dir, refuse_other_organization, refuse_other_tokens,
};
use crate::error::CommandError;
use crate::files::Staging;
use crate::layout::Layout;
use crate::registry::Registry;

/// Which root there must be. What is not asked for is taken as it is found.
#[derive(Clone, Copy, Debug)]
pub struct RootInitRequest<'a> {
    /// The directory, which may be missing.
    pub dir: &'a Path,
    /// For whom the authorities speak that it signs; by default `countersign.local`.
    pub trust_domain: Option<&'a TrustDomain>,
    /// Whose it is, as it stands in its name.
    pub organization: Option<&'a str>,
    /// Under what its key is encrypted. Without one it is for development. It is also the PIN of a
    /// token whose URI names no file with one.
    pub passphrase: Option<&'a Passphrase>,
    /// The key, when it is in a token.
    pub token: Option<&'a KeyUri>,
}

/// What `ca root init` found or made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootInitialized {
    /// Whether the root is new.
    pub made: bool,
    /// Its name.
    pub name: Box<str>,
    /// For whom the authorities speak that it signs.
    pub trust_domain: TrustDomain,
    /// The SHA-256 of its certificate, by which others know it.
    pub fingerprint: [u8; 32],
    /// How its key is kept.
    pub key: KeyKept,
    /// Where its certificate is.
    pub cert: PathBuf,
}

/// Makes the root in a directory unless there is one.
///
/// # Errors
/// [`CommandError`], among others when the directory holds other things, or another root.
pub fn root_init(
    request: &RootInitRequest<'_>,
    now: UnixTime,
) -> Result<RootInitialized, CommandError> {
    let tokens: Vec<_> = request
        .token
        .map(|uri| (Role::Root, uri.clone()))
        .into_iter()
        .collect();
    let init = InitRequest {
        trust_domain: request.trust_domain,
        organization: request.organization,
        passphrase: request.passphrase,
        tokens: &tokens,
        ..InitRequest::new(request.dir)
    };
    let layout = Layout::new(request.dir);
    AuthorityNames::of_root(&init).check()?;
    let (lock, mut registry) = open_dir(&layout)?;
    let made = registry.trust_domain()?.is_none();
    if made {
        make(&mut registry, (&layout, &init), now)?;
    }
    let home = RootHome::load(layout, registry, lock)?;
    if !made {
        refuse_others(&home, &init)?;
    }
    home.write_copies()?;
    let id = home.root.id();
    Ok(RootInitialized {
        made,
        name: home.root.name().into(),
        trust_domain: home.trust_domain.clone(),
        fingerprint: home.root.certificate().sha256,
        key: KeyKept::at(&home.layout.authority_key(id))?,
        cert: home.layout.ca_pem(),
    })
}

fn make(
    registry: &mut Registry,
    (layout, init): (&Layout, &InitRequest<'_>),
    now: UnixTime,
) -> Result<(), CommandError> {
    let mut staging = Staging::new(layout.dir());
    let key = new_key((layout, init), (Role::Root, Algorithm::P384), &mut staging)?;
    staging.commit()?;
    let names = AuthorityNames::of_root(init);
    let (_, signed) = Authority::new_root(names.root(), key, now)?;
    let trust_domain = init.trust_domain.cloned().unwrap_or_default();
    Ok(registry.record_authorities(&trust_domain, &[signed], now)?)
}

/// Refuses a root that is not such as is asked for.
fn refuse_others(home: &RootHome, init: &InitRequest<'_>) -> Result<(), CommandError> {
    if let Some(asked) = init.trust_domain.filter(|it| **it != home.trust_domain) {
        return Err(CommandError::OtherTrustDomain {
            dir: init.dir.into(),
            found: home.trust_domain.clone(),
            asked: asked.clone(),
        });
    }
    refuse_other_organization(&home.root, init)?;
    refuse_other_tokens(&home.layout, init)
}
