//! A whole broker for a test: real sockets, real mutual TLS, a certificate for every device.
//!
//! It has an authority of its own, so that no device of one test can come into another, and
//! threads of its own, so that a test may block and its log is its own. It ends when it is
//! dropped.

mod error;
mod log;
mod process;
mod settings;
#[cfg(test)]
mod tests;

pub use error::WorldError;
pub use settings::TestBrokerBuilder;

use broker::server::Statistics;
use certs::admin::{Receipt, Reloaded, Revoke, Target};
use certs::{DeviceId, Kind, RevocationReason, Subject, TrustDomain, Validity};
use device_client::{Builder, Device, Identity};
use log::Log;
use process::Process;
use provisioning::{EphemeralCa, EphemeralIdentity, RotationStage};
use rustls_pki_types::UnixTime;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// A broker that runs in this process, and the authority whose devices it lets in.
///
/// ```
/// use device_client::QoS;
/// use fleet::TestBroker;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = TestBroker::start().await?;
/// let app = broker.app("dashboard").await?;
/// let mut readings = app.subscribe("devices/+/temperature", QoS::AtLeastOnce).await?;
///
/// let sensor = broker.device("sensor-1").await?;
/// sensor.publish("devices/sensor-1/temperature", "21.5", QoS::AtLeastOnce).await?;
///
/// let reading = readings.next().await.ok_or("no reading")??;
/// assert_eq!(reading.topic, "devices/sensor-1/temperature");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestBroker {
    ca: EphemeralCa,
    address: SocketAddr,
    /// One certificate each, until it is renewed.
    identities: Mutex<HashMap<Subject, Identity>>,
    log: Log,
    process: Option<Process>,
    files: TempDir,
}

impl TestBroker {
    /// Starts a broker as `countersign up` would, at a free port of 127.0.0.1, which keeps nothing
    /// on disk.
    ///
    /// # Errors
    /// [`WorldError`] says what the system refused.
    pub async fn start() -> Result<Self, WorldError> {
        Self::builder().start().await
    }

    /// A broker whose settings are to be chosen.
    pub fn builder() -> TestBrokerBuilder {
        TestBrokerBuilder::new()
    }

    async fn start_with(settings: &TestBrokerBuilder) -> Result<Self, WorldError> {
        let ca = EphemeralCa::new(TrustDomain::default(), UnixTime::now());
        let ca = ca.map_err(Box::new)?;
        let files = TempDir::with_prefix("countersign-")?;
        settings.write(files.path(), &ca)?;
        let log = Log::default();
        let process = Process::start(files.path(), None, &log).await?;
        Ok(Self {
            ca,
            address: process.address(),
            identities: Mutex::default(),
            log,
            process: Some(process),
            files,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL for [`Device::builder`].
    pub fn url(&self) -> String {
        format!("mqtts://{}", self.address)
    }

    /// A device with this id, connected. It has one certificate, however often it connects.
    ///
    /// # Errors
    /// [`WorldError::Id`] for what is no id, [`WorldError::Connect`] if the broker refuses it.
    pub async fn device(&self, id: &str) -> Result<Device, WorldError> {
        let builder = self.builder_for(self.identity(id)?)?;
        Ok(builder.connect().await?)
    }

    /// An application with this id, connected.
    ///
    /// # Errors
    /// As [`Self::device`].
    pub async fn app(&self, id: &str) -> Result<Device, WorldError> {
        let builder = self.builder_for(self.app_identity(id)?)?;
        Ok(builder.connect().await?)
    }

    /// A device whose settings are to be chosen, at this broker.
    ///
    /// # Errors
    /// Those of [`Device::builder`].
    pub fn builder_for(&self, identity: Identity) -> Result<Builder, WorldError> {
        Ok(Device::builder(&self.url(), identity)?)
    }

    /// The certificate and key of a device, made when it is first asked for.
    ///
    /// # Errors
    /// [`WorldError::Id`] for what is no id.
    pub fn identity(&self, id: &str) -> Result<Identity, WorldError> {
        self.identity_of(subject(Kind::Device, id)?)
    }

    /// The same of an application.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn app_identity(&self, id: &str) -> Result<Identity, WorldError> {
        self.identity_of(subject(Kind::App, id)?)
    }

    /// Gives a device a new key and certificate. The old ones are good until they expire.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn renew(&self, id: &str) -> Result<Identity, WorldError> {
        let subject = subject(Kind::Device, id)?;
        self.identities().remove(&subject);
        self.identity_of(subject)
    }

    /// A key and certificate for a validity of one's own, in PEM: to see what becomes of a device
    /// whose certificate is over. [`Identity`] takes none that is.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn issue(&self, id: &str, validity: Validity) -> Result<EphemeralIdentity, WorldError> {
        let issued = self.ca.issue_for(&subject(Kind::Device, id)?, validity);
        Ok(issued.map_err(Box::new)?)
    }

