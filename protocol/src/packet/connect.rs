//! CONNECT: a client asks for a session [MQTT 5.0 §3.1].

use super::{ForwardedProperties, QoS, UserProperties, Version};
use crate::Text;
use crate::topic::TopicName;
use bytes::Bytes;
use std::num::{NonZeroU16, NonZeroU32};

/// A CONNECT, the first packet of a client and its only one of this kind [MQTT-3.1.0-1].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// What the connection speaks from here on.
    pub version: Version,
    /// Begin anew: an existing session is discarded [MQTT-3.1.2-4].
    ///
    /// 3.1.1 calls it *clean session*, which also ends the session with the connection: such a
    /// CONNECT has [`ConnectProperties::session_expiry_interval`] 0, the other one 0xFFFFFFFF.
    pub clean_start: bool,
    /// Seconds between two packets of the client at most; 0 is for ever [MQTT 5.0 §3.1.2.10].
    pub keep_alive: u16,
    /// The client id; empty where the server shall assign one [MQTT-3.1.3-6].
    pub client_id: Text,
    /// What to publish when the connection ends unannounced.
    pub will: Option<Will>,
    /// Carried and ignored: the certificate is the identity.
    pub username: Option<Text>,
    /// Carried and ignored: the certificate is the identity.
    pub password: Option<Bytes>,
    /// What only 5.0 can say.
    pub properties: ConnectProperties,
}

/// The properties of a CONNECT; an absent one is at the default the specification gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectProperties {
    /// Seconds the session outlives the connection; `u32::MAX` is for ever. Default 0.
    pub session_expiry_interval: u32,
    /// How many QoS 1 and 2 messages the client takes at once. Default 65,535.
    pub receive_maximum: NonZeroU16,
    /// The longest packet the client takes, in bytes; `None` is no limit of its own.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// How many topic aliases the server may use. Default 0.
    pub topic_alias_maximum: u16,
    /// Whether the server may send response information. Default no.
    pub request_response_information: bool,
    /// Whether reason strings may come in any packet [MQTT-3.1.2-29]. Default yes.
    pub request_problem_information: bool,
    /// In their order.
    pub user_properties: UserProperties,
    /// Extended authentication, if it is asked for.
    pub authentication: Option<Authentication>,
}

impl Default for ConnectProperties {
    fn default() -> Self {
        Self {
            session_expiry_interval: 0,
            receive_maximum: NonZeroU16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            user_properties: UserProperties::new(),
            authentication: None,
        }
    }
}

/// Authentication method and data [MQTT 5.0 §4.12]; there is no data without a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// The method's name.
    pub method: Text,
    /// What the method defines.
    pub data: Option<Bytes>,
}

/// The will message and when it is due [MQTT 5.0 §3.1.2.5].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// The QoS it is published with.
    pub qos: QoS,
    /// Whether it is published as retained.
    pub retain: bool,
    /// Where it is published.
    pub topic: TopicName,
    /// Its payload.
    pub payload: Bytes,
    /// Seconds between the end of the connection and the will [MQTT 5.0 §3.1.3.2.2].
    pub delay_interval: u32,
    /// Seconds the published message may wait.
    pub message_expiry_interval: Option<u32>,
    /// What travels with the message unaltered.
    pub forwarded: ForwardedProperties,
}
