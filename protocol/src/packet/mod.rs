//! Every packet of MQTT, as one model for 3.1.1 and 5.0 and for both directions.
//!
//! A packet here is valid on its own; whether it may come *now* is for `connection` and
//! `delivery`. What only 5.0 has is at its default in a packet of 3.1.1. Topic aliases are not
//! part of the model: they belong to the connection, which resolves and chooses them.

mod acks;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod property;
mod publish;
mod suback;
mod subscribe;
mod unsuback;
mod unsubscribe;
mod will;

pub use acks::{Ack, AckWords};
pub use auth::Auth;
pub use connack::{Connack, ConnackProperties};
pub use connect::{Authentication, Connect, ConnectProperties};
pub use disconnect::Disconnect;
pub use property::{ForwardedParts, ForwardedProperties, PropertiesTooLong, UserProperties};
pub use publish::{Alias, Publish, PublishHead, PublishProperties, SubscriptionId};
pub use suback::Suback;
pub use subscribe::{RetainHandling, Subscribe, Subscription};
pub use unsuback::Unsuback;
pub use unsubscribe::Unsubscribe;
pub use will::Will;

use std::num::NonZeroU16;

/// The protocol version a connection speaks, fixed by its CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V311,
    /// MQTT 5.0, protocol level 5.
    V5,
}

/// How hard a message is tried [MQTT 5.0 §4.3].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: sent once, never acknowledged.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: sent until acknowledged.
    AtLeastOnce = 1,
    /// QoS 2: sent until acknowledged, delivered once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level these two bits stand for; 3 is malformed [MQTT-3.3.1-4].
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The two bits on the wire.
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

/// A packet identifier: 1 to 65,535 [MQTT-2.2.1-2] [MQTT-2.2.1-3].
pub type PacketId = NonZeroU16;

/// Any packet of MQTT.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of MQTT 5.0 table 2-1")]
pub enum Packet {
    Connect(Box<Connect>),
    Connack(Box<Connack>),
    Publish(Publish),
    Puback(Ack),
    Pubrec(Ack),
    Pubrel(Ack),
    Pubcomp(Ack),
    Subscribe(Box<Subscribe>),
    Suback(Box<Suback>),
    Unsubscribe(Box<Unsubscribe>),
    Unsuback(Box<Unsuback>),
    Pingreq,
    Pingresp,
    Disconnect(Box<Disconnect>),
    Auth(Box<Auth>),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet is moved several times between the socket and the engine.
    #[test]
    fn a_packet_stays_small() {
        assert!(size_of::<Publish>() <= 64, "{}", size_of::<Publish>());
        assert!(size_of::<Packet>() <= 64, "{}", size_of::<Packet>());
        assert!(size_of::<Ack>() <= 16, "{}", size_of::<Ack>());
    }
}
