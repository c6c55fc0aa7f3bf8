//! The authorities of one directory, opened for one command.
//!
//! One command works on a directory at a time: the lock is held as long as a `Hierarchy` lives, so
//! that a key and its certificate reach their files together.

use std::fs::File;
use std::path::Path;

use certs::{Role, TrustDomain};
use rustls_pki_types::UnixTime;

use super::{Authority, Passphrase};
use crate::error::CommandError;
use crate::files;
use crate::layout::Layout;
use crate::registry::{Recorded, Registry};

/// The authorities of one directory, and its registry.
pub(crate) struct Hierarchy {
    pub(crate) layout: Layout,
    pub(crate) registry: Registry,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) root: Recorded,
    pub(crate) device_ca: Authority,
    pub(crate) server_ca: Authority,
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

    /// Opens the key of the authority for devices, which is noted.
    pub(crate) fn unlock_device_ca(
        &mut self,
        passphrase: Option<&Passphrase>,
        now: UnixTime,
    ) -> Result<(), CommandError> {
        let key_file = self.layout.authority_key(Role::DeviceCa);
        self.device_ca.unlock(&key_file, passphrase)?;
        Ok(self.registry.note_key_opened(Role::DeviceCa, now)?)
    }

    /// Opens the key of the authority for servers, which is noted.
    pub(crate) fn unlock_server_ca(
        &mut self,
        passphrase: Option<&Passphrase>,
        now: UnixTime,
    ) -> Result<(), CommandError> {
        let key_file = self.layout.authority_key(Role::ServerCa);
        self.server_ca.unlock(&key_file, passphrase)?;
        Ok(self.registry.note_key_opened(Role::ServerCa, now)?)
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
        let recorded = |role| registry.newest(role);
        let (Some(trust_domain), Some(root), Some(device_ca), Some(server_ca)) = (
            registry.trust_domain()?,
            recorded(Role::Root)?,
            recorded(Role::DeviceCa)?,
            recorded(Role::ServerCa)?,
        ) else {
            return Err(CommandError::NoAuthority {
                dir: layout.dir().into(),
            });
        };
        Ok(Self {
            trust_domain,
            root,
            device_ca: Authority::new(device_ca),
            server_ca: Authority::new(server_ca),
            layout,
            registry,
            lock,
        })
    }

    /// Whether `public_key` (a subject public key info) signs certificates here.
    pub(crate) fn is_authority_key(&self, public_key: &[u8]) -> bool {
        *self.root.certificate().public_key == *public_key
            || self.device_ca.has_key(public_key)
            || self.server_ca.has_key(public_key)
    }
}

/// Waits until no other command works on the directory.
pub(crate) fn lock(layout: &Layout) -> Result<File, CommandError> {
    files::refuse_open_dir(&layout.ca_dir())?;
    let path = layout.lock();
    files::ensure_file(&path)?;
    let locked = File::open(&path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|source| files::failed("lock", &path, source))
}
