//! UNSUBACK: a reason code for each filter of an UNSUBSCRIBE [MQTT 5.0 §3.11].

use super::{AckWords, PacketId};
use crate::ReasonCode;

/// An UNSUBACK. In 3.1.1 it has no reasons: `reasons` is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsuback {
    /// The UNSUBSCRIBE it answers [MQTT-3.10.4-4].
    pub packet_id: PacketId,
    /// One for each filter, in their order [MQTT-3.11.3-1].
    pub reasons: Vec<ReasonCode>,
    /// Reason string and user properties.
    pub words: Option<Box<AckWords>>,
}
