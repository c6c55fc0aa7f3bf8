//! `countersign ca request`: keys made here, and requests for a root that is elsewhere.
//!
//! A key is on disk before its request is, and a request that waits is kept: whoever asks twice
//! asks for the same. Nothing is issued by such a key before `ca install` has brought its
//! certificate.

use std::path::{Path, PathBuf};

use certs::{PublicKey, Role, TrustDomain, authority_request, sha256};
use pkcs11::KeyUri;
use rustls_pki_types::UnixTime;

use super::init::{InitRequest, new_key, open_dir, refuse_token};
use super::root::OfflineRootError;
use super::rotate::{RotateRequest, RotationError, RotationStage, make_key, next, older};
use crate::authority::{Algorithm, AuthorityKey, Hierarchy, KeyKept, Passphrase, crypto};
use crate::commands::refusal::noted;
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::{AuthorityId, Layout};
use crate::registry::Registry;

/// Those that a root elsewhere certifies.
const ASKING: [Role; 2] = [Role::DeviceCa, Role::ServerCa];

/// What to ask of a root that is elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct CertifyRequest<'a> {
    /// The directory of the authorities, which may be missing.
    pub dir: &'a Path,
    /// Which of those that issue is to be followed by another; nothing when there are none yet.
    pub role: Option<Role>,
    /// For whom they will speak; by default `countersign.local`.
    pub trust_domain: Option<&'a TrustDomain>,
    /// With what they sign; by default P-256, or as the one before.
    pub algorithm: Option<Algorithm>,
    /// Under what their keys are encrypted. Without one they are for development.
    pub passphrase: Option<&'a Passphrase>,
    /// Keys that are in a token, and are not made.
    pub tokens: &'a [(Role, KeyUri)],
    /// Whether to ask although the one before the last is not retired.
    pub another: bool,
    /// The file for the requests, or the directory for it.
    pub out: &'a Path,
}

impl<'a> CertifyRequest<'a> {
    /// Where the key of `role` is, when it is in a token.
    fn token(&self, role: Role) -> Option<&'a KeyUri> {
        let mut tokens = self.tokens.iter();
        tokens.find_map(|(of, uri)| (*of == role).then_some(uri))
    }
}

/// What was asked, or had been.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requested {
    /// Whether one of the requests is new.
    pub made: bool,
    /// For whom the authorities will speak.
    pub trust_domain: TrustDomain,
    /// What is awaited.
    pub awaited: Vec<Awaited>,
    /// Where the requests are.
    pub out: PathBuf,
}

/// An authority that waits for its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Awaited {
    /// What it will be.
    pub role: Role,
    /// Its number among those of its role.
    pub number: u32,
    /// With what it will sign.
    pub algorithm: Option<Algorithm>,
    /// The SHA-256 of its public key.
    pub key: [u8; 32],
    /// How its key is kept.
    pub kept: KeyKept,
}

/// Makes keys for the authorities in a directory, and requests to have them certified.
///
/// # Errors
/// [`OfflineRootError`] among others, when the key of the root is here.
pub fn ca_request(request: &CertifyRequest<'_>, now: UnixTime) -> Result<Requested, CommandError> {
    noted((request.dir, "request"), now, || ask(request, now))
}

fn ask(request: &CertifyRequest<'_>, now: UnixTime) -> Result<Requested, CommandError> {
    let layout = Layout::new(request.dir);
    let (lock, mut registry) = open_dir(&layout)?;
    let (made, registry) = if registry.authorities()?.is_empty() {
        (begin((&layout, &mut registry), request, now)?, registry)
    } else {
        let mut ca = Hierarchy::load(layout.clone(), registry, lock)?;
        (follow(&mut ca, request, now)?, ca.registry)
    };
    let waiting = waiting(&layout, &registry)?;
    let text: String = waiting.iter().map(|it| &*it.request).collect();
    let out = files::in_dir(request.out, "requests.pem");
    files::write_public(&out, text)?;
    Ok(Requested {
        made,
        trust_domain: registry.trust_domain()?.unwrap_or_default(),
        awaited: waiting.into_iter().map(|it| it.shown).collect(),
        out,
    })
}

