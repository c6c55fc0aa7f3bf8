//! Message: what was published, on its way to its receivers.
//!
//! A message exists only where a permit was given up for its topic, now or before it was
//! recorded, or where the broker speaks of itself. It is held once, however many receive it.

use super::policy::PublishPermit;
use super::session::SessionKey;
use super::statistics::Statistic;
use super::time::Time;
use bytes::Bytes;
use certs::Subject;
use protocol::packet::{
    Alias, ForwardedProperties, PacketId, PublishHead, PublishProperties, QoS, SubscriptionId,
    Version, Will,
};
use protocol::topic::TopicName;

use smallvec::SmallVec;
use std::sync::Arc;

/// An application message the broker has taken over, shared by all who receive it.
#[derive(Debug)]
pub struct Message {
    topic: TopicName,
    payload: Bytes,
    /// What few messages have.
    forwarded: Option<Box<ForwardedProperties>>,
    /// Known of those that are kept.
    publisher: Option<Arc<SessionKey>>,
    expires_at: Option<Time>,
    qos: QoS,
    retain: bool,
    memory: Memory,
}

/// What a message consists of, as the records keep it: it was published under a permit before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageParts {
    /// Where it was published.
    pub topic: TopicName,
    /// The application's bytes.
    pub payload: Bytes,
    /// What travels with it unaltered.
    pub forwarded: ForwardedProperties,
    /// The session that published it; none if the broker did.
    pub publisher: Option<SessionKey>,
    /// When it is no longer worth delivering.
    pub expires_at: Option<Time>,
    /// The QoS it was published with.
    pub qos: QoS,
    /// Whether it was published as retained.
    pub retain: bool,
}

/// A PUBLISH without its topic, which stands in the permit.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) payload: Bytes,
    pub(super) properties: Option<Box<PublishProperties>>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

/// Whose memory a message is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// The buffer it was read into, which others may be in, too.
    Shared,
    /// Its own.
    Own,
}

/// A longer payload stays where it was read until it is kept for good: it cannot hold back many
/// times its own length.
const COPIED_LEN_MAX: usize = 4 * 1024;

impl Message {
    /// What a session has published now.
    #[inline]
    pub(super) fn published(permit: PublishPermit, contents: Contents, now: Time) -> Self {
        let (expires_at, forwarded) = contents.properties.map_or((None, None), |properties| {
            let interval = properties.message_expiry_interval;
            let forwarded = properties.forwarded;
            (
                interval.map(|seconds| now.after_seconds(seconds)),
                (!forwarded.is_empty()).then(|| Box::new(forwarded)),
            )
        });
        Self {
            topic: permit.into_topic(),
            payload: contents.payload,
            forwarded,
            publisher: None,
            expires_at,
            qos: contents.qos,
            retain: contents.retain,
            memory: Memory::Shared,
        }
    }

    /// What a session left behind, published now.
    pub(super) fn of_will(permit: PublishPermit, will: &Will, now: Time) -> Self {
        let forwarded = &will.forwarded;
        Self {
            topic: permit.into_topic(),
            payload: will.payload.clone(),
            forwarded: (!forwarded.is_empty()).then(|| Box::new(forwarded.clone())),
            publisher: None,
            expires_at: will
                .message_expiry_interval
                .map(|seconds| now.after_seconds(seconds)),
            qos: will.qos,
            retain: will.retain,
            memory: Memory::Own,
        }
    }

    /// What the broker says of itself, on a topic only it may use.
    pub(super) fn of_broker(statistic: Statistic, payload: Bytes) -> Option<Self> {
        Some(Self {
            topic: statistic.topic()?,
            payload,
            forwarded: None,
            publisher: None,
            expires_at: None,
            qos: QoS::AtMostOnce,
            retain: false,
            memory: Memory::Own,
        })
    }

    /// What was published before it was recorded. Only what our own log says may be given here,
    /// in memory of its own.
    pub fn recorded(parts: MessageParts) -> Arc<Self> {
        let MessageParts {
            topic,
            payload,
            forwarded,
            publisher,
            expires_at,
            qos,
            retain,
        } = parts;
        Arc::new(Self {
            topic,
            payload,
            forwarded: (!forwarded.is_empty()).then(|| Box::new(forwarded)),
            publisher: publisher.map(Arc::new),
            expires_at,
            qos,
            retain,
            memory: Memory::Own,
        })
    }

    /// The message with the name of who published it.
    pub(super) fn by(mut self, publisher: &Arc<SessionKey>) -> Self {
        self.publisher = Some(Arc::clone(publisher));
        self
    }

    /// The message for those who keep it until it is acknowledged. A small one does not keep a
    /// large read buffer with it: to copy it costs less than to count references to that.
    pub(super) fn kept(mut self) -> Arc<Self> {
        if self.payload.len() <= COPIED_LEN_MAX {
            self.move_out();
        }
        Arc::new(self)
    }

