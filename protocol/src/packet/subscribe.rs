//! SUBSCRIBE: a client asks for messages [MQTT 5.0 §3.8].

use super::{PacketId, QoS, SubscriptionId, UserProperties, Version};
use crate::ProtocolError;
use crate::topic::TopicFilter;
use crate::wire::{PropertyId, Reader, Writer};

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

impl Subscribe {
    pub(crate) fn read(body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let packet_id = body.packet_id()?;
        let mut subscription_id = None;
        let mut user_properties = UserProperties::new();
        let mut properties = body.properties()?;
        while let Some(id) = properties.next()? {
            match id {
                // Elsewhere it may repeat, so that only here it is counted.
                PropertyId::SubscriptionIdentifier if subscription_id.is_some() => {
                    return Err(properties.repeated());
                }
                PropertyId::SubscriptionIdentifier => {
                    subscription_id = Some(properties.subscription_id()?);
                }
                PropertyId::UserProperty => properties.user(&mut user_properties)?,
                _ => return Err(id.not_allowed()),
            }
        }
        let mut subscriptions = Vec::new();
        while !body.is_empty() {
            subscriptions.push(Subscription::read(body)?);
        }
        if subscriptions.is_empty() {
            return Err(ProtocolError::NoTopicFilter);
        }
        Ok(Self {
            packet_id,
            subscriptions,
            subscription_id,
            user_properties,
        })
    }

    pub(crate) fn write(&self, body: &mut Writer<'_>) {
        body.packet_id(self.packet_id);
        body.properties(|block| {
            if let Some(id) = self.subscription_id {
                block
                    .property(PropertyId::SubscriptionIdentifier)
                    .varint(id.get());
            }
            block.user_properties(&self.user_properties);
        });
        for subscription in &self.subscriptions {
            subscription.write(body);
        }
    }
}

const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
/// What of the options byte is reserved.
const RESERVED: u8 = 0b1100_0000;
/// The same in 3.1.1, which knows only a QoS [MQTT-3.8.3-4 of 3.1.1].
const RESERVED_311: u8 = 0b1111_1100;

impl Subscription {
    fn read(body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let filter = body.topic_filter()?;
        let options = body.u8()?;
        let reserved = match body.version {
            Version::V311 => RESERVED_311,
            Version::V5 => RESERVED,
        };
        if options & reserved != 0 {
            return Err(ProtocolError::SubscriptionOptionsReserved);
        }
        let no_local = options & NO_LOCAL != 0;
        if no_local && filter.share_group().is_some() {
            return Err(ProtocolError::NoLocalOnShared);
        }
        Ok(Self {
            filter,
            qos: QoS::from_bits(options & 0b11).ok_or(ProtocolError::SubscriptionOptions)?,
            no_local,
            retain_as_published: options & RETAIN_AS_PUBLISHED != 0,
            retain_handling: RetainHandling::from_bits(options >> 4)
                .ok_or(ProtocolError::SubscriptionOptions)?,
        })
    }

    fn write(&self, body: &mut Writer<'_>) {
        body.text(self.filter.as_str());
        let mut options = self.qos.bits();
        if body.version == Version::V5 {
            options |= if self.no_local { NO_LOCAL } else { 0 };
            options |= if self.retain_as_published {
                RETAIN_AS_PUBLISHED
            } else {
                0
            };
            options |= (self.retain_handling as u8) << 4;
        }
        body.u8(options);
    }
}

impl RetainHandling {
    fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Send),
            1 => Some(Self::SendIfNew),
            2 => Some(Self::DoNotSend),
            _ => None,
        }
    }
}
