//! What a broker for a test is started with, and the files it reads.

use super::{TestBroker, WorldError};
use provisioning::EphemeralCa;
use rustls_pki_types::{DnsName, ServerName, UnixTime};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A broker whose settings are to be chosen.
#[derive(Clone, Debug)]
#[must_use = "nothing runs before `start`"]
pub struct TestBrokerBuilder {
    policy: String,
    settings: String,
    is_durable: bool,
}

impl TestBrokerBuilder {
    pub(super) fn new() -> Self {
        Self {
            policy: broker::engine::policy::example().to_owned(),
            settings: String::new(),
            is_durable: false,
        }
    }

    /// Its policy, as it stands in a `policy.toml`. Without one, it is that of `countersign up`:
    /// devices publish below `devices/<id>/` and hear what is said to them, applications hear and
    /// say everything there.
    pub fn policy(mut self, toml: impl Into<String>) -> Self {
        self.policy = toml.into();
        self
    }

    /// Sections for its `broker.toml`, such as `[limits]`; not `[[listener]]`, `[[trust.anchor]]`,
    /// `[policy]` and `[storage]`, which are given.
    pub fn settings(mut self, toml: impl Into<String>) -> Self {
        self.settings = toml.into();
        self
    }

    /// Keeps sessions and messages on disk, so that they survive [`TestBroker::restart`] and
    /// [`TestBroker::kill`].
    pub fn durable(mut self) -> Self {
        self.is_durable = true;
        self
    }

    /// Starts it, at a free port of 127.0.0.1.
    ///
    /// # Errors
    /// [`WorldError`] names what is wrong with the settings, or what the system said.
    pub async fn start(self) -> Result<TestBroker, WorldError> {
        TestBroker::start_with(&self).await
    }

    /// Writes all that the broker reads.
    pub(super) fn write(&self, dir: &Path, ca: &EphemeralCa) -> Result<(), WorldError> {
        write_anchors(dir, ca)?;
        write_identity(dir, ca)?;
        fs::write(dir.join("policy.toml"), &self.policy)?;
        let storage = if self.is_durable {
            "[storage]\ndirectory = 'data'\n\n"
        } else {
            ""
        };
        let config = format!(
            "[[listener]]\naddress = '{}'\ncertificate = 'cert.pem'\nkey = 'key.pem'\n\n\
             [[trust.anchor]]\nfile = 'device-ca.pem'\ntrust_domain = '{}'\n\n\
             [policy]\nfile = 'policy.toml'\n\n{storage}{}\n",
            ANY_PORT,
            ca.trust_domain().as_str(),
            self.settings,
        );
        Ok(fs::write(dir.join("broker.toml"), config)?)
    }
}

/// Writes whom the broker trusts.
pub(super) fn write_anchors(dir: &Path, ca: &EphemeralCa) -> io::Result<()> {
    replace(&dir.join("device-ca.pem"), &ca.device_ca_pem())
}

/// Writes who the broker is, by a new key and certificate.
pub(super) fn write_identity(dir: &Path, ca: &EphemeralCa) -> Result<(), WorldError> {
    let identity = ca.issue_broker(&names(), UnixTime::now());
    let identity = identity.map_err(Box::new)?;
    replace(&dir.join("key.pem"), &identity.key)?;
    Ok(replace(&dir.join("cert.pem"), &identity.chain)?)
}

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The names of this machine.
fn names() -> Vec<ServerName<'static>> {
    let localhost = DnsName::try_from("localhost").ok().map(ServerName::from);
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let addresses = addresses.map(ServerName::IpAddress);
    localhost.into_iter().chain(addresses).collect()
}

/// Writes a file that a broker which runs may be reading: it sees the old one or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let next = path.with_extension("next");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&next)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&next, path)
}
