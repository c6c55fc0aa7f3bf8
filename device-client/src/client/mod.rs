//! A device at its broker, as an application holds it.
//!
//! The handle does nothing itself: it asks the task behind it, and waits for the answer. It may be
//! cloned and shared; when the last handle and subscription are gone, so is the connection.

mod address;
mod builder;
mod deliveries;
mod driver;
mod inbox;
mod leaving;
mod opening;
mod request;
mod routes;
mod status;
mod subscription;
mod turnover;
mod typed;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{ConnectError, DisconnectError, PublishError, SubscribeError};
use crate::identity::Identity;
use crate::message::{Publish, QoS};
use crate::outbox::disk::Accepted;
use crate::outbox::{Place, Room, WhenFull};
use crate::topic;
use crate::wire::{Retained, Subscribe, Version};
use driver::{Command, Done};
use routes::Routes;

pub(crate) use address::split_port;
pub use address::{BrokerAddress, InvalidAddress};
pub use builder::{BuildError, Builder};
pub use request::{RequestError, Requester};
pub use status::{CertificateStatus, Link, Status};
pub use subscription::Subscription;
pub use typed::{ReceiveError, Received, TypedSubscription};

/// One device, connected to its broker or on its way there.
///
/// It is cheap to clone. When all clones and subscriptions are dropped, the connection is closed
/// without a word, and the broker publishes the last will; [`Device::disconnect`] leaves in good
/// order.
#[derive(Clone, Debug)]
pub struct Device {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    room: Arc<Room>,
    keeps: Keeps,
    version: Version,
    receive_max: u16,
    queue_len_max: usize,
}

/// Where messages wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    InMemory,
    OnDisk,
}

impl Device {
    /// Connects to the broker at `url` (`mqtts://host:port` or `host:port`) with the settings that
    /// suit most devices. To be called in a tokio runtime.
    ///
    /// # Errors
    /// [`BuildError`] for an address that is none, or a [`ConnectError`] in it: at once for one
    /// that waiting cannot mend, otherwise after 30 s of attempts.
    pub async fn connect(url: &str, identity: Identity) -> Result<Self, BuildError> {
        Self::builder(url, identity)?
            .connect()
            .await
            .map_err(BuildError::Connect)
    }

    /// A device whose settings are to be chosen.
    ///
    /// # Errors
    /// [`BuildError::Address`] when `url` is no address of a broker.
    pub fn builder(url: &str, identity: Identity) -> Result<Builder, BuildError> {
        Ok(Builder::new(url.parse()?, identity)?)
    }

