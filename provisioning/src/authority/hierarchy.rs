//! The authorities of one directory, opened for one command.
//!
//! One command works on a directory at a time: the lock is held as long as a `Hierarchy` lives, so
//! that a key and its certificate reach their files together.

use std::fs::File;
use std::path::Path;

use certs::{Role, TrustDomain};
use rcgen::KeyPair;

use super::{Authority, key_file};
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
    _lock: File,
}

impl Hierarchy {
    /// Opens the authorities in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, CommandError> {
        let layout = Layout::new(dir);
        if !files::exists(&layout.registry())? {
            return Err(CommandError::NoAuthority { dir: dir.into() });
        }
        let lock = lock(&layout)?;
        let registry = Registry::open(&layout.registry())?;
        Self::load(layout, registry, lock)
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
            device_ca: authority(&layout, Role::DeviceCa, device_ca)?,
            server_ca: authority(&layout, Role::ServerCa, server_ca)?,
            layout,
            registry,
            _lock: lock,
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

fn authority(layout: &Layout, role: Role, recorded: Recorded) -> Result<Authority, CommandError> {
    let path = layout.authority_key(role);
    let key: KeyPair = key_file::open(&path)?;
    Authority::new(recorded, key)?.ok_or(CommandError::WrongKey(path))
}
