//! Messages, going out and coming in, with their properties (MQTT 5.0 §3.3).
//!
//! Nothing here is of the library below: what an application holds stays the same whichever speaks
//! to the broker.

use std::time::Duration;

use bytes::Bytes;

use crate::error::PublishError;
use crate::topic;

/// Texts and binary data of a property are counted in two octets (MQTT 5.0 §1.5.4, §1.5.6).
const PROPERTY_LEN_MAX: usize = 65_535;

/// How surely a message arrives (MQTT 5.0 §4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QoS {
    /// Sent once, never again.
    #[default]
    AtMostOnce,
    /// Sent until it is acknowledged; may arrive twice.
    AtLeastOnce,
    /// Arrives once, at the cost of a second round trip.
    ExactlyOnce,
}

impl QoS {
    /// The number on the wire.
    pub const fn level(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    /// The quality of service with this number.
    pub const fn from_level(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// What can be said about a message besides its topic and payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Properties {
    /// The payload is UTF-8 text.
    pub is_text: bool,
    /// What the payload is, for instance `application/json`.
    pub content_type: Option<String>,
    /// Where an answer is awaited.
    pub response_topic: Option<String>,
    /// What an answer must carry, so that it is known for one.
    pub correlation_data: Option<Bytes>,
    /// After this time the broker delivers the message to nobody any more.
    pub expiry: Option<Duration>,
    /// Names and values of the application, in this order; a name may occur more than once.
    pub user: Vec<(String, String)>,
}

/// A message to publish.
///
/// ```
/// # use device_client::{Publish, QoS};
/// let publish = Publish::new("devices/dev-1/temperature", "21.5")
///     .qos(QoS::AtLeastOnce)
///     .content_type("text/plain")
///     .user_property("sensor", "roof");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a message is sent by `Device::publish_with` or `Device::queue`"]
pub struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Properties,
}

impl Publish {
    /// A message of quality of service 0 that is not retained.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::default(),
        }
    }

    /// Sends it with this quality of service.
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Asks the broker to keep it for those who subscribe later.
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Says that the payload is UTF-8 text.
    pub fn text(mut self) -> Self {
        self.properties.is_text = true;
        self
    }

    /// Says what the payload is.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.properties.content_type = Some(content_type.into());
        self
    }

    /// Says where an answer is awaited.
    pub fn response_topic(mut self, topic: impl Into<String>) -> Self {
        self.properties.response_topic = Some(topic.into());
        self
    }

    /// Says what an answer must carry.
    pub fn correlation_data(mut self, data: impl Into<Bytes>) -> Self {
        self.properties.correlation_data = Some(data.into());
        self
    }

    /// Says when it is of no use any more, in whole seconds.
    pub fn expiry(mut self, after: Duration) -> Self {
        self.properties.expiry = Some(after);
        self
    }

    /// Adds a property of the application.
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.user.push((name.into(), value.into()));
        self
    }

    /// Whether it could be written on the wire at all.
    pub(crate) fn check(&self) -> Result<(), PublishError> {
        topic::check_name(&self.topic).map_err(PublishError::InvalidTopic)?;
        if let Some(topic) = &self.properties.response_topic {
            topic::check_name(topic).map_err(PublishError::InvalidTopic)?;
        }
        self.properties.check()
    }
}

impl Properties {
    fn check(&self) -> Result<(), PublishError> {
        let texts = self
            .content_type
            .iter()
            .chain(self.user.iter().flat_map(|(n, v)| [n, v]));
        for text in texts {
            if text.len() > PROPERTY_LEN_MAX || text.contains('\0') {
                return Err(PublishError::InvalidProperty);
            }
        }
        match &self.correlation_data {
            Some(data) if data.len() > PROPERTY_LEN_MAX => Err(PublishError::InvalidProperty),
            Some(_) | None => Ok(()),
        }
    }
}

/// A message that came to a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The topic it was published to.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// How surely it came: the lower of what it was published and what was subscribed with.
    pub qos: QoS,
    /// Whether it was kept by the broker from before we subscribed.
    pub retain: bool,
    /// Whether the broker may have sent it before.
    pub duplicate: bool,
    /// What else is said about it.
    pub properties: Properties,
}

/// What the broker publishes for us when we go without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Will {
    pub(crate) publish: Publish,
    pub(crate) delay: Duration,
}

impl Will {
    /// This message, at once.
    pub fn new(publish: Publish) -> Self {
        Self {
            publish,
            delay: Duration::ZERO,
        }
    }

    /// Only when we have not come back within this time, in whole seconds.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// Says that a device is there as long as it is, and that it is gone: retained, at one topic, for
/// whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Presence {
    pub(crate) here: Publish,
    pub(crate) gone: Will,
}

impl Presence {
    /// `online` and `offline` at this topic.
    pub fn at(topic: impl Into<String>) -> Self {
        let topic = topic.into();
        let gone = Publish::new(&topic, "offline").text().retained();
        Self {
            here: Publish::new(topic, "online").text().retained(),
            gone: Will::new(gone.qos(QoS::AtLeastOnce)),
        }
    }

    /// Other words than these.
    pub fn words(mut self, here: impl Into<Bytes>, gone: impl Into<Bytes>) -> Self {
        self.here.payload = here.into();
        self.gone.publish.payload = gone.into();
        self
    }

    /// A device that comes back within this time was not gone; in whole seconds.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.gone.delay = delay;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::InvalidTopic;

    #[test]
    fn what_cannot_be_written_is_refused_before_it_is_queued() {
        let long = "a".repeat(PROPERTY_LEN_MAX + 1);
        let base = || Publish::new("a/b", "");
        let cases = [
            (base(), Ok(())),
            (
                Publish::new("a/#", ""),
                Err(PublishError::InvalidTopic(InvalidTopic::Wildcard)),
            ),
            (
                base().response_topic(""),
                Err(PublishError::InvalidTopic(InvalidTopic::Empty)),
            ),
            (
                base().content_type(long.clone()),
                Err(PublishError::InvalidProperty),
            ),
            (
                base().user_property("a\0", "b"),
                Err(PublishError::InvalidProperty),
            ),
            (
                base().user_property("a", long.clone()),
                Err(PublishError::InvalidProperty),
            ),
            (
                base().correlation_data(long),
                Err(PublishError::InvalidProperty),
            ),
        ];
        for (publish, expected) in cases {
            assert_eq!(format!("{:?}", publish.check()), format!("{expected:?}"));
        }
    }
}
