//! The authorities of one directory, opened for one command.
//!
//! One command works on a directory at a time: the lock is held as long as a `Hierarchy` lives, so
//! that a key and its certificate reach their files together.

use std::fs::File;
use std::path::Path;

use certs::{Certificate, Role, TrustDomain};
use rustls_pki_types::UnixTime;

use super::{Authority, KeyKept, Passphrase, Signed};
use crate::commands::OfflineRootError;
use crate::error::CommandError;
use crate::files;
use crate::layout::{AuthorityId, Layout};
use crate::registry::{Advance, AuthorityStage, CrossCertificate, Registry, RegistryError};

/// The authorities of one directory, and its registry.
pub(crate) struct Hierarchy {
    pub(crate) layout: Layout,
    pub(crate) registry: Registry,
    pub(crate) trust_domain: TrustDomain,
    /// Those that are active: one of each role.
    pub(crate) root: Authority,
    pub(crate) device_ca: Authority,
    pub(crate) server_ca: Authority,
    /// Those that are not, or not yet, or no more.
    others: Vec<Authority>,
    /// Released when the file is closed.
    lock: File,
}

impl Hierarchy {
    /// Opens the authorities in `dir`, and none of their keys.
    pub(crate) fn open(dir: &Path) -> Result<Self, CommandError> {
        let layout = Layout::new(dir);
        if !files::exists(&layout.registry())? {
            return Err(CommandError::NoAuthority { dir: dir.into() });
        }
        let lock = lock(&layout)?;
        let registry = Registry::open(&layout.registry())?;
        Self::load(layout, registry, lock)
    }

    /// Opens the authorities in `dir`, with the key of those who issue to devices: whatever a
    /// command does with it, a wrong passphrase is found out before.
    pub(crate) fn open_for_devices(
        dir: &Path,
        passphrase: Option<&Passphrase>,
        now: UnixTime,
    ) -> Result<Self, CommandError> {
        let mut ca = Self::open(dir)?;
        ca.unlock_device_ca(passphrase, now)?;
        Ok(ca)
    }

    /// As [`Self::open_for_devices`], with the keys of all who sign revocation lists.
    pub(crate) fn open_for_lists(
        dir: &Path,
        passphrase: Option<&Passphrase>,
        now: UnixTime,
    ) -> Result<Self, CommandError> {
        let mut ca = Self::open_for_devices(dir, passphrase, now)?;
        ca.unlock_lists(passphrase, now)?;
        Ok(ca)
    }

    /// Opens the keys of those device CAs that sign revocation lists and issue nothing.
    pub(crate) fn unlock_lists(
        &mut self,
        passphrase: Option<&Passphrase>,
        now: UnixTime,
    ) -> Result<(), CommandError> {
        let mut ids: Vec<_> = self.device_cas().map(Authority::id).collect();
        ids.retain(|id| *id != self.device_ca.id());
        ids.into_iter()
            .try_for_each(|id| self.unlock(id, passphrase, now))
    }

    /// Opens the key of the authority for devices, which is noted.
    pub(crate) fn unlock_device_ca(
        &mut self,
        passphrase: Option<&Passphrase>,
        now: UnixTime,
    ) -> Result<(), CommandError> {
        self.unlock(self.device_ca.id(), passphrase, now)
    }

    /// Opens the key of the authority for servers, which is noted.
    pub(crate) fn unlock_server_ca(
        &mut self,
        passphrase: Option<&Passphrase>,
        now: UnixTime,
    ) -> Result<(), CommandError> {
        self.unlock(self.server_ca.id(), passphrase, now)
    }

    /// Opens the key of an authority, which is noted.
    pub(crate) fn unlock(
        &mut self,
        id: AuthorityId,
        passphrase: Option<&Passphrase>,
        now: UnixTime,
    ) -> Result<(), CommandError> {
        let key_file = self.layout.authority_key(id);
        if id.role == Role::Root && KeyKept::at(&key_file)? == KeyKept::Elsewhere {
            let dir = self.layout.dir().to_path_buf();
            return Err(OfflineRootError::RootNeeded(dir).into());
        }
        for authority in self.all_mut().filter(|it| it.id() == id) {
            authority.unlock(&key_file, passphrase)?;
        }
        let is_active = id == self.device_ca.id();
        if id.role == Role::DeviceCa && (is_active || !self.registry.is_signed()) {
            let signer = self.authority(id)?.signer()?;
            self.registry.sign_with(signer);
        }
        Ok(self.registry.note_key_opened(id, now)?)
    }

