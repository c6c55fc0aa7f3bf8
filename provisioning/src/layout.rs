//! Where things stand in the directory of an authority.
//!
//! Every path is made here, from fixed names and device ids, which cannot lead elsewhere.

use std::fmt;
use std::path::{Path, PathBuf};

use certs::{Kind, Role, Subject};

/// The paths below the directory of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
}

/// Which authority: its role, and its number among those of its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AuthorityId {
    pub(crate) role: Role,
    pub(crate) number: u32,
}

/// The first of its role.
impl From<Role> for AuthorityId {
    fn from(role: Role) -> Self {
        Self { role, number: 1 }
    }
}

/// What its files are called: `device-ca`, `device-ca-2`, …
impl fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role.as_str())?;
        match self.number {
            1 => Ok(()),
            number => write!(f, "-{number}"),
        }
    }
}

impl AuthorityId {
    /// The authority whose files are called so.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let of_role = |role: Role| {
            let behind = text.strip_prefix(role.as_str())?;
            let number = match behind.strip_prefix('-') {
                Some(number) => number.parse().ok()?,
                None => 1,
            };
            Some(Self { role, number })
        };
        let roles = [Role::Root, Role::DeviceCa, Role::ServerCa].into_iter();
        let mut found = roles.filter_map(of_role);
        found.find(|id| id.to_string() == text)
    }
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

    /// What brokers trust as long as there is one authority of devices: not the root.
    pub fn device_ca_pem(&self) -> PathBuf {
        self.authority_pem(Role::DeviceCa)
    }

    /// What brokers trust: every authority of devices whose certificates count.
    pub fn device_cas_pem(&self) -> PathBuf {
        self.ca_dir().join("device-cas.pem")
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

    /// The revocation list of the first device CA.
    pub fn device_ca_crl(&self) -> PathBuf {
        self.list(Role::DeviceCa)
    }

    /// The revocation list of the first device CA as the broker finds it.
    pub fn broker_crl(&self) -> PathBuf {
        self.broker_list(Role::DeviceCa)
    }

    /// The revocation list of an authority.
    pub(crate) fn list(&self, of: impl Into<AuthorityId>) -> PathBuf {
        self.ca_dir().join(format!("{}.crl", of.into()))
    }

    /// The revocation list of an authority as the broker finds it.
    pub(crate) fn broker_list(&self, of: impl Into<AuthorityId>) -> PathBuf {
        let name = format!("{}.crl", of.into());
        self.broker().dir.join("crl").join(name)
    }

    /// Everywhere the revocation list of an authority may be.
    pub(crate) fn lists(&self, of: AuthorityId) -> [PathBuf; 2] {
        [self.list(of), self.broker_list(of)]
    }

    /// The export of the registry.
    pub fn registry_export(&self) -> PathBuf {
        self.ca_dir().join("registry-export.jsonl")
    }

    /// The roots to trust, as they were exported last.
    pub fn trust_bundle(&self) -> PathBuf {
        self.ca_dir().join("trust-bundle.jsonl")
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

    pub(crate) fn authority_pem(&self, of: impl Into<AuthorityId>) -> PathBuf {
        self.ca_dir().join(format!("{}.pem", of.into()))
    }

    /// The request of an authority that waits for its certificate.
    pub(crate) fn authority_request(&self, of: impl Into<AuthorityId>) -> PathBuf {
        self.ca_dir().join(format!("{}.csr.pem", of.into()))
    }

    pub(crate) fn authority_key(&self, of: impl Into<AuthorityId>) -> PathBuf {
        self.ca_dir().join(format!("{}.key.pem", of.into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_has_files_of_its_own_and_is_found_by_their_names() {
        for (role, number, name) in [
            (Role::Root, 1, "root"),
            (Role::DeviceCa, 1, "device-ca"),
            (Role::DeviceCa, 2, "device-ca-2"),
            (Role::ServerCa, 10, "server-ca-10"),
        ] {
            let id = AuthorityId { role, number };
            assert_eq!(id.to_string(), name);
            assert_eq!(AuthorityId::parse(name), Some(id));
        }
        for name in [
            "",
            "device",
            "device-ca-",
            "device-ca-1",
            "device-ca-02",
            "device-ca-x",
            "device-ca.csr",
            "ca",
        ] {
            assert_eq!(AuthorityId::parse(name), None, "{name}");
        }
    }
}
