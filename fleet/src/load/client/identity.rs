//! The certificates of a fleet, from a directory that `countersign up` made.
//!
//! Each connection has a certificate of its own as far as they go; then they are used again, with
//! another client id. A session ticket is never used under another certificate.

use crate::load::LoadError;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs, aws_lc_rs::kx_group};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which key exchange the clients offer; one alone, so that every broker does the same work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyExchange {
    /// X25519.
    X25519,
    /// X25519MLKEM768, which resists quantum computers.
    Hybrid,
}

/// What the clients of a run have in common in TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsChoice {
    pub(crate) key_exchange: KeyExchange,
    /// How many tickets are kept; 0 makes every handshake a full one.
    pub(crate) tickets_max: usize,
}

/// One certificate with its key, ready for TLS.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The device id, or the id of the application.
    pub(crate) id: Arc<str>,
    pub(crate) tls: Arc<ClientConfig>,
}

/// The certificates of a directory.
#[derive(Debug)]
pub(crate) struct Identities {
    /// Where those of devices are.
    dir: PathBuf,
    devices: Vec<PathBuf>,
    app: PathBuf,
}

impl Identities {
    /// Finds them; the names are those that `countersign up` uses.
    pub(crate) fn find(dir: &Path) -> Result<Self, LoadError> {
        let devices = dir.join("devices");
        let missing = || LoadError::NoIdentities {
            dir: dir.to_owned(),
        };
        let mut found: Vec<_> = std::fs::read_dir(&devices)
            .map_err(|_| missing())?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.join("cert.pem").is_file())
            .collect();
        found.sort_by_cached_key(|path| (path.as_os_str().len(), path.clone()));
        if found.is_empty() {
            return Err(missing());
        }
        Ok(Self {
            dir: devices,
            devices: found,
            app: dir.join("apps/app-1"),
        })
    }

    /// The directory of each device.
    pub(crate) fn device_dirs(&self) -> &[PathBuf] {
        &self.devices
    }

    /// The directory of the device with this id.
    pub(crate) fn device_dir(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// That of the application.
    pub(crate) fn app_dir(&self) -> &Path {
        &self.app
    }

    /// The first `count` devices, or all where there are fewer.
    pub(in crate::load) fn devices(
        &self,
        count: usize,
        choice: TlsChoice,
    ) -> Result<Vec<Identity>, LoadError> {
        self.devices
            .iter()
            .take(count)
            .map(|dir| Identity::open(dir, choice))
            .collect()
    }

    /// The application that may read what devices say.
    pub(in crate::load) fn app(&self, choice: TlsChoice) -> Result<Identity, LoadError> {
        Identity::open(&self.app, choice)
    }
}

impl Identity {
    fn open(dir: &Path, choice: TlsChoice) -> Result<Self, LoadError> {
        let unusable = |name: &str, cause: &dyn std::error::Error| LoadError::UnusableIdentity {
            path: dir.join(name),
            cause: cause.to_string(),
        };
        let chain = certificates(&dir.join("cert.pem"))?;
        let key = PrivateKeyDer::from_pem_file(dir.join("key.pem"))
            .map_err(|error| unusable("key.pem", &error))?;
        let mut roots = RootCertStore::empty();
        for root in certificates(&dir.join("ca.pem"))? {
            roots
                .add(root)
                .map_err(|error| unusable("ca.pem", &error))?;
        }
        let mut tls = ClientConfig::builder_with_provider(provider(choice.key_exchange))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|tls| {
                tls.with_root_certificates(roots)
                    .with_client_auth_cert(chain, key)
            })
            .map_err(|error| unusable("cert.pem", &error))?;
        tls.resumption = match choice.tickets_max {
            0 => Resumption::disabled(),
            max => Resumption::in_memory_sessions(max),
        };
        let id = dir.file_name().unwrap_or_default().to_string_lossy().into();
        Ok(Self {
            id,
            tls: Arc::new(tls),
        })
    }
}

fn provider(key_exchange: KeyExchange) -> Arc<CryptoProvider> {
    let group = match key_exchange {
        KeyExchange::X25519 => kx_group::X25519,
        KeyExchange::Hybrid => kx_group::X25519MLKEM768,
    };
    Arc::new(CryptoProvider {
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    })
}

/// All certificates of a file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let unusable = |cause: &dyn std::error::Error| LoadError::UnusableIdentity {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    CertificateDer::pem_file_iter(path)
        .map_err(|error| unusable(&error))?
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(&error))
}
