//! `countersign ca restore`: an authority from a backup, into a new directory or into its own.
//!
//! Everything is made beside its place, brought to the disk, and takes its place in one rename. In
//! its own directory the registry that knows more is kept, and the other one's revocations with it;
//! nothing there is deleted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::{RevocationList, Role, TimeText};
use rustix::fs::{CWD, RenameFlags};
use rustls_pki_types::UnixTime;

use super::archive::unpack;
use super::{BackupError, Manifest, members};
use crate::age::DecryptWith;
use crate::authority::{Authority, KeyKept, hierarchy, read_pem};
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::Layout;
use crate::registry::{Merged, Publication, Registry};

/// What to restore.
#[derive(Clone, Copy, Debug)]
pub struct RestoreRequest<'a> {
    /// The backup.
    pub file: &'a Path,
    /// An empty or new directory, or that of the same authority.
    pub dir: &'a Path,
    /// What opens the backup.
    pub with: DecryptWith<'a>,
    /// A revocation list that brokers have, when the directory has none: whoever is on it stays
    /// revoked, and the next one has a higher number.
    pub list: Option<&'a Path>,
}

/// What became of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoredInto {
    /// It was empty, or there was none.
    Empty,
    /// It has the registry of the backup, with what its own one had besides.
    Merged {
        /// Where the former authority is now.
        former: PathBuf,
        /// Whether its registry was of no use any more.
        was_damaged: bool,
    },
    /// Its registry knew all that the backup knows, and was kept; what was missing is back.
    Kept,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// What became of the directory.
    pub into: RestoredInto,
    /// When the backup was made.
    pub created: UnixTime,
    /// Certificates that only the directory knew, and that are on record now.
    pub certificates_kept: usize,
    /// Certificates that counted in the backup and do not now.
    pub revoked: usize,
    /// The highest number of a revocation list that was given out; the next one is higher.
    pub list: u64,
}

/// Restores an authority.
///
/// # Errors
/// [`CommandError::NotOurs`] when the directory holds other things, [`BackupError`] when the backup
/// is of no use or of another authority; then nothing was changed.
pub fn ca_restore(request: &RestoreRequest<'_>, now: UnixTime) -> Result<Restored, CommandError> {
    let layout = Layout::new(request.dir);
    files::refuse_symbolic_link(request.dir)?;
    if files::names_in(request.dir)?.is_empty() {
        return restore_new(request, now);
    }
    let ours = [layout.registry(), layout.device_ca_pem()];
    let is_ours = ours.iter().map(|path| files::exists(path));
    if is_ours.collect::<Result<Vec<_>, _>>()?.contains(&true) {
        restore_over(request, &layout, now)
    } else {
        Err(CommandError::NotOurs(request.dir.into()))
    }
}

fn restore_new(request: &RestoreRequest<'_>, now: UnixTime) -> Result<Restored, CommandError> {
    let dir = std::path::absolute(request.dir);
    let dir = dir.map_err(|source| files::failed("look at", request.dir, source))?;
    let mut name = std::ffi::OsString::from(".");
    name.push(dir.file_name().unwrap_or_default());
    name.push(".restore.new");
    let mut made = Made::unpack(request, &dir.with_file_name(name))?;
    made.registry.end_tokens()?;
    let revoked = made.merge_lists(request, &[], now)?;
    let created = made.created();
    let (staged, list) = made.finish(RestoreWords::Empty, now)?;
    files::sync_file_system(staged.0.dir())?;
    let moved = fs::rename(staged.0.dir(), &dir);
    moved.map_err(|source| files::failed("replace", &dir, source))?;
    dir.parent().map_or(Ok(()), files::sync)?;
    Ok(Restored {
        into: RestoredInto::Empty,
        created,
        certificates_kept: 0,
        revoked,
        list,
    })
}

