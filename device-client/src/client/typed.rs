//! A subscription to values: what comes is decoded, and what cannot be is told of and not the end.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::Subscription;
use crate::error::SubscribeError;
use crate::message::Message;
use crate::payload::{Encoding, PayloadError};

/// The values in the messages of one topic filter.
///
/// It is a [`Stream`]. A message whose payload is no such value is an item, too: others follow it.
#[derive(Debug)]
pub struct TypedSubscription<T> {
    inner: Subscription,
    unless_said: Encoding,
    value: PhantomData<fn() -> T>,
}

/// A value, and the message in which it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received<T> {
    /// The value.
    pub value: T,
    /// The message.
    pub message: Message,
}

/// Why there is no value.
#[derive(Clone, Debug, Error)]
pub enum ReceiveError {
    /// This message holds none; others may follow.
    #[error("a message to {} holds no such value", .message.topic)]
    Payload {
        /// The message.
        message: Box<Message>,
        /// Why not.
        source: PayloadError,
    },
    /// No more will come.
    #[error(transparent)]
    Subscription(#[from] SubscribeError),
}

impl Subscription {
    /// The same as a stream of values: each payload is read by its content type or, where it has
    /// none, as `unless_said`.
    pub fn typed<T: DeserializeOwned>(self, unless_said: Encoding) -> TypedSubscription<T> {
        TypedSubscription {
            inner: self,
            unless_said,
            value: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> TypedSubscription<T> {
    /// The next value, or the next message that holds none; `None` as with [`Subscription::next`].
    ///
    /// # Errors
    /// [`ReceiveError::Payload`], after which others may follow; [`ReceiveError::Subscription`],
    /// after which there is nothing.
    pub async fn next(&mut self) -> Option<Result<Received<T>, ReceiveError>> {
        let item = self.inner.next().await?;
        Some(received(item, self.unless_said))
    }

    /// The subscription itself.
    pub fn into_inner(self) -> Subscription {
        self.inner
    }
}

impl<T: DeserializeOwned> Stream for TypedSubscription<T> {
    type Item = Result<Received<T>, ReceiveError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let unless_said = self.unless_said;
        let next = Pin::new(&mut self.inner).poll_next(context);
        next.map(|item| Some(received(item?, unless_said)))
    }
}

fn received<T: DeserializeOwned>(
    item: Result<Message, SubscribeError>,
    unless_said: Encoding,
) -> Result<Received<T>, ReceiveError> {
    let message = item?;
    match message.decode(unless_said) {
        Ok(value) => Ok(Received { value, message }),
        Err(source) => Err(ReceiveError::Payload {
            message: Box::new(message),
            source,
        }),
    }
}
