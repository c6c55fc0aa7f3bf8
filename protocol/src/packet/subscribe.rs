//! SUBSCRIBE: a client asks for messages [MQTT 5.0 §3.8].

use super::{PacketId, QoS, SubscriptionId, UserProperties};
use crate::topic::TopicFilter;

/// A SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// What the SUBACK refers to.
    pub packet_id: PacketId,
    /// At least one [MQTT-3.8.3-2].
    pub subscriptions: Vec<Subscription>,
    /// The identifier of all of them.
    pub subscription_id: Option<SubscriptionId>,
    /// In their order.
    pub user_properties: UserProperties,
}

/// One topic filter of a SUBSCRIBE and its options [MQTT 5.0 §3.8.3.1].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// What is asked for.
    pub filter: TopicFilter,
    /// The highest QoS to send with.
    pub qos: QoS,
    /// Not what this client itself publishes [MQTT-3.8.3-3]; an error with a shared filter
    /// [MQTT-3.8.3-4].
    pub no_local: bool,
    /// Keep the RETAIN flag as the publisher set it.
    pub retain_as_published: bool,
    /// Which retained messages to send at once.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent for a subscription [MQTT-3.3.1-9 to 11].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    #[default]
    Send = 0,
    /// Only where the subscription did not exist.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}