/// Asks for the first authorities of a directory, which are two.
fn begin(
    (layout, registry): (&Layout, &mut Registry),
    request: &CertifyRequest<'_>,
    now: UnixTime,
) -> Result<bool, CommandError> {
    if request.role.is_some() {
        return Err(OfflineRootError::BothAtFirst.into());
    }
    let asked = request.trust_domain;
    let trust_domain = if let Some(found) = registry.trust_domain()? {
        found
    } else {
        let trust_domain = asked.cloned().unwrap_or_default();
        registry.begin(&trust_domain, now)?;
        trust_domain
    };
    refuse_other_domain(&trust_domain, request)?;
    let init = InitRequest {
        trust_domain: asked,
        algorithm: request.algorithm,
        passphrase: request.passphrase,
        tokens: request.tokens,
        ..InitRequest::new(request.dir)
    };
    if ASKING
        .map(|role| waits(layout, role.into()))
        .into_iter()
        .all(|it| matches!(it, Ok(true)))
    {
        refuse_others((layout, registry), request)?;
        return Ok(false);
    }
    // What was stopped on the way was shown to nobody. All is made anew, so that the keys are kept
    // alike: with one of them encrypted, the other one is.
    let mut staging = Staging::new(layout.dir());
    let algorithm = request.algorithm.unwrap_or_default();
    let mut key = |role| new_key((layout, &init), (role, algorithm), &mut staging);
    let keys = [key(Role::DeviceCa)?, key(Role::ServerCa)?];
    staging.commit()?;
    for (role, key) in ASKING.into_iter().zip(&keys) {
        write_request((layout, registry), (role.into(), key, &trust_domain), now)?;
    }
    Ok(true)
}

fn refuse_other_domain(
    found: &TrustDomain,
    request: &CertifyRequest<'_>,
) -> Result<(), CommandError> {
    match request.trust_domain.filter(|asked| *asked != found) {
        Some(asked) => Err(CommandError::OtherTrustDomain {
            dir: request.dir.into(),
            found: found.clone(),
            asked: asked.clone(),
        }),
        None => Ok(()),
    }
}

/// Refuses keys that wait and are not such as are asked for.
fn refuse_others(
    (layout, registry): (&Layout, &Registry),
    request: &CertifyRequest<'_>,
) -> Result<(), CommandError> {
    for (role, asked) in request.tokens {
        refuse_token(layout, (*role).into(), asked)?;
    }
    for it in waiting(layout, registry)? {
        let found = it.shown.algorithm;
        if let Some(asked) = request.algorithm.filter(|asked| Some(*asked) != found) {
            return Err(CommandError::OtherAuthorities {
                dir: request.dir.into(),
                what: "an authority waits that signs with",
                found: found.map_or("something else", Algorithm::as_str).to_owned(),
                asked: asked.as_str().to_owned(),
            });
        }
    }
    Ok(())
}

