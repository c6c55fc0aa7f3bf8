//! A device for programs that have no async runtime: each call waits for its answer.
//!
//! All devices of a process share one thread, which is started with the first of them and does
//! what is under way while nobody calls. Nothing here may be called in an async task: it would keep
//! others from running, and panics.
//!
//! ```no_run
//! use device_client::{Identity, QoS, blocking};
//!
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity::open("certs/dev/devices/dev-1")?;
//! let device = blocking::Device::connect("mqtts://localhost:8883", identity)?;
//! let commands = device.subscribe("devices/dev-1/commands/#", QoS::AtLeastOnce)?;
//! device.publish("devices/dev-1/state", "awake", QoS::AtLeastOnce)?;
//! for command in commands {
//!     println!("{}", command?.topic);
//! }
//! # Ok(())
//! # }
//! ```

use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;

use crate::client::{self, BuildError, Builder, Status};
use crate::error::{DisconnectError, PublishError, SubscribeError};
use crate::identity::Identity;
use crate::message::{Message, Publish, QoS};
use crate::renewal::{EnrolError, Enrolment};

/// One device, connected to its broker or on its way there: as [`crate::Device`], and each call
/// waits.
#[derive(Clone, Debug)]
pub struct Device {
    inner: client::Device,
    runtime: &'static Runtime,
}

/// A message that was accepted: as [`crate::Receipt`].
#[derive(Debug)]
#[must_use = "without its receipt nobody knows whether the message was acknowledged"]
pub struct Receipt {
    inner: client::Receipt,
    runtime: &'static Runtime,
}

/// The messages of one topic filter, to be iterated over: as [`crate::Subscription`].
#[derive(Debug)]
pub struct Subscription {
    inner: client::Subscription,
    runtime: &'static Runtime,
}

/// The one of all devices.
fn runtime() -> Result<&'static Runtime, Arc<io::Error>> {
    static SHARED: LazyLock<Result<Runtime, Arc<io::Error>>> = LazyLock::new(|| {
        let mut builder = runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("device-client");
        builder.enable_all().build().map_err(Arc::new)
    });
    SHARED.as_ref().map_err(Arc::clone)
}

impl Builder {
    /// Connects as [`Builder::connect`] does, for a program that has no async runtime.
    ///
    /// # Errors
    /// [`BuildError::Connect`] as there, or [`BuildError::Thread`].
    pub fn connect_blocking(self) -> Result<Device, BuildError> {
        let runtime = runtime().map_err(BuildError::Thread)?;
        let inner = runtime.block_on(self.connect());
        Ok(Device {
            inner: inner.map_err(BuildError::Connect)?,
            runtime,
        })
    }
}

/// As [`Identity::open_or_enrol`].
///
/// # Errors
/// As there; [`EnrolError::Key`] when there is no thread for it.
pub fn open_or_enrol(
    directory: impl AsRef<Path>,
    enrolment: &Enrolment,
) -> Result<Identity, EnrolError> {
    let runtime = runtime().map_err(|why| EnrolError::Key {
        what: why.to_string(),
    })?;
    runtime.block_on(Identity::open_or_enrol(directory, enrolment))
}

impl Device {
    /// As [`crate::Device::connect`].
    ///
    /// # Errors
    /// As there, or [`BuildError::Thread`].
    pub fn connect(url: &str, identity: Identity) -> Result<Self, BuildError> {
        client::Device::builder(url, identity)?.connect_blocking()
    }

    /// As [`crate::Device::publish`].
    ///
    /// # Errors
    /// As there.
    pub fn publish(
        &self,
        topic: impl Into<String>,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> Result<(), PublishError> {
        self.publish_with(Publish::new(topic, payload).qos(qos))
    }

    /// As [`crate::Device::publish_with`].
    ///
    /// # Errors
    /// As there.
    pub fn publish_with(&self, publish: Publish) -> Result<(), PublishError> {
        self.runtime.block_on(self.inner.publish_with(publish))
    }

    /// As [`crate::Device::queue`].
    ///
    /// # Errors
    /// As there.
    pub fn queue(&self, publish: Publish) -> Result<Receipt, PublishError> {
        let inner = self.runtime.block_on(self.inner.queue(publish))?;
        let runtime = self.runtime;
        Ok(Receipt { inner, runtime })
    }

    /// As [`crate::Device::subscribe`].
    ///
    /// # Errors
    /// As there.
    pub fn subscribe(
        &self,
        filter: impl Into<String>,
        qos: QoS,
    ) -> Result<Subscription, SubscribeError> {
        let inner = self.runtime.block_on(self.inner.subscribe(filter, qos))?;
        let runtime = self.runtime;
        Ok(Subscription { inner, runtime })
    }

    /// As [`crate::Device::disconnect`].
    ///
    /// # Errors
    /// As there.
    pub fn disconnect(&self, within: Duration) -> Result<(), DisconnectError> {
        self.runtime.block_on(self.inner.disconnect(within))
    }

    /// How the device stands with its broker.
    pub fn status(&self) -> Status {
        self.inner.status()
    }

    /// The device as async tasks hold it.
    pub fn as_async(&self) -> &client::Device {
        &self.inner
    }
}

impl Receipt {
    /// Waits until the message is acknowledged.
    ///
    /// # Errors
    /// As [`crate::Device::publish`].
    pub fn wait(self) -> Result<(), PublishError> {
        self.runtime.block_on(self.inner)
    }
}

impl Subscription {
    /// The next message, if it comes within this time; the inner `None` is the end, as of
    /// [`crate::Subscription::next`].
    ///
    /// # Errors
    /// As there.
    pub fn next_within(
        &mut self,
        time: Duration,
    ) -> Option<Option<Result<Message, SubscribeError>>> {
        let next = async { timeout(time, self.inner.next()).await.ok() };
        self.runtime.block_on(next)
    }

    /// The subscription as async tasks hold it.
    pub fn as_async(&self) -> &client::Subscription {
        &self.inner
    }

    /// Gives the subscription up. What has already come can still be read.
    pub fn unsubscribe(&self) {
        self.runtime.block_on(self.inner.unsubscribe());
    }
}

impl Iterator for Subscription {
    type Item = Result<Message, SubscribeError>;

    /// Waits for it.
    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.inner.next())
    }
}