    /// Who signs for it.
    pub fn ca(&self) -> &EphemeralCa {
        &self.ca
    }

    /// Revokes a device: its sessions are closed when this returns, and the receipt says how many
    /// and how fast.
    ///
    /// # Errors
    /// [`WorldError::Id`] for what is no id, [`WorldError::Stopped`] without a broker.
    pub async fn revoke(&self, id: &str) -> Result<Receipt, WorldError> {
        let revoke = Revoke {
            target: Target::Device(subject(Kind::Device, id)?),
            reason: RevocationReason::KeyCompromise,
            time: None,
        };
        self.process()?.revoke(revoke).await
    }

    /// Brings new authorities for devices and for brokers to a stage in the place of those that
    /// issue, and has the broker go by it; the answer says how many sessions that closed. After
    /// [`RotationStage::Switch`] what is issued is of the new ones, the broker's own certificate
    /// too; who has a certificate keeps it until he is renewed.
    ///
    /// # Errors
    /// [`WorldError::Stopped`] without a broker.
    pub async fn rotate(&mut self, stage: RotationStage) -> Result<Reloaded, WorldError> {
        let rotated = self.ca.rotate(stage, UnixTime::now());
        rotated.map_err(Box::new)?;
        settings::write_anchors(self.files(), &self.ca)?;
        if stage == RotationStage::Switch {
            settings::write_identity(self.files(), &self.ca)?;
        }
        self.process()?.reload().await
    }

    /// What it has counted since it was started.
    ///
    /// # Errors
    /// [`WorldError::Stopped`] without a broker.
    pub fn statistics(&self) -> Result<Statistics, WorldError> {
        Ok(self.process()?.statistics())
    }

    /// What it has logged, the oldest line first.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Its files: `broker.toml`, `policy.toml` and what they name. What is changed there is seen
    /// by the running broker.
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// Stops it in good order: every client is told (0x8B).
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
    }

    /// Ends it without a word to anybody; what was not yet durable is lost.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Starts it again at the same address, with what is on its disk. Stops it before, if it runs.
    ///
    /// # Errors
    /// [`WorldError::Start`] if somebody else has its port by now, for example.
    pub async fn restart(&mut self) -> Result<(), WorldError> {
        self.stop().await;
        let address = Some(self.address);
        self.process = Some(Process::start(self.files.path(), address, &self.log).await?);
        Ok(())
    }

    fn identity_of(&self, subject: Subject) -> Result<Identity, WorldError> {
        if let Some(identity) = self.identities().get(&subject) {
            return Ok(identity.clone());
        }
        let issued = self.ca.issue(&subject, UnixTime::now()).map_err(Box::new)?;
        let identity = Identity::from_pem(
            issued.chain.as_bytes(),
            issued.key.as_bytes(),
            self.ca.root_pem().as_bytes(),
        );
        let identity = identity.map_err(Box::new)?;
        self.identities().insert(subject, identity.clone());
        Ok(identity)
    }

    fn identities(&self) -> MutexGuard<'_, HashMap<Subject, Identity>> {
        self.identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn process(&self) -> Result<&Process, WorldError> {
        self.process.as_ref().ok_or(WorldError::Stopped)
    }
}

fn subject(kind: Kind, id: &str) -> Result<Subject, WorldError> {
    match DeviceId::parse(id) {
        Ok(id) => Ok(Subject { kind, id }),
        Err(_) => Err(WorldError::Id(id.to_owned())),
    }
}