    /// The message for those who keep it for good.
    pub(super) fn detached(self: &Arc<Self>) -> Arc<Self> {
        match self.memory {
            Memory::Own => Arc::clone(self),
            Memory::Shared => {
                let mut own = Self {
                    topic: self.topic.clone(),
                    payload: self.payload.clone(),
                    forwarded: self.forwarded.clone(),
                    publisher: self.publisher.clone(),
                    ..**self
                };
                own.move_out();
                Arc::new(own)
            }
        }
    }

    /// Moves into memory of its own.
    fn move_out(&mut self) {
        if self.memory == Memory::Own {
            return;
        }
        self.memory = Memory::Own;
        self.payload = Bytes::copy_from_slice(&self.payload);
        if let Some(forwarded) = &mut self.forwarded {
            **forwarded = forwarded.detached();
        }
    }

    /// Where it was published.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The application's bytes.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// What travels with it unaltered.
    pub fn forwarded(&self) -> &ForwardedProperties {
        self.forwarded
            .as_deref()
            .unwrap_or(ForwardedProperties::none())
    }

    /// The session that published it; none if the broker did.
    pub fn publisher(&self) -> Option<&Arc<SessionKey>> {
        self.publisher.as_ref()
    }

    /// The device that published it.
    pub fn device(&self) -> Option<&Subject> {
        self.publisher.as_ref().map(|publisher| &publisher.subject)
    }

    /// The QoS it was published with.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether it was published as retained.
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// When it is no longer worth delivering.
    pub fn expires_at(&self) -> Option<Time> {
        self.expires_at
    }

    /// Whether its time is over [MQTT-3.3.2-5].
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The seconds it still has, as a receiver is told [MQTT-3.3.2-6].
    pub(super) fn remaining_seconds(&self, now: Time) -> Option<u32> {
        let seconds = self.expires_at?.since(now).as_millis().div_ceil(1000);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

/// The identifiers of the subscriptions that matched; one, the usual case, costs no allocation.
pub type SubscriptionIds = SmallVec<[SubscriptionId; 1]>;

/// A message on its way to one client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery<'a> {
    /// What is delivered.
    pub(super) message: &'a Message,
    /// The lower of the QoS published with and the highest one granted [MQTT-3.8.4-8].
    pub(super) qos: QoS,
    /// The RETAIN flag the client sees.
    pub(super) retain: bool,
    /// Which of the client's subscriptions matched.
    pub(super) subscription_ids: &'a [SubscriptionId],
}

impl<'a> Delivery<'a> {
    /// The PUBLISH to be written for it now; above QoS 0 it still lacks its packet identifier.
    #[inline]
    pub(super) fn head(&self, now: Time) -> PublishHead<'a> {
        let message = self.message;
        PublishHead {
            dup: false,
            qos: self.qos,
            retain: self.retain,
            packet_id: None,
            topic: &message.topic,
            alias: Alias::None,
            message_expiry_interval: message.remaining_seconds(now),
            subscription_ids: self.subscription_ids,
            forwarded: message.forwarded(),
            payload: &message.payload,
        }
    }

    /// How many bytes that takes at the most, all counted.
    pub(super) fn encoded_len(&self, version: Version, now: Time) -> usize {
        let head = PublishHead {
            packet_id: (self.qos != QoS::AtMostOnce).then_some(PacketId::MIN),
            ..self.head(now)
        };
        head.encoded_len(version)
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::Time;
    use crate::engine::test_world::message;
    use std::sync::Arc;

    #[test]
    fn who_keeps_it_for_good_gets_it_in_memory_of_its_own() {
        let shared = message("dev-1", "a/b", "payload", None);
        let own = shared.detached();
        assert!(Arc::ptr_eq(&own, &own.detached()));
        assert_eq!(
            (own.topic(), own.payload()),
            (shared.topic(), shared.payload())
        );
        assert_ne!(own.payload().as_ptr(), shared.payload().as_ptr());
    }

    #[test]
    fn mqtt_3_3_2_6_what_is_left_of_its_time_is_rounded_up() {
        let at = Time::from_millis;
        let brief = message("dev-1", "a", "x", Some(at(10_000)));
        let cases = [
            (0, 10, false),
            (1, 10, false),
            (9_001, 1, false),
            (10_000, 0, true),
        ];
        for (now, seconds, is_expired) in cases {
            assert_eq!(brief.remaining_seconds(at(now)), Some(seconds), "{now}");
            assert_eq!(brief.is_expired(at(now)), is_expired, "{now}");
        }
        let lasting = message("dev-1", "a", "x", None);
        assert_eq!(lasting.remaining_seconds(at(u64::MAX)), None);
    }
}
