//! Properties that several packets share.

use crate::{Text, topic::TopicName};
use bytes::Bytes;

/// User properties: names and values in the order they were given [MQTT-3.1.3-10].
pub type UserProperties = Vec<(Text, Text)>;

/// The properties of a message that a server passes on unaltered [MQTT-3.3.2-4] [MQTT-3.3.2-15]
/// [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20]: checked once, then kept as the bytes they are
/// on the wire, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedProperties {
    block: Bytes,
}

/// The same, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedParts {
    /// Whether the payload is UTF-8 [MQTT 5.0 §3.3.2.3.2].
    pub payload_is_utf8: Option<bool>,
    /// What the payload is.
    pub content_type: Option<Text>,
    /// Where an answer is expected.
    pub response_topic: Option<TopicName>,
    /// What marks the answer.
    pub correlation_data: Option<Bytes>,
    /// In their order.
    pub user_properties: UserProperties,
}