fn restore_over(
    request: &RestoreRequest<'_>,
    layout: &Layout,
    now: UnixTime,
) -> Result<Restored, CommandError> {
    let _lock = hierarchy::lock(layout)?;
    let mut made = Made::unpack(request, &layout.dir().join(".restore.new"))?;
    made.refuse_other(request, layout)?;
    let lists = [layout.device_ca_crl(), layout.broker_crl()];
    let there = healthy(layout);
    if let Some(mut there) = there {
        let end = (made.manifest.audit_entries, &*made.manifest.audit_hash);
        if there.has_in_its_past(end)? {
            std::mem::swap(&mut there, &mut made.registry);
            let revoked = made.merge_lists(request, &lists, now)?;
            return keep(made, (layout, revoked), now);
        }
        there.close()?;
        let merged = made.registry.merge(&layout.registry(), now)?;
        return replace(made, (request, layout), (merged, false), now);
    }
    made.registry.end_tokens()?;
    replace(made, (request, layout), (Merged::default(), true), now)
}

/// The registry of the directory stays; only files that are missing are brought back.
fn keep(
    made: Made,
    (layout, revoked): (&Layout, usize),
    now: UnixTime,
) -> Result<Restored, CommandError> {
    let created = made.created();
    let (staged, list) = made.finish(RestoreWords::Kept, now)?;
    bring_missing(&staged.0, layout)?;
    Ok(Restored {
        into: RestoredInto::Kept,
        created,
        certificates_kept: 0,
        revoked,
        list,
    })
}

