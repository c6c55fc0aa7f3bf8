//! Where things stand in the directory of an authority.
//!
//! Every path is made here, from fixed names and device ids, which cannot lead elsewhere.

use std::path::{Path, PathBuf};

use certs::{Kind, Role, Subject};

/// The paths below the directory of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
}

/// The files by which a peer proves who it is and knows whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The directory that holds them.
    pub dir: PathBuf,
    /// The certificate, followed by that of its issuer.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// What the peer trusts: the root for devices, the device CA for brokers.
    pub ca: PathBuf,
}

impl Layout {
    /// The layout below `dir`, which may be relative and need not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What devices and applications trust: the root.
    pub fn ca_pem(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// What brokers trust: the authority of devices, not the root.
    pub fn device_ca_pem(&self) -> PathBuf {
        self.authority_pem(Role::DeviceCa)
    }

    /// Where the broker's configuration belongs.
    pub fn broker_toml(&self) -> PathBuf {
        self.dir.join("broker.toml")
    }

    /// Where the broker's policy belongs.
    pub fn policy_toml(&self) -> PathBuf {
        self.dir.join("policy.toml")
    }

    /// The files of the broker.
    pub fn broker(&self) -> IdentityFiles {
        IdentityFiles::below(self.dir.join("broker"))
    }

    /// The files of a device or an application.
    pub fn peer(&self, subject: &Subject) -> IdentityFiles {
        IdentityFiles::below(self.peers(subject.kind).join(subject.id.as_str()))
    }

    /// The directory in which every device, or every application, has its own.
    pub fn peers(&self, kind: Kind) -> PathBuf {
        self.dir.join(match kind {
            Kind::Device => "devices",
            Kind::App => "apps",
        })
    }

    /// The revocation list of the device CA.
    pub fn device_ca_crl(&self) -> PathBuf {
        self.ca_dir().join("device-ca.crl")
    }

    /// The revocation list of the device CA as the broker finds it.
    pub fn broker_crl(&self) -> PathBuf {
        self.broker().dir.join("crl").join("device-ca.crl")
    }

    /// The export of the registry.
    pub fn registry_export(&self) -> PathBuf {
        self.ca_dir().join("registry-export.jsonl")
    }

    /// The export of the registry as the broker finds it.
    pub fn broker_registry_export(&self) -> PathBuf {
        self.broker().dir.join("registry-export.jsonl")
    }

    /// The socket on which a broker that runs here is asked.
    pub fn admin_socket(&self) -> PathBuf {
        self.broker().dir.join("admin.sock")
    }

    /// The directory of the authorities' keys and the registry.
    pub(crate) fn ca_dir(&self) -> PathBuf {
        self.dir.join("ca")
    }

    pub(crate) fn registry(&self) -> PathBuf {
        self.ca_dir().join("registry.sqlite")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.ca_dir().join("lock")
    }

    pub(crate) fn authority_pem(&self, role: Role) -> PathBuf {
        self.ca_dir().join(format!("{}.pem", role.as_str()))
    }

    pub(crate) fn authority_key(&self, role: Role) -> PathBuf {
        self.ca_dir().join(format!("{}.key.pem", role.as_str()))
    }
}

impl IdentityFiles {
    /// The files in the directory `dir` of one holder.
    pub(crate) fn below(dir: PathBuf) -> Self {
        let file = |name| dir.join(name);
        Self {
            cert: file("cert.pem"),
            key: file("key.pem"),
            ca: file("ca.pem"),
            dir,
        }
    }
}
