//! CONNACK: the server's answer to CONNECT [MQTT 5.0 §3.2].

use super::{Authentication, QoS, UserProperties};
use crate::{ReasonCode, Text};
use std::num::{NonZeroU16, NonZeroU32};

/// A CONNACK. In 3.1.1 the reason becomes one of six return codes, and the properties are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connack {
    /// Whether the server goes on with a session it kept [MQTT-3.2.2-2]; false with an error
    /// [MQTT-3.2.2-6].
    pub session_present: bool,
    /// How CONNECT ended.
    pub reason: ReasonCode,
    /// What only 5.0 can say.
    pub properties: ConnackProperties,
}

/// The properties of a CONNACK; an absent one is at the default the specification gives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a property of its own on the wire"
)]
pub struct ConnackProperties {
    /// The expiry the server uses where it differs from what was asked for.
    pub session_expiry_interval: Option<u32>,
    /// How many QoS 1 and 2 messages the server takes at once. Default 65,535.
    pub receive_maximum: NonZeroU16,
    /// The highest QoS the server takes. Default 2.
    pub maximum_qos: QoS,
    /// Whether retained messages are kept. Default yes.
    pub retain_available: bool,
    /// The longest packet the server takes, in bytes; `None` is the protocol's limit.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// The client id the server chose [MQTT-3.2.2-16].
    pub assigned_client_id: Option<Text>,
    /// How many topic aliases the client may use. Default 0.
    pub topic_alias_maximum: u16,
    /// Words for a person, where the client asked for them.
    pub reason_string: Option<Text>,
    /// In their order.
    pub user_properties: UserProperties,
    /// Whether `+` and `#` may be subscribed to. Default yes.
    pub wildcard_subscription_available: bool,
    /// Whether subscription identifiers are understood. Default yes.
    pub subscription_ids_available: bool,
    /// Whether `$share` is understood. Default yes.
    pub shared_subscription_available: bool,
    /// The keep-alive the client shall use instead of its own [MQTT-3.1.2-21].
    pub server_keep_alive: Option<u16>,
    /// A basis for response topics.
    pub response_information: Option<Text>,
    /// Another server to use.
    pub server_reference: Option<Text>,
    /// Extended authentication.
    pub authentication: Option<Authentication>,
}

impl Default for ConnackProperties {
    fn default() -> Self {
        Self {
            session_expiry_interval: None,
            receive_maximum: NonZeroU16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            maximum_packet_size: None,
            assigned_client_id: None,
            topic_alias_maximum: 0,
            reason_string: None,
            user_properties: UserProperties::new(),
            wildcard_subscription_available: true,
            subscription_ids_available: true,
            shared_subscription_available: true,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication: None,
        }
    }
}

impl Connack {
    /// A refusal without further words.
    pub fn refused(reason: ReasonCode) -> Self {
        Self {
            session_present: false,
            reason,
            properties: ConnackProperties::default(),
        }
    }
}