    /// Lets others work on the directory while `work` is done.
    pub(crate) fn step_aside<T>(
        &mut self,
        work: impl FnOnce() -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let failed = |source| files::failed("lock", &self.layout.lock(), source);
        self.lock.unlock().map_err(failed)?;
        let done = work();
        self.lock.lock().map_err(failed)?;
        done
    }

    /// The authorities that `registry` knows.
    pub(crate) fn load(
        layout: Layout,
        registry: Registry,
        lock: File,
    ) -> Result<Self, CommandError> {
        let nobody = || CommandError::NoAuthority {
            dir: layout.dir().into(),
        };
        let trust_domain = registry.trust_domain()?.ok_or_else(nobody)?;
        let incomplete = || incomplete(&layout, &registry);
        let seats = Seats::read(&registry)?.map_or_else(|| Err(incomplete()), Ok)?;
        Ok(Self {
            trust_domain,
            root: seats.root,
            device_ca: seats.device_ca,
            server_ca: seats.server_ca,
            others: seats.others,
            layout,
            registry,
            lock,
        })
    }

    /// Goes by what the registry has now; no key is open after that.
    pub(crate) fn reload(&mut self) -> Result<(), CommandError> {
        let seats = Seats::read(&self.registry)?.ok_or(RegistryError::Damaged)?;
        self.root = seats.root;
        self.device_ca = seats.device_ca;
        self.server_ca = seats.server_ca;
        self.others = seats.others;
        Ok(())
    }

    /// Every authority, those that are active first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Authority> {
        [&self.root, &self.device_ca, &self.server_ca]
            .into_iter()
            .chain(&self.others)
    }

    /// The authority with this number among those of its role.
    pub(crate) fn authority(&self, id: AuthorityId) -> Result<&Authority, CommandError> {
        let found = self.all().find(|it| it.id() == id);
        Ok(found.ok_or(RegistryError::Damaged)?)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Authority> {
        [&mut self.root, &mut self.device_ca, &mut self.server_ca]
            .into_iter()
            .chain(&mut self.others)
    }

    /// The one of a role that is active.
    pub(crate) fn active(&self, role: Role) -> Option<&Authority> {
        let mut active = [&self.root, &self.device_ca, &self.server_ca].into_iter();
        active.find(|it| it.id().role == role)
    }

    /// Those of a role, by number.
    pub(crate) fn of_role(&self, role: Role) -> Vec<&Authority> {
        let mut found: Vec<_> = self.all().filter(|it| it.id().role == role).collect();
        found.sort_by_key(|it| it.id().number);
        found
    }

    /// The device CAs whose certificates count, by number: each signs a revocation list.
    pub(crate) fn device_cas(&self) -> impl Iterator<Item = &Authority> {
        let all = self.of_role(Role::DeviceCa).into_iter();
        all.filter(|it| it.stage().is_trusted())
    }

    /// What brokers trust.
    pub(crate) fn trusted_by_brokers(&self) -> String {
        self.device_cas().map(Authority::pem).collect()
    }

    /// What devices and applications trust.
    pub(crate) fn trusted_by_peers(&self) -> String {
        let roots = self.of_role(Role::Root).into_iter();
        let trusted = roots.filter(|it| it.stage().is_trusted());
        trusted.map(Authority::pem).collect()
    }

    /// Who has issued a certificate.
    pub(crate) fn issuer_of(&self, certificate: &Certificate) -> Result<&Authority, CommandError> {
        let key_id = certificate.extensions.issuer_key_id.as_deref();
        let is_issuer = |it: &&Authority| {
            key_id.is_some() && it.certificate().extensions.key_id.as_deref() == key_id
        };
        let found = self.all().find(is_issuer);
        Ok(found.ok_or(certs::Refusal::UnknownAuthority)?)
    }

    /// Records an authority that nobody trusts yet, with the certificate that the one before has
    /// issued to its key, if it has.
    pub(crate) fn record_prepared(
        &mut self,
        signed: (&Signed, Option<&Signed>),
        id: AuthorityId,
        now: UnixTime,
    ) -> Result<(), RegistryError> {
        self.registry.record_prepared(signed, id, now)?;
        self.others
            .push(Authority::new(self.registry.authority(id)?));
        Ok(())
    }

    /// Brings authorities to other stages, all or none; their keys stay open.
    pub(crate) fn advance(
        &mut self,
        steps: &[(AuthorityId, AuthorityStage)],
        now: UnixTime,
    ) -> Result<(), CommandError> {
        let mut told = Vec::with_capacity(steps.len());
        for (id, to) in steps {
            let authority = self.authority(*id)?;
            told.push((authority.serial(), authority.name().to_owned(), *to));
        }
        let told = told.iter().map(|(authority, name, to)| Advance {
            authority: *authority,
            name,
            to: *to,
        });
        self.registry.advance(&told.collect::<Vec<_>>(), now)?;
        for (id, to) in steps {
            self.all_mut()
                .filter(|it| it.id == *id)
                .for_each(|it| it.stage = *to);
        }
        for seat in [&mut self.root, &mut self.device_ca, &mut self.server_ca] {
            let is_active = |it: &&mut Authority| {
                it.id.role == seat.id.role && it.stage == AuthorityStage::Active
            };
            if let Some(next) = self.others.iter_mut().find(is_active) {
                std::mem::swap(seat, next);
            }
        }
        Ok(())
    }

    /// The public keys (subject public key infos) of those who sign or signed certificates here.
    pub(crate) fn authority_keys(&self) -> impl Iterator<Item = &[u8]> {
        self.all().map(|it| &*it.certificate().public_key)
    }
}

