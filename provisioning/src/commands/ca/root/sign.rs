//! `countersign ca root sign`: what `ca request` asked for, looked at, recorded and handed out.
//!
//! A request is what a stranger wrote. It proves to have its key; the key and the role are taken
//! from it, and nothing else. What the authority is called, what it may do and for how long is for
//! the root and the profile to say. The same key is certified once.

use std::path::{Path, PathBuf};

use certs::{AuthorityName, Holder, InvalidRequest, PublicKey, Role, Serial, sha256};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateSigningRequestDer, UnixTime};

use super::OfflineRootError;
use super::home::RootHome;
use crate::authority::{Algorithm, Passphrase, Signed};
use crate::commands::refusal::noted;
use crate::error::CommandError;
use crate::files;
use crate::registry::CertifiedAuthority;

/// No file with requests is longer.
const REQUESTS_LEN_MAX: usize = 64 * 1024;

/// What to sign.
#[derive(Clone, Copy, Debug)]
pub struct RootSignRequest<'a> {
    /// The directory of the root.
    pub dir: &'a Path,
    /// What opens its key, when it is encrypted.
    pub passphrase: Option<&'a Passphrase>,
    /// Files with requests, each with one or several.
    pub requests: &'a [PathBuf],
    /// The file for the certificates, or the directory for it.
    pub out: &'a Path,
}

/// What would be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToCertify {
    /// What it will be, and nothing else.
    pub role: Role,
    /// What it will be called.
    pub name: Box<str>,
    /// With what it signs.
    pub algorithm: Option<Algorithm>,
    /// The SHA-256 of its public key, as `ca request` showed it.
    pub key: [u8; 32],
    /// The serial number of its certificate, if it has one.
    pub certified: Option<Serial>,
    /// Where the request was.
    pub path: PathBuf,
}

/// What was signed, and is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certified {
    /// Each authority, in the order of its request.
    pub authorities: Vec<ToCertify>,
    /// The SHA-256 of the root's certificate.
    pub root: [u8; 32],
    /// Where the certificates are, with that of the root.
    pub out: PathBuf,
}

/// Certifies the authorities that ask for it, if `confirm` says so once it has seen them all. Those
/// that have a certificate get it again.
///
/// # Errors
/// [`OfflineRootError`] and [`CommandError::Request`] when one of them is refused: then nothing is
/// signed.
pub fn root_sign(
    request: &RootSignRequest<'_>,
    confirm: impl FnOnce(&[ToCertify]) -> bool,
    now: UnixTime,
) -> Result<Certified, CommandError> {
    noted((request.dir, "request"), now, || {
        let mut home = RootHome::open(request.dir)?;
        let certified = home.registry.certified_authorities()?;
        let asked = read_requests(&home, request.requests)?;
        let shown = look_at(&home, (&asked, &certified))?;
        let new = shown.iter().any(|it| it.certified.is_none());
        if new && !confirm(&shown) {
            return Err(OfflineRootError::NotConfirmed.into());
        }
        if new {
            home.unlock(request.passphrase, now)?;
            certify(&mut home, (&asked, &shown), now)?;
        }
        hand_out(&home, &shown, request.out)
    })
}

/// A request that proves to have its key.
struct Asked {
    key: PublicKey,
    role: Role,
    path: PathBuf,
}

fn read_requests(home: &RootHome, paths: &[PathBuf]) -> Result<Vec<Asked>, CommandError> {
    let mut all: Vec<Asked> = Vec::new();
    for path in paths {
        for octets in split(path)? {
            let read = PublicKey::from_request_of_authority(&octets, &home.trust_domain);
            let (key, role) = read.map_err(|source| refused(path, source))?;
            let path = path.clone();
            match all.iter().find(|it| it.key == key) {
                Some(same) if same.role == role => {}
                Some(same) => return Err(taken(&path, same.role.as_str())),
                None => all.push(Asked { key, role, path }),
            }
        }
    }
    Ok(all)
}

/// The requests in a file, each as it stands there.
fn split(path: &Path) -> Result<Vec<Vec<u8>>, CommandError> {
    let octets = files::read_up_to(path, REQUESTS_LEN_MAX)?;
    let malformed = || refused(path, InvalidRequest::Malformed);
    // A SEQUENCE: no text begins so.
    if octets.first() == Some(&0x30) {
        return Ok(vec![octets]);
    }
    let found: Result<Vec<_>, _> = CertificateSigningRequestDer::pem_slice_iter(&octets)
        .map(|der| der.map(|der| der.to_vec()))
        .collect();
    let found = found.map_err(|_| malformed())?;
    if found.is_empty() {
        return Err(malformed());
    }
    Ok(found)
}