/// Asks for one more of those that issue here.
fn follow(
    ca: &mut Hierarchy,
    request: &CertifyRequest<'_>,
    now: UnixTime,
) -> Result<bool, CommandError> {
    let role = request.role.ok_or(OfflineRootError::WhichRole)?;
    let dir = || request.dir.to_path_buf();
    refuse_other_domain(&ca.trust_domain, request)?;
    if !ASKING.contains(&role) {
        return Err(RotationError::NoAuthority(role).into());
    }
    if KeyKept::at(&ca.layout.authority_key(ca.root.id()))? != KeyKept::Elsewhere {
        let (role, dir) = (role.as_str(), dir());
        return Err(OfflineRootError::RootHere { role, dir }.into());
    }
    if let Some(next) = next(ca, role) {
        let (name, role, dir) = (next.name().into(), role.as_str(), dir());
        return Err(OfflineRootError::OnItsWay { name, role, dir }.into());
    }
    if let Some(older) = older(ca, role).filter(|_| !request.another) {
        let name = older.name().into();
        return Err(RotationError::NotRetired { name }.into());
    }
    let id = next_id(role, ca.of_role(role).into_iter().map(|it| it.id().number));
    let token = request.token(role);
    if waits(&ca.layout, id)? {
        token.map_or(Ok(()), |asked| refuse_token(&ca.layout, id, asked))?;
        return Ok(false);
    }
    let before = ca.active(role).ok_or(crate::RegistryError::Damaged)?.id();
    if KeyKept::at(&ca.layout.authority_key(before))? == KeyKept::Encrypted && token.is_none() {
        // The new key is encrypted as that one is: a passphrase mistyped now would lose it.
        ca.unlock(before, request.passphrase, now)?;
    }
    let wish = RotateRequest {
        passphrase: request.passphrase,
        algorithm: request.algorithm,
        token,
        ..RotateRequest::new(request.dir, role, RotationStage::Prepare)
    };
    let key = make_key(ca, (&wish, id))?;
    let place = (&ca.layout, &mut ca.registry);
    write_request(place, (id, &key, &ca.trust_domain), now)?;
    Ok(true)
}

/// Signs the request of a key that is on disk, and notes it.
fn write_request(
    (layout, registry): (&Layout, &mut Registry),
    (id, key, trust_domain): (AuthorityId, &AuthorityKey, &TrustDomain),
    now: UnixTime,
) -> Result<(), CommandError> {
    let params = authority_request(trust_domain, id.role)?;
    let made = params.serialize_request(key).and_then(|it| it.pem());
    let pem = made.map_err(crypto("sign a request"))?;
    let (public, _) = read(&layout.authority_request(id), &pem, trust_domain)?;
    registry.note_requested(&id.to_string(), &sha256(&public.to_der()), now)?;
    let mut staging = Staging::new(layout.dir());
    staging.write(&layout.authority_request(id), pem)?;
    staging.commit()
}

fn read(
    path: &Path,
    pem: &str,
    trust_domain: &TrustDomain,
) -> Result<(PublicKey, Role), CommandError> {
    let read = PublicKey::from_request_of_authority(pem.as_bytes(), trust_domain);
    read.map_err(|source| CommandError::Request {
        path: path.into(),
        source,
    })
}

/// Whether there is a request and its key.
fn waits(layout: &Layout, id: AuthorityId) -> Result<bool, CommandError> {
    Ok(files::exists(&layout.authority_request(id))?
        && KeyKept::at(&layout.authority_key(id))? != KeyKept::Elsewhere)
}

/// An authority that waits, with what it asked for.
pub(super) struct Waiting {
    pub(super) id: AuthorityId,
    pub(super) key: PublicKey,
    pub(super) shown: Awaited,
    request: String,
}

/// The authorities that wait for a certificate in a directory.
pub(super) fn waiting(layout: &Layout, registry: &Registry) -> Result<Vec<Waiting>, CommandError> {
    let Some(trust_domain) = registry.trust_domain()? else {
        return Ok(Vec::new());
    };
    let (known, mut found) = (registry.authorities()?, Vec::new());
    for role in ASKING {
        let of_role = known.iter().filter(|it| it.id.role == role);
        let id = next_id(role, of_role.map(|it| it.id.number));
        if !waits(layout, id)? {
            continue;
        }
        let path = layout.authority_request(id);
        let request = files::read_private(&path)?;
        let (key, _) = read(&path, &request, &trust_domain)?;
        let der = key.to_der();
        let shown = Awaited {
            role,
            number: id.number,
            algorithm: Algorithm::of(&der),
            key: sha256(&der),
            kept: KeyKept::at(&layout.authority_key(id))?,
        };
        found.push(Waiting {
            id,
            key,
            shown,
            request,
        });
    }
    Ok(found)
}

fn next_id(role: Role, numbers: impl Iterator<Item = u32>) -> AuthorityId {
    let number = numbers.max().unwrap_or(0) + 1;
    AuthorityId { role, number }
}
