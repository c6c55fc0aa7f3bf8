//! SUBACK: a reason code for each filter of a SUBSCRIBE [MQTT 5.0 §3.9].

use super::{AckWords, PacketId};
use crate::ReasonCode;

/// A SUBACK. In 3.1.1 every error becomes 0x80.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suback {
    /// The SUBSCRIBE it answers [MQTT-3.8.4-2].
    pub packet_id: PacketId,
    /// One for each filter, in their order [MQTT-3.9.3-1].
    pub reasons: Vec<ReasonCode>,
    /// Reason string and user properties.
    pub words: Option<Box<AckWords>>,
}
