//! The will: what a CONNECT leaves to be published after its connection [MQTT 5.0 §3.1.2.5].

use super::property::Forwarding;
use super::{ForwardedProperties, QoS};
use crate::ProtocolError;
use crate::topic::TopicName;
use crate::wire::{PropertyId, Reader, Writer};
use bytes::Bytes;

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

/// What the connect flags say of a will.
#[derive(Clone, Copy)]
pub(super) struct WillFlags {
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

impl Will {
    pub(super) fn read(flags: WillFlags, body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let mut delay_interval = 0;
        let mut message_expiry_interval = None;
        let mut properties = body.properties()?;
        let mut forwarding = Forwarding::new(&properties);
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::WillDelayInterval => delay_interval = properties.u32()?,
                PropertyId::MessageExpiryInterval => {
                    message_expiry_interval = Some(properties.u32()?);
                }
                _ => forwarding.take(id, &mut properties)?,
            }
        }
        Ok(Self {
            qos: flags.qos,
            retain: flags.retain,
            topic: body.topic_name()?,
            payload: body.binary()?,
            delay_interval,
            message_expiry_interval,
            forwarded: forwarding.finish(&properties),
        })
    }

    pub(super) fn write(&self, body: &mut Writer<'_>) {
        body.properties(|block| {
            if self.delay_interval != 0 {
                block
                    .property(PropertyId::WillDelayInterval)
                    .u32(self.delay_interval);
            }
            block.optional_u32(
                PropertyId::MessageExpiryInterval,
                self.message_expiry_interval,
            );
            block.raw(self.forwarded.as_bytes());
        });
        body.text(self.topic.as_str());
        body.binary(&self.payload);
    }
}
