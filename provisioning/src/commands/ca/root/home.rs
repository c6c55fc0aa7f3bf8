//! The directory of a root that is kept apart: its certificate, its key, and what it has signed.
//!
//! One command works on it at a time: the lock is held as long as a `RootHome` lives.

use std::fs::File;
use std::path::Path;

use certs::{Role, TrustDomain};
use rustls_pki_types::UnixTime;

use super::OfflineRootError;
use crate::authority::{Authority, Passphrase, hierarchy};
use crate::commands::ca::copies::write_missing;
use crate::error::CommandError;
use crate::files;
use crate::layout::Layout;
use crate::registry::Registry;

/// The root of one directory, and its registry.
pub(super) struct RootHome {
    pub(super) layout: Layout,
    pub(super) registry: Registry,
    pub(super) trust_domain: TrustDomain,
    pub(super) root: Authority,
    /// Released when the file is closed.
    _lock: File,
}

impl RootHome {
    /// Opens the root in `dir`, and not its key.
    pub(super) fn open(dir: &Path) -> Result<Self, CommandError> {
        let layout = Layout::new(dir);
        if !files::exists(&layout.registry())? {
            return Err(OfflineRootError::NoRoot(dir.into()).into());
        }
        let lock = hierarchy::lock(&layout)?;
        let registry = Registry::open(&layout.registry())?;
        Self::load(layout, registry, lock)
    }

    /// The root that `registry` knows.
    pub(super) fn load(
        layout: Layout,
        registry: Registry,
        lock: File,
    ) -> Result<Self, CommandError> {
        let dir = || layout.dir().to_path_buf();
        let mut all = registry.authorities()?;
        let root = match (all.pop(), all.pop()) {
            (Some(root), None) if root.id.role == Role::Root => root,
            (Some(_), _) => return Err(OfflineRootError::NotAlone(dir()).into()),
            (None, _) if registry.trust_domain()?.is_some() => {
                return Err(OfflineRootError::Awaiting(dir()).into());
            }
            (None, _) => return Err(OfflineRootError::NoRoot(dir()).into()),
        };
        let no_root = || OfflineRootError::NoRoot(dir());
        Ok(Self {
            trust_domain: registry.trust_domain()?.ok_or_else(no_root)?,
            root: Authority::new(root),
            layout,
            registry,
            _lock: lock,
        })
    }

    /// Opens the key of the root, which is noted.
    pub(super) fn unlock(
        &mut self,
        passphrase: Option<&Passphrase>,
        now: UnixTime,
    ) -> Result<(), CommandError> {
        let id = self.root.id();
        self.root
            .unlock(&self.layout.authority_key(id), passphrase)?;
        // Nobody else here has a key that could vouch for what was done.
        self.registry.sign_with(self.root.signer()?);
        Ok(self.registry.note_key_opened(id, now)?)
    }

    /// Writes the certificate where it is missing.
    pub(super) fn write_copies(&self) -> Result<(), CommandError> {
        let (layout, pem) = (&self.layout, self.root.pem());
        let copies = [layout.authority_pem(self.root.id()), layout.ca_pem()];
        write_missing(
            layout,
            copies.map(|path| (path, pem.to_owned())).into_iter(),
        )
    }
}