fn refused(path: &Path, source: InvalidRequest) -> CommandError {
    let path = path.into();
    CommandError::Request { path, source }
}

fn taken(path: &Path, holder: &str) -> CommandError {
    let (path, holder) = (path.into(), holder.into());
    OfflineRootError::KeyTaken { path, holder }.into()
}

/// What becomes of each request: what it has, or what it will be.
fn look_at(
    home: &RootHome,
    (asked, certified): (&[Asked], &[CertifiedAuthority]),
) -> Result<Vec<ToCertify>, CommandError> {
    let mut new: Vec<Role> = Vec::new();
    let mut shown = Vec::with_capacity(asked.len());
    for Asked { key, role, path } in asked {
        let der = key.to_der();
        if *home.root.certificate().public_key == *der {
            return Err(taken(path, home.root.name()));
        }
        let has = certified
            .iter()
            .find(|it| *it.recorded.certificate().public_key == *der);
        let (name, serial) = if let Some(has) = has {
            let serial = has.recorded.certificate().serial;
            (has_been(has, *role, path)?, Some(serial))
        } else {
            new.push(*role);
            let before = certified.iter().filter(|it| it.recorded.role() == *role);
            let now = new.iter().filter(|it| *it == role);
            (name(home, *role, before.count() + now.count())?, None)
        };
        shown.push(ToCertify {
            role: *role,
            name,
            algorithm: Algorithm::of(&der),
            key: sha256(&der),
            certified: serial,
            path: path.clone(),
        });
    }
    Ok(shown)
}

/// What an authority is called that has a certificate of this key already.
fn has_been(has: &CertifiedAuthority, role: Role, path: &Path) -> Result<Box<str>, CommandError> {
    let name: Box<str> = has.recorded.name().into();
    match has.revoked {
        _ if has.recorded.role() != role => Err(taken(path, &name)),
        Some(revoked) => Err(OfflineRootError::Revoked { name, revoked }.into()),
        None => Ok(name),
    }
}

/// Every key has a name of its own, with a number: a new key under an old name would make good
/// revocation lists look forged.
fn name(home: &RootHome, role: Role, number: usize) -> Result<Box<str>, CommandError> {
    let root = home
        .root
        .name()
        .trim_end_matches(|c: char| c.is_ascii_digit());
    let root = root.trim_end();
    let whose = root.strip_suffix(" root").unwrap_or(root);
    let what = match role {
        Role::ServerCa => "server CA",
        Role::Root | Role::DeviceCa | Role::Broker | Role::Device | Role::App => "device CA",
    };
    let common_name = format!("{whose} {what} {number}");
    called(home, &common_name).check()?;
    Ok(common_name.into())
}

fn called<'a>(home: &'a RootHome, common_name: &'a str) -> AuthorityName<'a> {
    let organizations = &home.root.certificate().organizations;
    AuthorityName {
        organization: organizations.first().map(AsRef::as_ref),
        common_name,
    }
}

/// Signs what has no certificate, and records all of it.
fn certify(
    home: &mut RootHome,
    (asked, shown): (&[Asked], &[ToCertify]),
    now: UnixTime,
) -> Result<(), CommandError> {
    let mut signed: Vec<Signed> = Vec::new();
    for (asked, shown) in asked.iter().zip(shown) {
        if shown.certified.is_some() {
            continue;
        }
        let name = called(home, &shown.name);
        let holder = match asked.role {
            Role::ServerCa => Holder::ServerCa(name),
            Role::Root | Role::DeviceCa | Role::Broker | Role::Device | Role::App => {
                Holder::DeviceCa(name)
            }
        };
        signed.push(home.root.sign(holder, &asked.key, now)?);
    }
    home.registry.record(signed, now)?;
    Ok(())
}

/// Writes what is on record, with the root behind it.
fn hand_out(home: &RootHome, shown: &[ToCertify], out: &Path) -> Result<Certified, CommandError> {
    let recorded = home.registry.certified_authorities()?;
    let (mut text, mut authorities) = (String::new(), Vec::with_capacity(shown.len()));
    for it in shown {
        let mut recorded = recorded.iter().map(|it| &it.recorded);
        let found = recorded.find(|of| sha256(&of.certificate().public_key) == it.key);
        let found = found.ok_or(crate::RegistryError::Damaged)?;
        text.push_str(found.pem());
        let certified = Some(found.certificate().serial);
        authorities.push(ToCertify {
            certified,
            ..it.clone()
        });
    }
    text.push_str(home.root.pem());
    let out = files::in_dir(out, "certificates.pem");
    files::write_public(&out, text)?;
    Ok(Certified {
        authorities,
        root: home.root.certificate().sha256,
        out,
    })
}
