//! `countersign ca root crl`: the authorities that the root has revoked, signed.
//!
//! Its number rises over everything that was ever given out from this directory, and is taken
//! before the list is written. Each time there is a new one: it is made by hand and carried away.

use std::path::{Path, PathBuf};

use rustls_pki_types::UnixTime;

use super::home::RootHome;
use crate::authority::{ListContent, Passphrase};
use crate::commands::crl_publish::{after, lifetime, newest_of, wanted_of};
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::registry::Publication;

/// How long a list is good when nothing else is asked for: the root is not at hand every week.
const LIFETIME_DAYS: u32 = 180;

/// Which list to sign.
#[derive(Clone, Copy, Debug)]
pub struct RootListRequest<'a> {
    /// The directory of the root.
    pub dir: &'a Path,
    /// What opens its key, when it is encrypted.
    pub passphrase: Option<&'a Passphrase>,
    /// For how many days it is good; 180 when nothing is said.
    pub days: Option<u32>,
    /// The file for the list, or the directory for it.
    pub out: &'a Path,
}

/// The list that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RootListed {
    /// Its number.
    pub number: u64,
    /// How many authorities are on it.
    pub entries: usize,
    /// By when there must be a newer one.
    pub next_update: UnixTime,
    /// Where it is.
    pub out: PathBuf,
}

/// Signs the list of the authorities that the root has revoked.
///
/// # Errors
/// [`CommandError`] names what is in the way.
pub fn root_list(request: &RootListRequest<'_>, now: UnixTime) -> Result<RootListed, CommandError> {
    let next_update = after(now, lifetime(Some(request.days.unwrap_or(LIFETIME_DAYS)))?);
    let mut home = RootHome::open(request.dir)?;
    home.unlock(request.passphrase, now)?;
    let file = home.layout.list(home.root.id());
    let seen = newest_of(&home.root, std::slice::from_ref(&file))?;
    let seen = seen.map_or(Some(0), |(list, _)| list.number().to_u64());
    let seen = seen.ok_or(crate::RegistryError::NumbersExhausted)?;
    let (serial, times) = (home.root.serial(), (seen, now, next_update));
    let number = home
        .registry
        .take_number(Publication::RevocationList, serial, times)?;
    let content = ListContent {
        number,
        this_update: now,
        next_update,
        revoked: wanted_of(&home.registry, &home.root, now)?,
    };
    let (list, pem) = home.root.sign_list(content)?;
    let mut staging = Staging::new(home.layout.dir());
    staging.write(&file, &pem)?;
    staging.commit()?;
    let out = files::in_dir(request.out, "root.crl");
    files::write_public(&out, pem)?;
    Ok(RootListed {
        number,
        entries: list.len(),
        next_update,
        out,
    })
}
