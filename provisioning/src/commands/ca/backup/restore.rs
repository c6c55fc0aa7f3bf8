//! `countersign ca restore`: an authority from a backup, into a new directory or into its own.
//!
//! Everything is made beside its place, brought to the disk, and takes its place in one rename. In
//! its own directory the registry that knows more is kept, and the other one's revocations with it;
//! nothing there is deleted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::{RevocationList, Role, Serial, TimeText};
use rustls_pki_types::UnixTime;

use super::archive::unpack;
use super::{BackupError, Manifest, members, place_of};
use crate::age::DecryptWith;
use crate::authority::{Authority, Hierarchy, KeyKept, hierarchy, read_pem};
use crate::commands::ca::copies::{write_broker_trust, write_copies};
use crate::commands::crl_publish::newest_of;
use crate::error::CommandError;
use crate::files::{self, Staging};
use crate::layout::{AuthorityId, Layout};
use crate::registry::{AuthorityStage, Merged, Publication, Registry};

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
    let revoked = made.merge_lists(request, None, now)?;
    let created = made.created();
    let (staged, list) = made.finish(RestoreWords::Empty, now)?;
    files::sync_file_system(staged.0.dir())?;
    files::move_to(staged.0.dir(), &dir)?;
    dir.parent().map_or(Ok(()), files::sync)?;
    let layout = Layout::new(request.dir);
    let lock = hierarchy::lock(&layout)?;
    follow_registry(&layout, lock)?;
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
    let lock = hierarchy::lock(layout)?;
    let restored = restore_locked(request, layout, now)?;
    follow_registry(layout, lock)?;
    Ok(restored)
}

/// What is trusted is what the registry says now, which may know more than the backup.
fn follow_registry(layout: &Layout, lock: fs::File) -> Result<(), CommandError> {
    let registry = Registry::open(&layout.registry())?;
    let ca = Hierarchy::load(layout.clone(), registry, lock)?;
    write_copies(&ca)?;
    write_broker_trust(&ca).map(drop)
}

