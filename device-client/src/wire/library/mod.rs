//! What is needed of a library that speaks MQTT, whichever version.
//!
//! Its words are turned into ours here, so that one engine drives each of them. A poll of it is
//! never dropped half-way, because it may lose what it was writing.

mod v3_1_1;
mod v5;

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::adopt::Adopted;
use super::engine::Attempt;
use super::settings::Settings;
use super::version::Version;
use super::{Failure, Incoming, Leave, Receipt, Subscribe, Unsendable};
use crate::error::ConnectError;
use crate::message::{Publish, QoS};

pub(crate) use v3_1_1::V3_1_1;
pub(crate) use v5::V5;

/// The longest packet there can be (MQTT 5.0 §2.1.4).
const PACKET_LEN_MAX: usize = 268_435_460;

/// Requests that are written with one flush.
const REQUEST_BATCH_MAX: usize = 32;

/// More of a broker's own words than this is not kept.
const TEXT_LEN_MAX: usize = 200;

/// One client of a broker, which connects when it is polled.
pub(crate) trait Library: Sized + Send + 'static {
    const VERSION: Version;

    type Asker: Asker;

    /// One that is not connected, and gives its messages packet ids up to `packet_id_max`.
    fn start(settings: &Settings, packet_id_max: u16, session: Adopted) -> (Self::Asker, Self);

    /// What the next connection is made with.
    fn prepare(&mut self, attempt: &Attempt);

    /// The session that was adopted is its own from now on.
    fn own_session(&mut self);

    /// Something happens at least this often on a connection that is alive: a ping goes out.
    fn silence_max(&self) -> Duration;

    fn poll(&mut self) -> impl Future<Output = Result<Heard, Lost>> + Send;

    /// Gives the connection up.
    fn clean(&mut self);
}

/// What it is asked from outside of its task. Answers come when it is polled; there are none where
/// it has stopped.
pub(crate) trait Asker: Clone + Send + 'static {
    type Packet;

    fn packet(publish: &Publish) -> Self::Packet;

    /// How long it is on the wire.
    fn len(packet: &Self::Packet) -> usize;

    fn publish(&self, topic: &str, packet: Self::Packet) -> Option<Answer<()>>;

    /// With its identifier, if the broker can do that.
    fn subscribe(&self, request: &Subscribe, identifier: Option<u32>) -> Option<Answer<QoS>>;

    fn unsubscribe(&self, filter: &str);

    fn acknowledge(&self, receipt: Receipt);

    fn leave(&self, leave: Leave);
}

pub(super) type Answer<T> = BoxFuture<'static, Result<T, Failure>>;

/// What a library hears.
pub(crate) enum Heard {
    Welcome(Welcome),
    Message(Box<Incoming>),
    /// The last word on the message under this packet id.
    Answer(u16, Result<(), Failure>),
    /// We have said goodbye.
    Left,
    Nothing,
}

/// A connection that stands, and what the broker can bear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Welcome {
    pub(super) session_present: bool,
    pub(super) receive_max: u16,
    pub(super) limits: Limits,
}

/// Why there is no connection, or not any more.
pub(crate) struct Lost {
    pub(super) error: ConnectError,
    pub(super) condition: Condition,
}

/// Whether a library can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Sound,
    /// It would send again what it cannot send.
    Spoiled,
}

/// What the broker of a connection can bear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    packet_len_max: usize,
    qos_max: QoS,
    retain: bool,
    pub(super) subscription_identifiers: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_len_max: PACKET_LEN_MAX,
            qos_max: QoS::ExactlyOnce,
            retain: true,
            subscription_identifiers: true,
        }
    }
}

impl Limits {
    /// What the broker would close the connection over is not sent.
    pub(super) fn check(&self, publish: &Publish, len: usize) -> Result<(), Unsendable> {
        if len > self.packet_len_max {
            return Err(Unsendable::TooLarge {
                len,
                len_max: self.packet_len_max,
            });
        }
        if publish.qos > self.qos_max {
            return Err(Unsendable::QosNotSupported);
        }
        if publish.retain && !self.retain {
            return Err(Unsendable::RetainNotSupported);
        }
        Ok(())
    }
}

fn broke_protocol(error: &dyn std::error::Error) -> ConnectError {
    ConnectError::Protocol {
        what: plain(&error.to_string(), TEXT_LEN_MAX),
    }
}

/// What a broker wrote, fit for a line of a log.
pub(super) fn plain(text: &str, len_max: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(len_max)
        .collect()
}
