//! `countersign ca backup` and `ca restore`: an authority in one encrypted file, and back.
//!
//! A restore may bring back what was lost, never what was taken away: a revocation in the directory
//! or on its lists survives, and the number of the next list is higher than any that was given out.

mod archive;
mod make;
mod restore;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use certs::{Role, Serial};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::make::{BackedUp, BackupRequest, ca_backup};
pub use self::restore::{RestoreRequest, Restored, RestoredInto, ca_restore};
use crate::age::AgeError;
use crate::layout::Layout;

/// The version of what is in the file.
const FORMAT: u32 = 1;
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

/// What a backup may hold, as it is called there, and where it is in a directory. The keys of
/// devices are not in it: whoever lost one issues another.
fn members(layout: &Layout) -> Vec<(String, PathBuf)> {
    let mut members = vec![
        ("ca.pem".to_owned(), layout.ca_pem()),
        ("broker.toml".to_owned(), layout.broker_toml()),
        ("policy.toml".to_owned(), layout.policy_toml()),
        ("ca/device-ca.crl".to_owned(), layout.device_ca_crl()),
        (
            "ca/registry-export.jsonl".to_owned(),
            layout.registry_export(),
        ),
    ];
    for role in [Role::Root, Role::DeviceCa, Role::ServerCa] {
        let name = role.as_str();
        members.push((format!("ca/{name}.pem"), layout.authority_pem(role)));
        members.push((format!("ca/{name}.key.pem"), layout.authority_key(role)));
    }
    let broker = layout.broker();
    for (name, path) in [
        ("cert", broker.cert),
        ("key", broker.key),
        ("ca", broker.ca),
    ] {
        members.push((format!("broker/{name}.pem"), path));
    }
    members
}
