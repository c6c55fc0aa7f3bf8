//! UNSUBSCRIBE: a client wants no more of some filters [MQTT 5.0 §3.10].

use super::{PacketId, UserProperties};
use crate::topic::TopicFilter;

/// An UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// What the UNSUBACK refers to.
    pub packet_id: PacketId,
    /// At least one [MQTT-3.10.3-2].
    pub filters: Vec<TopicFilter>,
    /// In their order.
    pub user_properties: UserProperties,
}
