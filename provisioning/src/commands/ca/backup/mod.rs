//! `countersign ca backup` and `ca restore`: an authority in one encrypted file, and back.
//!
//! A restore may bring back what was lost, never what was taken away: a revocation in the directory
//! or on its lists survives, and the number of the next list is higher than any that was given out.

mod archive;
mod make;
mod restore;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::path::PathBuf;

use certs::Serial;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::make::{BackedUp, BackupRequest, ca_backup};
pub use self::restore::{RestoreRequest, Restored, RestoredInto, ca_restore};
use crate::age::AgeError;
use crate::authority::reference;
use crate::error::CommandError;
use crate::files;
use crate::layout::{AuthorityId, Layout};

/// The version of what is in the file.
const FORMAT: u32 = 1;
/// Every file in it is for its owner alone.
const MODE: u32 = 0o600;
const MANIFEST: &str = "manifest.json";
const REGISTRY: &str = "ca/registry.sqlite";

/// What is in a backup, as its first file says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    /// Seconds since 1970.
    created: u64,
    trust_domain: String,
    /// The number of the newest revocation list; 0 when there was none.
    list: u64,
    /// Where the audit chain ends: how many entries, and the hash of the last.
    audit_entries: u64,
    audit_hash: String,
    files: Vec<Listed>,
}

/// A file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    /// Relative to the directory of the authority.
    path: String,
    mode: u32,
    len: u64,
    sha256: String,
}

impl Listed {
    /// The file called `path`, with what is in it.
    fn measure(path: &str, content: impl Read) -> io::Result<Self> {
        let (len, sha256) = archive::measure(content)?;
        Ok(Self {
            path: path.to_owned(),
            mode: MODE,
            len,
            sha256,
        })
    }
}

/// Why nothing was backed up or restored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It could not be encrypted, or not be opened.
    #[error(transparent)]
    Age(#[from] AgeError),
    /// It is not what `ca backup` writes.
    #[error("it is not a backup of an authority: {0}")]
    NotABackup(&'static str),
    /// A file in it is not what its manifest says.
    #[error("in it, {0} is not what its manifest says")]
    Changed(String),
    /// The authority in the directory is another one.
    #[error("the authority in {} is another one; name an empty or a new directory", .0.display())]
    OtherAuthority(PathBuf),
    /// The list revokes certificates that the backup does not know.
    #[error(
        "the revocation list revokes {} certificates that neither the backup nor a whole registry \
         knows, {first} among them; they would come back, so restore a later backup",
        count
    )]
    UnknownRevoked {
        /// How many.
        count: usize,
        /// The first of them.
        first: Serial,
    },
}

/// What a backup may hold besides its registry, as it is called there, and where it is in a
/// directory: `None` when it is something else. The keys of devices are not in it: whoever lost one
/// issues another.
fn place_of(layout: &Layout, name: &str) -> Option<PathBuf> {
    let fixed = fixed_members(layout).into_iter();
    let mut fixed = fixed.filter(|(member, _)| *member == name);
    fixed
        .next()
        .map(|(_, path)| path)
        .or_else(|| place_of_authority(layout, name.strip_prefix("ca/")?))
}

/// Where a file of an authority is.
fn place_of_authority(layout: &Layout, name: &str) -> Option<PathBuf> {
    let id = |suffix| AuthorityId::parse(name.strip_suffix(suffix)?);
    id(".key.pem")
        .map(|id| layout.authority_key(id))
        .or_else(|| id(".key.uri").map(|id| reference(&layout.authority_key(id))))
        .or_else(|| id(".csr.pem").map(|id| layout.authority_request(id)))
        .or_else(|| id(".pem").map(|id| layout.authority_pem(id)))
        .or_else(|| id(".crl").map(|id| layout.list(id)))
}

/// What of it is called the same in every directory.
fn fixed_members(layout: &Layout) -> Vec<(&'static str, PathBuf)> {
    let broker = layout.broker();
    vec![
        ("ca.pem", layout.ca_pem()),
        ("broker.toml", layout.broker_toml()),
        ("policy.toml", layout.policy_toml()),
        ("ca/registry-export.jsonl", layout.registry_export()),
        ("ca/trust-bundle.jsonl", layout.trust_bundle()),
        ("broker/cert.pem", broker.cert),
        ("broker/key.pem", broker.key),
        ("broker/ca.pem", broker.ca),
    ]
}

/// What of it is in a directory.
fn members(layout: &Layout) -> Result<Vec<(String, PathBuf)>, CommandError> {
    let fixed = fixed_members(layout).into_iter();
    let mut members: Vec<_> = fixed.map(|(name, path)| (name.to_owned(), path)).collect();
    for name in files::names_in(&layout.ca_dir())? {
        let name = name.to_string_lossy();
        if let Some(path) = place_of_authority(layout, &name) {
            members.push((format!("ca/{name}"), path));
        }
    }
    Ok(members)
}
