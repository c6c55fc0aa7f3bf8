//! A subscription as the application holds it: a stream of messages.
//!
//! A message of quality of service 1 or 2 is acknowledged when it is taken from the stream. Who
//! does not read holds the broker's window, not our memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;

use super::deliveries::Delivery;
use super::driver::Command;
use crate::error::SubscribeError;
use crate::message::{Message, QoS};

/// The messages of one topic filter.
///
/// It is a [`Stream`] that outlives lost connections: the subscription is made again when the
/// broker forgot it. It ends with an error when the broker refuses it then, or when the device
/// stops; it ends without one when the application disconnects the device. When it is dropped, the
/// broker is asked for no more messages once another comes.
#[derive(Debug)]
pub struct Subscription {
    pub(super) filter: String,
    pub(super) granted: QoS,
    pub(super) items: mpsc::Receiver<Item>,
    pub(super) route: u32,
    /// Keeps the device connected as long as somebody reads.
    pub(super) commands: mpsc::Sender<Command>,
}

/// A message on its way to the application, or why no more will come.
pub(super) type Item = Result<(Message, Option<Arc<Claim>>), SubscribeError>;

/// While one is held, the message is not acknowledged.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) delivery: Delivery,
    /// Unbounded, and bounded by how many messages fit into the streams.
    pub(super) taken: mpsc::UnboundedSender<Delivery>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Without a device nothing can be acknowledged: the broker will send it again.
        let _ = self.taken.send(self.delivery);
    }
}

impl Subscription {
    /// What was subscribed.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// The quality of service the broker granted, which may be lower than the one asked for.
    pub fn granted_qos(&self) -> QoS {
        self.granted
    }

    /// The next message; `None` when the device was disconnected or the subscription given up.
    ///
    /// # Errors
    /// [`SubscribeError`] says why no more will come; after it there is nothing.
    pub async fn next(&mut self) -> Option<Result<Message, SubscribeError>> {
        self.items.recv().await.map(taken)
    }

    /// Gives the subscription up. What has already come can still be read.
    pub async fn unsubscribe(&self) {
        let _ = self
            .commands
            .send(Command::Unsubscribe { route: self.route })
            .await;
    }
}

impl Stream for Subscription {
    type Item = Result<Message, SubscribeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_recv(context).map(|item| item.map(taken))
    }
}

fn taken(item: Item) -> Result<Message, SubscribeError> {
    item.map(|(message, _claim)| message)
}