    /// Publishes a message, and waits for the broker's acknowledgement; at quality of service 0,
    /// until it is written to the connection.
    ///
    /// Without a connection it waits for one. A message of quality of service 1 or 2 that was not
    /// acknowledged when the connection was lost is sent again. If the broker has lost the session
    /// by then, one of quality of service 2 may arrive twice. A message is sent even if nobody
    /// waits for the future any more once it was accepted.
    ///
    /// # Errors
    /// [`PublishError`]: the message is not valid, the broker refused it, or the device stopped.
    pub async fn publish(
        &self,
        topic: impl Into<String>,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> Result<(), PublishError> {
        self.publish_with(Publish::new(topic, payload).qos(qos))
            .await
    }

    /// Publishes a message with all that can be said about it, as [`Device::publish`] does.
    ///
    /// # Errors
    /// As [`Device::publish`].
    pub async fn publish_with(&self, publish: Publish) -> Result<(), PublishError> {
        self.queue(publish).await?.await
    }

    /// Accepts a message to be sent, and waits only for that: for room in the outbox and, where it
    /// is on disk, until the message is durable. The receipt says when it is acknowledged.
    ///
    /// Messages queued one after the other are sent in that order. One that a
    /// [`Builder::outbox`] on disk has accepted survives this process, at quality of service
    /// 1 and 2.
    ///
    /// # Errors
    /// As [`Device::publish`], of what can be known at once.
    pub async fn queue(&self, publish: Publish) -> Result<Receipt, PublishError> {
        publish.check()?;
        let check = self.version.check_publish(&publish);
        check.map_err(|what| PublishError::NeedsMqtt5 { what })?;
        let (answer, answered) = oneshot::channel();
        let receipt = Receipt {
            answered,
            device: self.clone(),
        };
        let Some(place) = self.place(&publish).await? else {
            let _ = answer.send(Err(PublishError::Dropped));
            return Ok(receipt);
        };
        let (accepted, accept) = match (self.keeps, publish.qos) {
            (Keeps::OnDisk, QoS::AtLeastOnce | QoS::ExactlyOnce) => {
                let (accepted, accept) = oneshot::channel();
                (Some(accepted), Some(accept))
            }
            (Keeps::InMemory, _) | (_, QoS::AtMostOnce) => (None, None),
        };
        let done = Done {
            answer: Some(answer),
            _place: Some(place),
        };
        self.command(Command::Publish {
            publish: Box::new(publish),
            accepted,
            done,
        })
        .await?;
        if let Some(accept) = accept {
            accept.await.map_err(|_| self.publish_error())??;
        }
        Ok(receipt)
    }

    /// A place in the outbox, by the rule for a full one; `None` when the message is dropped.
    async fn place(&self, publish: &Publish) -> Result<Option<Place>, PublishError> {
        let (room, len) = (&self.room, Accepted::len_on_disk(publish));
        let fits = u32::try_from(len).ok().filter(|len| *len <= room.len_max);
        let Some(fitting) = fits else {
            let len_max = usize::try_from(room.len_max).unwrap_or(usize::MAX);
            return Err(PublishError::TooLargeForOutbox { len, len_max });
        };
        loop {
            if let Some(place) = room.try_take(fitting) {
                return Ok(Some(place));
            }
            match room.when_full {
                WhenFull::Wait => {
                    let place = room.take(fitting).await;
                    return place.map(Some).ok_or_else(|| self.publish_error());
                }
                WhenFull::DropOldest if self.drop_oldest().await? => {}
                WhenFull::DropOldest | WhenFull::Refuse => {
                    room.count_refused();
                    return Err(PublishError::OutboxFull);
                }
                WhenFull::DropNewest => {
                    room.count_dropped();
                    return Ok(None);
                }
            }
        }
    }

    /// Whether there was a message that could be dropped.
    async fn drop_oldest(&self) -> Result<bool, PublishError> {
        let (answer, answered) = oneshot::channel();
        self.command(Command::DropOldest { answer }).await?;
        answered.await.map_err(|_| self.publish_error())
    }

    async fn command(&self, command: Command) -> Result<(), PublishError> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| self.publish_error())
    }

    /// Subscribes to `filter`, and waits for the broker to grant it. Retained messages come first.
    ///
    /// # Errors
    /// [`SubscribeError`]: the filter is not valid, the broker refused it, or the device stopped.
    pub async fn subscribe(
        &self,
        filter: impl Into<String>,
        qos: QoS,
    ) -> Result<Subscription, SubscribeError> {
        self.subscribe_with(filter, qos, Retained::Send).await
    }

    /// Subscribes to `filter`, with a say about retained messages.
    ///
    /// # Errors
    /// As [`Device::subscribe`].
    pub async fn subscribe_with(
        &self,
        filter: impl Into<String>,
        qos: QoS,
        retained: Retained,
    ) -> Result<Subscription, SubscribeError> {
        let filter = filter.into();
        topic::check_filter(&filter).map_err(SubscribeError::InvalidFilter)?;
        if (self.version, retained) == (Version::V3_1_1, Retained::Skip) {
            let what = "a subscription without retained messages";
            return Err(SubscribeError::NeedsMqtt5 { what });
        }
        let request = Subscribe {
            filter: filter.clone(),
            qos,
            retained,
            identifier: 0,
        };
        let (queue, items) = mpsc::channel(Routes::queue_len(self.receive_max, self.queue_len_max));
        let (answer, answered) = oneshot::channel();
        let command = Command::Subscribe {
            request,
            items: queue,
            answer,
        };
        self.commands
            .send(command)
            .await
            .map_err(|_| self.subscribe_error())?;
        let granted = answered.await.map_err(|_| self.subscribe_error())??;
        let commands = self.commands.clone();
        Ok(Subscription {
            filter,
            granted: granted.qos,
            items,
            route: granted.id,
            commands,
        })
    }

    /// Leaves in good order: waits up to `within` for messages to be acknowledged, then says
    /// goodbye, so that no will is published. Nothing more is accepted meanwhile.
    ///
    /// # Errors
    /// [`DisconnectError`]: some messages were not acknowledged in time, or the device had stopped.
    pub async fn disconnect(&self, within: Duration) -> Result<(), DisconnectError> {
        let (answer, answered) = oneshot::channel();
        if self
            .commands
            .send(Command::Disconnect { within, answer })
            .await
            .is_err()
        {
            return self.has_left();
        }
        answered.await.unwrap_or_else(|_| self.has_left())
    }

    /// How the device stands with its broker.
    pub fn status(&self) -> Status {
        self.counted(self.status.borrow().clone())
    }

    /// Waits for the connection to change, and says how it is then; `None` when the device has
    /// disconnected or stopped.
    pub async fn status_changed(&mut self) -> Option<Status> {
        self.status.changed().await.ok()?;
        let status = self.status.borrow_and_update().clone();
        Some(self.counted(status))
    }

    fn counted(&self, status: Status) -> Status {
        Status {
            outbox: self.room.counts(),
            ..status
        }
    }

    fn has_left(&self) -> Result<(), DisconnectError> {
        self.stopped()
            .map_or(Ok(()), |cause| Err(DisconnectError::Stopped(cause)))
    }

    fn publish_error(&self) -> PublishError {
        self.stopped()
            .map_or(PublishError::Disconnected, PublishError::Stopped)
    }

    fn subscribe_error(&self) -> SubscribeError {
        self.stopped()
            .map_or(SubscribeError::Disconnected, SubscribeError::Stopped)
    }

    fn stopped(&self) -> Option<ConnectError> {
        match &self.status.borrow().link {
            Link::Stopped { cause } => Some(cause.clone()),
            _ => None,
        }
    }
}

/// A message that was accepted; ready when it is acknowledged.
///
/// The message is sent whether or not somebody waits for its receipt.
#[derive(Debug)]
#[must_use = "without its receipt nobody knows whether the message was acknowledged"]
pub struct Receipt {
    answered: oneshot::Receiver<Result<(), PublishError>>,
    /// Keeps the device connected until then.
    device: Device,
}

impl Future for Receipt {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(Pin::new(&mut self.answered).poll(context));
        Poll::Ready(answer.unwrap_or_else(|_| Err(self.device.publish_error())))
    }
}

#[cfg(test)]
mod tests;
