//! Where the devices of a run come from: a broker of our own with its authority, or somebody's
//! broker and a directory of certificates.

use super::{At, RunError};
use crate::TestBroker;
use crate::device::{APP_ID, Target, Tls};
use crate::host::server_name;
use crate::load::Identities;
use certs::{DeviceId, Kind, Subject, Validity};
use provisioning::{EphemeralIdentity, RotationStage};
use rustls::ClientConfig;
use rustls_pki_types::UnixTime;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The world of a run.
#[derive(Debug)]
pub(crate) struct World {
    tls: Tls,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The broker is written only to be ended and started.
    Own(Box<RwLock<TestBroker>>),
    Given(Identities),
}

/// When a certificate is good that is not good now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Past,
    Future,
}

impl World {
    /// A world around this broker.
    pub(super) fn own(broker: TestBroker) -> Result<Self, RunError> {
        let tls = Tls::new(broker.ca().root_pem().as_bytes());
        Ok(Self {
            tls: tls.map_err(unusable("the broker"))?,
            source: Source::Own(Box::new(RwLock::new(broker))),
        })
    }

    /// The certificates of a directory.
    pub(super) fn given(dir: &Path, devices: usize) -> Result<Self, RunError> {
        let identities = Identities::find(dir)?;
        let there = identities.device_dirs().len();
        if there < devices {
            return Err(RunError::TooFewIdentities {
                dir: dir.to_owned(),
                there,
                asked: devices,
            });
        }
        let roots = read(&identities.app_dir().join("ca.pem"))?;
        Ok(Self {
            tls: Tls::new(&roots).map_err(unusable(APP_ID))?,
            source: Source::Given(identities),
        })
    }

    /// The id of each device.
    pub(super) fn ids(&self, devices: usize) -> Vec<Box<str>> {
        match &self.source {
            Source::Own(_) => (1..=devices).map(|n| format!("dev-{n}").into()).collect(),
            Source::Given(identities) => identities
                .device_dirs()
                .iter()
                .take(devices)
                .map(|dir| dir.file_name().unwrap_or_default().to_string_lossy().into())
                .collect(),
        }
    }

    pub(super) async fn device(&self, id: &str) -> Result<Arc<ClientConfig>, RunError> {
        self.identity(Kind::Device, id).await
    }

    pub(crate) async fn app(&self) -> Result<Arc<ClientConfig>, RunError> {
        self.identity(Kind::App, APP_ID).await
    }

    /// A new key and certificate of a device.
    pub(crate) async fn renewed(&self, id: &str) -> Result<Arc<ClientConfig>, RunError> {
        self.device(id).await
    }

    /// Brings the authorities that follow those of our broker to a stage.
    pub(super) async fn rotate(&self, stage: RotationStage) -> Result<(), RunError> {
        if let Some(mut broker) = self.broker_alone().await {
            broker.rotate(stage).await?;
        }
        Ok(())
    }

    /// A certificate of a device that was good once, or will be.
    pub(crate) async fn out_of_time(
        &self,
        id: &str,
        span: Span,
    ) -> Option<Result<Arc<ClientConfig>, RunError>> {
        let broker = self.broker().await?;
        let issued = broker.issue(id, span.validity(UnixTime::now()));
        let issued = issued.map_err(RunError::from);
        Some(issued.and_then(|issued| self.bring(id, &issued)))
    }

    /// Our broker, if it is ours.
    pub(crate) async fn broker(&self) -> Option<RwLockReadGuard<'_, TestBroker>> {
        match &self.source {
            Source::Own(broker) => Some(broker.read().await),
            Source::Given(_) => None,
        }
    }

    /// The same, to end and start it.
    pub(super) async fn broker_alone(&self) -> Option<RwLockWriteGuard<'_, TestBroker>> {
        match &self.source {
            Source::Own(broker) => Some(broker.write().await),
            Source::Given(_) => None,
        }
    }

    /// What our broker dropped because a queue was full, since it was last started.
    pub(super) async fn dropped(&self) -> Option<u64> {
        let statistics = self.broker().await?.statistics().ok()?;
        let engines = statistics.engines.iter();
        Some(engines.map(|engine| engine.dropped_queue_full).sum())
    }

    pub(super) fn is_ours(&self) -> bool {
        matches!(self.source, Source::Own(_))
    }

    async fn identity(&self, kind: Kind, id: &str) -> Result<Arc<ClientConfig>, RunError> {
        match &self.source {
            Source::Own(broker) => {
                let broker = broker.read().await;
                let wrong = |_| crate::WorldError::Id(id.to_owned());
                let id = DeviceId::parse(id).map_err(wrong)?;
                let subject = Subject { kind, id };
                let issued = broker.ca().issue(&subject, UnixTime::now());
                let issued = issued.map_err(|error| crate::WorldError::from(Box::new(error)))?;
                self.bring(subject.id.as_str(), &issued)
            }
            Source::Given(identities) => {
                let dir = match kind {
                    Kind::App => identities.app_dir().to_owned(),
                    Kind::Device => identities.device_dir(id),
                };
                let (chain, key) = (read(&dir.join("cert.pem"))?, read(&dir.join("key.pem"))?);
                self.tls.device(&chain, &key).map_err(unusable(id))
            }
        }
    }

    fn bring(&self, id: &str, issued: &EphemeralIdentity) -> Result<Arc<ClientConfig>, RunError> {
        let (chain, key) = (issued.chain.as_bytes(), issued.key.as_bytes());
        self.tls.device(chain, key).map_err(unusable(id))
    }
}

impl Span {
    fn validity(self, now: UnixTime) -> Validity {
        let now = now.as_secs();
        let (from, to) = match self {
            Self::Past => (now - 180, now - 60),
            Self::Future => (now + 3600, now + 7200),
        };
        let time = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        Validity {
            not_before: time(from),
            not_after: time(to),
        }
    }
}

/// Where the broker is that a run is against.
pub(super) async fn target(at: &At, world: &World) -> Result<Target, RunError> {
    let address = match at {
        At::Given { address, .. } => address.clone(),
        At::Own => match world.broker().await {
            Some(broker) => broker.address().to_string(),
            None => String::new(),
        },
    };
    let wrong = || RunError::Address(address.clone());
    let name = server_name(&address).ok_or_else(wrong)?;
    let found = lookup_host(&address).await;
    let mut found = found.map_err(|source| RunError::Lookup {
        address: address.clone(),
        source,
    })?;
    let address = found.next().ok_or_else(wrong)?;
    Ok(Target { address, name })
}

fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    std::fs::read(path).map_err(|source| RunError::File {
        path: path.to_owned(),
        source,
    })
}

fn unusable(id: &str) -> impl FnOnce(crate::device::Unusable) -> RunError {
    let id = id.to_owned();
    |source| RunError::Unusable { id, source }
}
