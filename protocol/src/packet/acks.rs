//! PUBACK, PUBREC, PUBREL and PUBCOMP: four packets of one shape [MQTT 5.0 §3.4 to §3.7].

use super::{PacketId, UserProperties};
use crate::{ReasonCode, Text};

/// What the four packets of a delivery carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which delivery it is about.
    pub packet_id: PacketId,
    /// How it ended; always a success in 3.1.1.
    pub reason: ReasonCode,
    /// What few acknowledgements have, so that the others stay small.
    pub words: Option<Box<AckWords>>,
}

/// The properties of an acknowledgement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AckWords {
    /// Words for a person.
    pub reason_string: Option<Text>,
    /// In their order.
    pub user_properties: UserProperties,
}

impl Ack {
    /// An acknowledgement without words.
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            words: None,
        }
    }

    /// All went well.
    pub fn success(packet_id: PacketId) -> Self {
        Self::new(packet_id, ReasonCode::Success)
    }
}