fn restore_locked(
    request: &RestoreRequest<'_>,
    layout: &Layout,
    now: UnixTime,
) -> Result<Restored, CommandError> {
    let mut made = Made::unpack(request, &layout.dir().join(".restore.new"))?;
    made.refuse_other(request, layout)?;
    let there = healthy(layout);
    if let Some(mut there) = there {
        let end = (made.manifest.audit_entries, &*made.manifest.audit_hash);
        if there.has_in_its_past(end)? {
            std::mem::swap(&mut there, &mut made.registry);
            let revoked = made.merge_lists(request, Some(layout), now)?;
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
    let by_list = made.merge_lists(request, Some(layout), now)?;
    let created = made.created();
    let (made, list) = made.finish(RestoreWords::Merged, now)?;
    carry_over(layout, &made.0)?;
    // The two change places, so that whoever stops this on its way never leaves the former one
    // where the next restore would delete it.
    let (staged, former) = (made.0.ca_dir(), free_name(layout, now)?);
    fs::rename(&staged, &former).map_err(|source| files::failed("keep", &staged, source))?;
    files::sync_file_system(layout.dir())?;
    files::move_to(&former, &layout.ca_dir())?;
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
    for (name, source) in members(from)? {
        let Some(path) = place_of(to, &name) else {
            continue;
        };
        if files::exists(&path)? {
            continue;
        }
        if let Some(octets) = files::read_large_if_there(&source)? {
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
        // The list of a root that is elsewhere is not made anew: the one that is there stays.
        let is_list = text.ends_with(".crl") && !text.starts_with(Role::Root.as_str());
        if text.starts_with("registry.sqlite") || text.ends_with(".new") || is_list {
            continue;
        }
        if (text.ends_with(".key.pem") || text.ends_with(".key.uri"))
            && !matches!(KeyKept::at(&old), Ok(kept) if kept != KeyKept::Elsewhere)
        {
            continue;
        }
        let goes_with_key = text.ends_with(".key.pem") || text.ends_with(".csr.pem");
        let is_pem = text.ends_with(".pem") && !goes_with_key;
        if files::exists(&new)? {
            if is_pem {
                continue;
            }
            files::remove(&new)?;
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
    /// The newest list that is known of each device CA.
    newest: Vec<(AuthorityId, RevocationList, Vec<u8>)>,
}

impl Made {
    fn unpack(request: &RestoreRequest<'_>, dir: &Path) -> Result<Self, CommandError> {
        // A command that was killed left it.
        files::remove(dir)?;
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
        let made = Self {
            staged,
            manifest,
            registry,
            newest: Vec::new(),
        };
        made.active().map_err(|_| wrong("it has no device CA"))?;
        Ok(made)
    }

    /// The device CAs that the registry knows.
    fn device_cas(&self) -> Result<Vec<Authority>, CommandError> {
        let all = self.registry.authorities()?.into_iter();
        let device_cas = all.filter(|it| it.id.role == Role::DeviceCa);
        Ok(device_cas.map(Authority::new).collect())
    }

    /// The one that issues.
    fn active(&self) -> Result<Authority, CommandError> {
        let device_cas = self.device_cas()?.into_iter();
        let mut active = device_cas.filter(|it| it.stage() == AuthorityStage::Active);
        Ok(active.next().ok_or(crate::RegistryError::Damaged)?)
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

    /// Whoever is on a list stays revoked, and its number is given out: the lists in the directory
    /// `there`, and the one that was given.
    fn merge_lists(
        &mut self,
        request: &RestoreRequest<'_>,
        there: Option<&Layout>,
        now: UnixTime,
    ) -> Result<usize, CommandError> {
        let device_cas = self.device_cas()?;
        if let Some(path) = request.list {
            let signed = |it| Ok(newest_of(it, &[path.into()])?.is_some());
            let signed: Result<Vec<bool>, CommandError> = device_cas.iter().map(signed).collect();
            if !signed?.contains(&true) {
                let expected = "a revocation list of this authority";
                let path = path.into();
                return Err(CommandError::Unreadable { path, expected });
            }
        }
        let mut revoked = 0;
        for device_ca in device_cas {
            let id = device_ca.id();
            let mut newest = newest_of(&device_ca, &[self.staged.0.list(id)])?;
            let there = there.into_iter().flat_map(|layout| layout.lists(id));
            for path in there.chain(request.list.map(Path::to_path_buf)) {
                let Some((list, octets)) = newest_of(&device_ca, &[path])? else {
                    continue;
                };
                revoked += self.merge_list((request, device_ca.serial()), &list, now)?;
                if newest.as_ref().map(|(newest, _)| newest.number()) < Some(list.number()) {
                    newest = Some((list, octets));
                }
            }
            self.newest
                .extend(newest.map(|(list, octets)| (id, list, octets)));
        }
        Ok(revoked)
    }

    fn merge_list(
        &mut self,
        (request, issuer): (&RestoreRequest<'_>, Serial),
        list: &RevocationList,
        now: UnixTime,
    ) -> Result<usize, CommandError> {
        let entries: Vec<_> = list.entries().collect();
        match self.registry.merge_list(issuer, &entries, now)? {
            Ok(revoked) => {
                let number = list.number().to_u64();
                let number = number.ok_or(crate::RegistryError::NumbersExhausted)?;
                let times = (number, list.this_update(), list.next_update());
                self.registry.merge_number(issuer, times)?;
                Ok(revoked)
            }
            Err((count, first)) => Err(CommandError::Backup {
                path: request.file.into(),
                source: BackupError::UnknownRevoked { count, first },
            }),
        }
    }

    /// Notes what was done, closes the registry, and writes the newest lists; says which number the
    /// active device CA has given out last.
    fn finish(mut self, how: RestoreWords, now: UnixTime) -> Result<(Staged, u64), CommandError> {
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
        let active = self.active()?;
        let taken = self
            .registry
            .last_number(Publication::RevocationList, active.serial())?;
        // A database must not be moved while it is open.
        self.registry.close()?;
        let mut staging = Staging::new(self.staged.0.dir());
        let mut highest = taken;
        for (id, list, octets) in self.newest {
            staging.write(&self.staged.0.list(id), octets)?;
            if id == active.id() {
                highest = highest.max(list.number().to_u64().unwrap_or(u64::MAX));
            }
        }
        staging.commit()?;
        Ok((self.staged, highest))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What cannot be deleted now is replaced by the next restore.
        let _ = files::remove(self.0.dir());
    }
}
