//! Message: what was published, on its way to its receivers.
//!
//! A message exists only where a permit was given up for its topic, or where the broker speaks
//! of itself. It is held once, however many receive it.

use super::policy::PublishPermit;
use super::session::SessionKey;
use super::statistics::Statistic;
use super::time::Time;
use bytes::Bytes;
use certs::Subject;
use protocol::packet::{
    Alias, ForwardedProperties, PacketId, Publish, PublishHead, QoS, SubscriptionId, Will,
};
use protocol::topic::TopicName;

use smallvec::SmallVec;
use std::sync::{Arc, OnceLock};

/// An application message the broker has taken over, shared by all who receive it.
#[derive(Debug)]
pub struct Message {
    topic: TopicName,
    payload: Bytes,
    forwarded: ForwardedProperties,
    publisher: Option<Arc<SessionKey>>,
    expires_at: Option<Time>,
    qos: QoS,
    retain: bool,
    memory: Memory,
}

/// Whose memory a message is in.
#[derive(Debug)]
enum Memory {
    /// The buffer it was read into; here is its copy once somebody needed one.
    Shared(OnceLock<Arc<Message>>),
    /// Its own.
    Own,
}

impl Message {
    /// What `publisher` has published.
    pub(super) fn published(
        permit: PublishPermit,
        publish: Publish,
        publisher: &Arc<SessionKey>,
        now: Time,
    ) -> Self {
        Self {
            topic: permit.into_topic(),
            payload: publish.payload,
            forwarded: publish.forwarded,
            publisher: Some(Arc::clone(publisher)),
            expires_at: publish
                .message_expiry_interval
                .map(|seconds| now.after_seconds(seconds)),
            qos: publish.qos,
            retain: publish.retain,
            memory: Memory::Shared(OnceLock::new()),
        }
    }

    /// What `publisher` left behind, published now.
    pub(super) fn of_will(
        permit: PublishPermit,
        will: &Will,
        publisher: &Arc<SessionKey>,
        now: Time,
    ) -> Self {
        Self {
            topic: permit.into_topic(),
            payload: will.payload.clone(),
            forwarded: will.forwarded.clone(),
            publisher: Some(Arc::clone(publisher)),
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
            forwarded: ForwardedProperties::default(),
            publisher: None,
            expires_at: None,
            qos: QoS::AtMostOnce,
            retain: false,
            memory: Memory::Own,
        })
    }

    /// The same message in memory of its own: for those who hold it for long, so that a small
    /// message does not keep a large read buffer. Copied once, shared by all who ask.
    pub fn detached(self: &Arc<Self>) -> Arc<Self> {
        match &self.memory {
            Memory::Own => Arc::clone(self),
            Memory::Shared(copy) => Arc::clone(copy.get_or_init(|| Arc::new(self.copy()))),
        }
    }

    fn copy(&self) -> Self {
        Self {
            topic: self.topic.detached(),
            payload: Bytes::copy_from_slice(&self.payload),
            forwarded: self.forwarded.detached(),
            publisher: self.publisher.clone(),
            expires_at: self.expires_at,
            qos: self.qos,
            retain: self.retain,
            memory: Memory::Own,
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
        &self.forwarded
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

    /// A PUBLISH of it, as long as the one that will be written.
    pub(super) fn head<'a>(&'a self, qos: QoS, ids: &'a SubscriptionIds) -> PublishHead<'a> {
        PublishHead {
            dup: false,
            qos,
            retain: self.retain,
            packet_id: (qos != QoS::AtMostOnce).then_some(PacketId::MIN),
            topic: &self.topic,
            alias: Alias::None,
            message_expiry_interval: self.expires_at.map(|_| 0),
            subscription_ids: ids,
            forwarded: &self.forwarded,
            payload: &self.payload,
        }
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
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What is delivered.
    pub message: Arc<Message>,
    /// The lower of the QoS published with and the highest one granted [MQTT-3.8.4-8].
    pub qos: QoS,
    /// The RETAIN flag the client sees.
    pub retain: bool,
    /// Sent before.
    pub dup: bool,
    /// Present above QoS 0.
    pub packet_id: Option<PacketId>,
    /// Which of the client's subscriptions matched.
    pub subscription_ids: SubscriptionIds,
    /// The seconds it may still wait.
    pub message_expiry_interval: Option<u32>,
}

impl Delivery {
    /// The PUBLISH to be written for it.
    pub fn head(&self) -> PublishHead<'_> {
        PublishHead {
            dup: self.dup,
            retain: self.retain,
            packet_id: self.packet_id,
            message_expiry_interval: self.message_expiry_interval,
            ..self.message.head(self.qos, &self.subscription_ids)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::Time;
    use crate::engine::test_world::message;
    use std::sync::Arc;

    #[test]
    fn it_is_copied_once_and_the_copy_is_shared() {
        let shared = message("dev-1", "a/b", "payload", None);
        let (one, other) = (shared.detached(), shared.detached());
        assert!(Arc::ptr_eq(&one, &other));
        assert!(Arc::ptr_eq(&one, &one.detached()));
        assert!(!Arc::ptr_eq(&one, &shared));
        assert_eq!(
            (one.topic(), one.payload()),
            (shared.topic(), shared.payload())
        );
        assert_ne!(one.payload().as_ptr(), shared.payload().as_ptr());
        assert_ne!(
            one.topic().as_str().as_ptr(),
            shared.topic().as_str().as_ptr()
        );
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
