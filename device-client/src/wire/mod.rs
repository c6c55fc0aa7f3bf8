//! Between us and the library that speaks MQTT: what we ask of it, and what it tells us.
//!
//! No type of a library goes beyond its folder, so that another can stand in for it (MQTT 3.1.1, a
//! test). A wire connects when told and never by itself; what is handed to it is answered
//! under the same ticket, or has to be handed over again when it comes [`Event::Up`] without it.

mod adopt;
mod engine;
mod forgetting;
mod gated;
mod ledger;
mod library;
mod over_library;
mod overheard;
mod settings;
#[cfg(test)]
mod tests;
mod version;

use std::time::Duration;

use crate::error::ConnectError;
use crate::identity::Identity;
use crate::message::{Message, Publish, QoS};
use crate::reason_code::ReasonCode;
pub(crate) use crate::reconnect::Broker;

pub(crate) use gated::Farewell;
pub(crate) use ledger::{Ledger, Restored};
pub(crate) use library::{Library, V3_1_1, V5};
pub(crate) use over_library::OverLibrary;
pub(crate) use overheard::Overheard;
pub(crate) use settings::{Bearer, FirstSession, Settings, Whereto};
pub use version::Version;

/// One device's side of MQTT. There is one connection at a time, and none at first.
pub(crate) trait Wire: Send + 'static {
    /// Starts one attempt to connect to this broker; [`Event::Up`] or [`Event::Down`] says how it
    /// went.
    fn connect(&mut self, broker: &Broker);

    /// Sends a message, or says why it can never be sent on this connection.
    fn publish(&mut self, ticket: Ticket, publish: &Publish) -> Result<(), Unsendable>;

    /// Asks for the messages of a filter.
    fn subscribe(&mut self, ticket: Ticket, request: &Subscribe);

    /// Gives up the messages of a filter.
    fn unsubscribe(&mut self, filter: &str);

    /// Says that a message has been taken care of. Only for messages of this connection.
    fn acknowledge(&mut self, receipt: Receipt);

    /// Makes connections as `identity` from the next one on.
    fn renew(&mut self, identity: Identity);

    /// Ends this connection in good order and keeps the session; [`Event::Down`] follows. What is
    /// under way goes on with the next connection.
    fn hang_up(&mut self);

    /// Leaves in good order; [`Event::Closed`] or [`Event::Down`] follows.
    fn close(&mut self, leave: Leave);

    /// What happened next. Nothing is lost when the future is dropped before it is ready.
    fn next(&mut self) -> impl Future<Output = Event> + Send;
}

/// Under which an answer comes back. One thing handed over twice has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    /// What was handed over.
    pub(crate) id: u64,
    /// For the how manyth time.
    pub(crate) turn: u32,
}

/// A subscription as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscribe {
    pub(crate) filter: String,
    pub(crate) qos: QoS,
    pub(crate) retained: Retained,
    /// Comes back with each message, where the broker can do that.
    pub(crate) identifier: u32,
}

/// Which retained messages a new subscription is sent (MQTT 5.0 §3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retained {
    /// All that match.
    #[default]
    Send,
    /// None.
    Skip,
}

/// How an incoming message is known to the broker until we acknowledge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) packet_id: u16,
    pub(crate) qos: QoS,
}

/// How to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leave {
    pub(crate) session: SessionAfter,
    /// Whether acknowledgements still under way are waited for, and how long.
    pub(crate) wait: Option<Duration>,
    pub(crate) will: WillAfter,
}

/// What becomes of the will when we leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WillAfter {
    /// It is forgotten.
    Forgotten,
    /// The broker publishes it as if we had gone without a word.
    Published,
}

/// What becomes of the session when we leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionAfter {
    /// The broker keeps it for as long as was agreed.
    Kept,
    /// It ends with us.
    Ended,
}

/// What a wire tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// Connected.
    Up(Session),
    /// Not connected, or not any more.
    Down(ConnectError),
    /// A message was answered.
    Published(Ticket, Result<(), Failure>),
    /// A subscription was answered, with the quality of service that was granted.
    Subscribed(Ticket, Result<QoS, Failure>),
    /// A message came.
    Message(Incoming),
    /// We have left.
    Closed,
}

/// What stood ready at the broker when we came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// Nothing: whatever was handed over is forgotten on both sides.
    New,
    /// Subscriptions and messages that wait, of an earlier wire; what was handed to this one it
    /// does not know.
    Adopted,
    /// The same, and what an outbox on disk had kept of it is being sent, under the tickets it was
    /// given.
    Restored,
    /// All of it: what was handed over is being sent, under the same ticket.
    Resumed,
}

/// Why something handed over was not done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// The broker refused it.
    Refused(ReasonCode),
    /// It was forgotten before it was answered; it may be handed over again.
    Forgotten,
    /// The connection was lost while it was being sent, and it must not be sent twice.
    MaybeSent,
}

/// Why a message cannot be sent on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsendable {
    TooLarge {
        len: usize,
        len_max: usize,
    },
    QosNotSupported,
    RetainNotSupported,
    /// MQTT 3.1.1 cannot say this.
    NeedsMqtt5 {
        what: &'static str,
    },
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) message: Message,
    /// Of the subscriptions it came for.
    pub(crate) identifiers: Vec<u32>,
    /// Absent at quality of service 0.
    pub(crate) receipt: Option<Receipt>,
}
