//! PUBLISH: an application message on its way [MQTT 5.0 §3.3].

use super::{ForwardedProperties, PacketId, QoS};
use crate::topic::TopicName;
use bytes::Bytes;
use std::num::NonZeroU32;

/// A subscription identifier: 1 to 268,435,455 [MQTT 5.0 §3.8.2.1.2].
pub type SubscriptionId = NonZeroU32;

/// A PUBLISH, in either direction. The payload is a part of the frame it came in, not a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Perhaps sent before; 0 at QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// With [`Self::packet_id`] if and only if it is above 0 [MQTT-2.2.1-2].
    pub qos: QoS,
    /// To be kept, or it was kept [MQTT 5.0 §3.3.1.3].
    pub retain: bool,
    /// Whole, even where an alias stood for it on the wire.
    pub topic: TopicName,
    /// Which delivery this is; present above QoS 0.
    pub packet_id: Option<PacketId>,
    /// Seconds the message may still wait [MQTT 5.0 §3.3.2.3.3].
    pub message_expiry_interval: Option<u32>,
    /// Which of the receiver's subscriptions matched; empty from a client [MQTT-3.3.4-6].
    pub subscription_ids: Vec<SubscriptionId>,
    /// What travels with the message unaltered.
    pub forwarded: ForwardedProperties,
    /// The application's bytes.
    pub payload: Bytes,
}