/// The authority made from the backup takes the place of the one that is there.
fn replace(
    mut made: Made,
    (request, layout): (&RestoreRequest<'_>, &Layout),
    (merged, was_damaged): (Merged, bool),
    now: UnixTime,
) -> Result<Restored, CommandError> {
    let lists = [layout.device_ca_crl(), layout.broker_crl()];
    let by_list = made.merge_lists(request, &lists, now)?;
    let created = made.created();
    let (made, list) = made.finish(RestoreWords::Merged, now)?;
    carry_over(layout, &made.0)?;
    files::sync_file_system(layout.dir())?;
    let (ca_dir, staged) = (layout.ca_dir(), made.0.ca_dir());
    rustix::fs::renameat_with(CWD, &staged, CWD, &ca_dir, RenameFlags::EXCHANGE)
        .map_err(|error| files::failed("replace", &ca_dir, error.into()))?;
    files::sync(layout.dir())?;
    let former = free_name(layout, now)?;
    fs::rename(&staged, &former).map_err(|source| files::failed("keep", &staged, source))?;
    bring_missing(&made.0, layout)?;
    files::sync(layout.dir())?;
    Ok(Restored {
        into: RestoredInto::Merged {
            former,
            was_damaged,
        },
        created,
        certificates_kept: merged.certificates,
        revoked: merged.revoked + by_list,
        list,
    })
}

/// Where the former authority is kept.
fn free_name(layout: &Layout, now: UnixTime) -> Result<PathBuf, CommandError> {
    let mut seconds = now.as_secs();
    loop {
        let path = layout.dir().join(format!("ca.before-restore-{seconds}"));
        if !files::exists(&path)? {
            return Ok(path);
        }
        seconds += 1;
    }
}

/// Brings what a backup holds to the places where nothing is.
fn bring_missing(from: &Layout, to: &Layout) -> Result<(), CommandError> {
    let mut staging = Staging::new(to.dir());
    for ((_, source), (_, path)) in members(from).into_iter().zip(members(to)) {
        let missing = !files::exists(&path)?;
        if let (true, Some(octets)) = (missing, files::read_large_if_there(&source)?) {
            staging.make_dir(path.parent().unwrap_or(to.dir()))?;
            staging.write(&path, octets)?;
        }
    }
    staging.commit()
}

/// What the directory has besides its registry goes with it: its lock, on which others wait, its
/// keys, which may be encrypted anew since the backup, and what is not ours.
fn carry_over(from: &Layout, to: &Layout) -> Result<(), CommandError> {
    for name in files::names_in(&from.ca_dir())? {
        let (old, new) = (from.ca_dir().join(&name), to.ca_dir().join(&name));
        let text = name.to_string_lossy();
        if text.starts_with("registry.sqlite") || text.ends_with(".new") || text.ends_with(".crl") {
            continue;
        }
        if text.ends_with(".key.pem")
            && !matches!(KeyKept::at(&old), Ok(kept) if kept != KeyKept::Elsewhere)
        {
            continue;
        }
        let is_pem = text.ends_with(".pem") && !text.ends_with(".key.pem");
        if files::exists(&new)? {
            if is_pem {
                continue;
            }
            fs::remove_file(&new).map_err(|source| files::failed("replace", &new, source))?;
        }
        fs::hard_link(&old, &new).map_err(|source| files::failed("keep", &old, source))?;
    }
    Ok(())
}

/// The registry of the directory, unless it is missing or not whole.
fn healthy(layout: &Layout) -> Option<Registry> {
    let path = layout.registry();
    if !files::exists(&path).ok()? {
        return None;
    }
    let registry = Registry::open(&path).ok()?;
    let is_whole = registry.complaints().ok()?.is_empty() && registry.verify_audit().is_ok();
    is_whole.then_some(registry)
}

/// What is said of a restore in the audit chain.
#[derive(Clone, Copy)]
enum RestoreWords {
    Empty,
    Merged,
    Kept,
}

/// A directory beside the place of what is made in it, which is gone when this is.
struct Staged(Layout);

/// An authority made from a backup, beside its place.
struct Made {
    staged: Staged,
    manifest: Manifest,
    /// The one that will count.
    registry: Registry,
    device_ca: Authority,
    /// The newest list that is known.
    newest: Option<(RevocationList, Vec<u8>)>,
}

impl Made {
    fn unpack(request: &RestoreRequest<'_>, dir: &Path) -> Result<Self, CommandError> {
        // A command that was killed left it.
        remove(dir)?;
        files::make_dir(dir)?;
        let staged = Staged(Layout::new(dir));
        let manifest = unpack(request.file, request.with, dir)?;
        let wrong = |what| CommandError::Backup {
            path: request.file.into(),
            source: BackupError::NotABackup(what),
        };
        let registry = Registry::open(&staged.0.registry())?;
        let end = (manifest.audit_entries, &*manifest.audit_hash);
        registry.verify_audit()?;
        if !registry.complaints()?.is_empty() || !registry.has_in_its_past(end)? {
            return Err(wrong("its registry is not whole"));
        }
        let device_ca = registry.newest(Role::DeviceCa)?;
        let device_ca = device_ca.ok_or_else(|| wrong("it has no device CA"))?;
        let mut made = Self {
            device_ca: Authority::new(device_ca),
            staged,
            manifest,
            registry,
            newest: None,
        };
        made.newest = made.newest_of(&[made.staged.0.device_ca_crl()])?;
        Ok(made)
    }

    fn created(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.manifest.created))
    }

    /// Refuses the directory of another authority, and one of which nothing says whose it is.
    fn refuse_other(
        &self,
        request: &RestoreRequest<'_>,
        layout: &Layout,
    ) -> Result<(), CommandError> {
        let mut same = false;
        for role in [Role::Root, Role::DeviceCa, Role::ServerCa] {
            let there = files::read_if_there(&layout.authority_pem(role))?;
            let there = there.and_then(|pem| read_pem(&String::from_utf8(pem).ok()?).ok());
            let Some(there) = there else { continue };
            same = self.registry.certificate_with(&there.sha256)?.is_some();
            if !same {
                break;
            }
        }
        if same {
            return Ok(());
        }
        Err(CommandError::Backup {
            path: request.file.into(),
            source: BackupError::OtherAuthority(layout.dir().into()),
        })
    }

    /// Whoever is on a list stays revoked, and its number is given out.
    fn merge_lists(
        &mut self,
        request: &RestoreRequest<'_>,
        paths: &[PathBuf],
        now: UnixTime,
    ) -> Result<usize, CommandError> {
        let mut paths = paths.to_vec();
        if let Some(list) = request.list {
            let found = self.newest_of(&[list.to_path_buf()])?;
            if found.is_none() {
                let expected = "a revocation list of this authority";
                let path = list.into();
                return Err(CommandError::Unreadable { path, expected });
            }
            paths.push(list.to_path_buf());
        }
        let mut revoked = 0;
        for path in paths {
            let Some((list, octets)) = self.newest_of(&[path])? else {
                continue;
            };
            revoked += self.merge_list(request, &list, now)?;
            let newest = self.newest.as_ref().map(|(newest, _)| newest.number());
            if newest < Some(list.number()) {
                self.newest = Some((list, octets));
            }
        }
        Ok(revoked)
    }

    fn merge_list(
        &mut self,
        request: &RestoreRequest<'_>,
        list: &RevocationList,
        now: UnixTime,
    ) -> Result<usize, CommandError> {
        let issuer = self.device_ca.serial();
        let entries: Vec<_> = list.entries().collect();
        match self.registry.merge_list(issuer, &entries, now)? {
            Ok(revoked) => {
                let number = list.number().to_u64();
                let number = number.ok_or(crate::RegistryError::NumbersExhausted)?;
                let times = (number, list.this_update(), list.next_update());
                self.registry.merge_number(issuer, times)?;
                Ok(revoked)
            }
            Err(unknown) => {
                let count = unknown.len();
                let source = unknown
                    .first()
                    .map_or(BackupError::NotABackup(""), |first| {
                        BackupError::UnknownRevoked {
                            count,
                            first: *first,
                        }
                    });
                let path = request.file.into();
                Err(CommandError::Backup { path, source })
            }
        }
    }

    /// The list with the highest number among the files, of those that are good.
    fn newest_of(
        &self,
        paths: &[PathBuf],
    ) -> Result<Option<(RevocationList, Vec<u8>)>, CommandError> {
        let issuers = [self.device_ca.as_issuer()?];
        let mut newest: Option<(RevocationList, Vec<u8>)> = None;
        for path in paths {
            let Some(octets) = files::read_large_if_there(path)? else {
                continue;
            };
            let lists = RevocationList::read_all(&octets, &issuers);
            for list in lists.into_iter().flatten() {
                let number = newest.as_ref().map(|(newest, _)| newest.number());
                if number < Some(list.number()) {
                    newest = Some((list, octets.clone()));
                }
            }
        }
        Ok(newest)
    }

    /// Notes what was done, closes the registry, and writes the newest list; says which number was
    /// given out last.
    fn finish(mut self, how: RestoreWords, now: UnixTime) -> Result<(Staged, u64), CommandError> {
        let issuer = self.device_ca.serial();
        let of = TimeText(self.created());
        let entries = self.manifest.audit_entries;
        let words = match how {
            RestoreWords::Empty => format!("from a backup of {of}, after entry {entries}"),
            RestoreWords::Merged => {
                format!("from a backup of {of}, after entry {entries}, with what was there besides")
            }
            RestoreWords::Kept => format!("kept: it knew all of a backup of {of}"),
        };
        self.registry.note_restored(&words, now)?;
        let taken = self
            .registry
            .last_number(Publication::RevocationList, issuer)?;
        // A database must not be moved while it is open.
        self.registry.close()?;
        let Some((list, octets)) = self.newest else {
            return Ok((self.staged, taken));
        };
        let mut staging = Staging::new(self.staged.0.dir());
        staging.write(&self.staged.0.device_ca_crl(), octets)?;
        staging.commit()?;
        let number = list.number().to_u64().unwrap_or(u64::MAX);
        Ok((self.staged, number.max(taken)))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What cannot be deleted now is replaced by the next restore.
        let _ = remove(self.0.dir());
    }
}

fn remove(dir: &Path) -> Result<(), CommandError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(files::failed("remove", dir, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
