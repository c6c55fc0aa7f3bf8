//! Input: everything that can happen to the engine.
//!
//! A new kind of thing that happens is a new variant here, and a new verb file that decides.

use super::brakes::Pressure;
use super::effect::{Forward, ForwardsTaken};
use super::limits::Limits;
use super::message::Message;
use super::policy::{Credentials, Policy};
use super::record::{MessageNumber, SessionNumber};
use certs::{Standing, VerifiedDevice};
use protocol::ProtocolError;
use protocol::packet::{Connect, Packet};
use std::net::SocketAddr;
use std::sync::Arc;

/// One network connection, from its acceptance to its end. Never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A verified device has sent its CONNECT. The first input of every connection.
    Connect(Box<Arrival>),
    /// An open connection has sent packets. CONNECT and PINGREQ never come this way.
    Packets {
        /// Who sent them.
        connection: ConnectionId,
        /// What it sent, in its order, topic aliases resolved.
        packets: Vec<Packet>,
    },
    /// The peer of an open connection sent what is no MQTT. Its last input.
    Broke {
        /// Which one.
        connection: ConnectionId,
        /// What was wrong.
        error: ProtocolError,
    },
    /// A connection ended without DISCONNECT: the network failed or the keep-alive ran out. The
    /// will is due.
    Lost {
        /// Which one.
        connection: ConnectionId,
    },
    /// The outbox of a connection had no room for a message at QoS 0. Until all that is in it
    /// has been sent, the connection is given no more of them: they would be written in vain.
    Full {
        /// Which one.
        connection: ConnectionId,
    },
    /// A connection has sent all it was given, after [`Speech::asks_drained`] had asked.
    ///
    /// [`Speech::asks_drained`]: super::Speech::asks_drained
    Drained {
        /// Which one.
        connection: ConnectionId,
    },
    /// Another shard has a message for our sessions.
    Forward(Forward),
    /// Another shard has taken what we forwarded, and will never lose it.
    ForwardsTaken(ForwardsTaken),
    /// The log has what was asked for by [`Effects::loads`].
    ///
    /// [`Effects::loads`]: super::Effects::loads
    Loaded {
        /// For which session.
        session: SessionNumber,
        /// In the order in which they were asked for. Those that were settled since may be
        /// missing, and only those.
        messages: Vec<(MessageNumber, Arc<Message>)>,
    },
    /// The disk has become nearly full, or has room again.
    Storage(Room),
    /// The process has become short of memory, or has enough again.
    Memory(Pressure),
    /// A policy was loaded; it judges everything from here on.
    Policy(Arc<Policy>),
    /// Other limits hold for what comes from here on.
    Limits(Box<Limits>),
    /// Whom we trust has changed: everybody who is here is judged anew.
    Standing(Verdicts),
    /// Time has passed: [`Engine::deadline`] is reached.
    ///
    /// [`Engine::deadline`]: super::Engine::deadline
    Tick,
    /// The broker stops: every connection is told so (0x8B) and closed, in good order.
    Shutdown,
}

/// By what devices are judged, and what becomes of what those leave that go for it.
#[derive(Clone, Debug)]
pub struct Verdicts {
    /// Rises with each. [`Effects::judged`] says when it is heeded.
    ///
    /// [`Effects::judged`]: super::Effects::judged
    pub version: u64,
    /// Whom we trust.
    pub standing: Arc<Standing>,
    /// What becomes of will and session.
    pub leaves: Leaves,
}

/// What becomes of the will and the session of somebody who may not be here any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaves {
    /// Whether the will is published; otherwise nobody gets it.
    pub publishes_will: bool,
    /// Whether the session ends, with all that waits for it; otherwise it waits for its device to
    /// come with another certificate.
    pub ends_session: bool,
}

/// How much room the log has. The greater, the less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// For everything.
    #[default]
    Enough,
    /// For what is owed already, in the reserve.
    Full,
    /// For what makes room again: the reserve is nearly used up.
    Exhausted,
}

/// A device at the door.
#[derive(Debug)]
pub struct Arrival {
    /// The connection it came on.
    pub connection: ConnectionId,
    /// Who it is. Only the identity gate can make one.
    pub device: VerifiedDevice,
    /// What it asks for.
    pub connect: Connect,
    /// From where it came, where that has an address.
    pub peer: Option<SocketAddr>,
    /// The name of the listener it came to, where that has one.
    pub listener: Option<Arc<str>>,
    /// Differs in every arrival and cannot be guessed: the engine has no randomness of its own.
    pub nonce: u64,
}

impl Arrival {
    /// What rules may ask of it.
    pub(super) fn credentials(&self) -> Credentials {
        Credentials {
            listener: self.listener.clone(),
            ..Credentials::of(&self.device)
        }
    }
}
