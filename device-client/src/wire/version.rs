//! The versions of MQTT that a device can speak, and what the older one cannot say.
//!
//! Whatever is asked for and cannot be said is refused by name. Nothing is left out in silence.

use crate::message::{Publish, Will};

/// A version of MQTT.
///
/// MQTT 3.1.1 is for brokers that speak no other. What it has no words for is refused: a response
/// topic, correlation data, properties of the application, requests, presence, a will that is
/// delayed, a subscription without retained messages. What it says less about means less:
///
/// - A broker that refuses a message acknowledges it all the same or closes the connection, and
///   says no reason. A subscription that is refused is refused without one.
/// - It is not told what a payload is (text, content type). A message expires while it waits here,
///   and no more.
/// - [`crate::Builder::session_expiry`] is the broker's to choose, but for [`Duration::ZERO`]: then
///   the session ends with each connection, and subscriptions are made again. Otherwise an earlier
///   session is ended, before the first connection and after the last, by a connection of its own.
/// - A broker may send more than [`crate::Builder::receive_max`]: a thousand messages beyond it are
///   held, and then the connection is given up and made again. A packet longer than
///   [`crate::Builder::packet_len_max`] ends the connection.
/// - Who takes over a session is not told of: two devices of one name drive each other out.
///
/// [`Duration::ZERO`]: std::time::Duration::ZERO
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// MQTT 5.0.
    #[default]
    V5,
    /// MQTT 3.1.1.
    V3_1_1,
}

impl Version {
    /// Whether it can say all that there is about a message; else what not.
    pub(crate) fn check_publish(self, publish: &Publish) -> Result<(), &'static str> {
        let properties = &publish.properties;
        match self {
            Self::V3_1_1 if properties.response_topic.is_some() => Err("a response topic"),
            Self::V3_1_1 if properties.correlation_data.is_some() => Err("correlation data"),
            Self::V3_1_1 if !properties.user.is_empty() => Err("a property of the application"),
            Self::V3_1_1 | Self::V5 => Ok(()),
        }
    }

    pub(crate) fn check_will(self, will: &Will) -> Result<(), &'static str> {
        match self {
            Self::V3_1_1 if !will.delay.is_zero() => Err("a will that is delayed"),
            Self::V3_1_1 | Self::V5 => self.check_publish(&will.publish),
        }
    }
}