/// Who has which place among the authorities on record.
struct Seats {
    root: Authority,
    device_ca: Authority,
    server_ca: Authority,
    others: Vec<Authority>,
}

impl Seats {
    /// `None` before there are all.
    fn read(registry: &Registry) -> Result<Option<Self>, CommandError> {
        let all = registry.authorities()?.into_iter();
        let mut others: Vec<_> = all.map(Authority::new).collect();
        let crossed = registry.cross_certificates()?;
        let paths: Vec<_> = others
            .iter()
            .map(|it| path_of(it, &others, &crossed))
            .collect();
        for (authority, path) in others.iter_mut().zip(paths) {
            authority.path = path;
        }
        let (Some(root), Some(device_ca), Some(server_ca)) = (
            take_active(&mut others, Role::Root),
            take_active(&mut others, Role::DeviceCa),
            take_active(&mut others, Role::ServerCa),
        ) else {
            return Ok(None);
        };
        Ok(Some(Self {
            root,
            device_ca,
            server_ca,
            others,
        }))
    }
}

/// What an authority for servers shows besides its own certificate, so that whoever trusts only an
/// earlier root finds the way to it. Devices prove themselves to brokers, which trust their issuer.
fn path_of(authority: &Authority, all: &[Authority], crossed: &[CrossCertificate]) -> String {
    if authority.id.role != Role::ServerCa {
        return String::new();
    }
    let mut path = String::new();
    let mut root = all.iter().find(|it| authority.is_issued_by(it));
    while let Some(above) = root.take() {
        for cross in crossed.iter().filter(|it| it.subject == above.serial()) {
            path.push_str(&cross.pem);
            root = all.iter().find(|it| it.serial() == cross.issuer);
        }
    }
    path
}

/// Why those are not all there who issue, although something was begun.
fn incomplete(layout: &Layout, registry: &Registry) -> CommandError {
    let dir = layout.dir().to_path_buf();
    match registry.authorities() {
        Ok(found) if found.is_empty() => OfflineRootError::Awaiting(dir).into(),
        Ok(found) if found.iter().all(|it| it.id.role == Role::Root) => {
            OfflineRootError::RootAlone(dir).into()
        }
        Ok(_) => RegistryError::Damaged.into(),
        Err(why) => why.into(),
    }
}

fn take_active(authorities: &mut Vec<Authority>, role: Role) -> Option<Authority> {
    let is_active = |it: &Authority| it.id().role == role && it.stage() == AuthorityStage::Active;
    let place = authorities.iter().position(is_active)?;
    Some(authorities.remove(place))
}

/// Waits until no other command works on the directory.
pub(crate) fn lock(layout: &Layout) -> Result<File, CommandError> {
    files::refuse_open_dir(&layout.ca_dir())?;
    let path = layout.lock();
    files::ensure_file(&path)?;
    let locked = File::open(&path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|source| files::failed("lock", &path, source))
}
