//! PUBLISH: an application message on its way [MQTT 5.0 §3.3].
//!
//! It is the packet that speed depends on: its parts are shares in the frame, and it is written
//! from parts without being put together first.

use super::property::Forwarding;
use super::{ForwardedProperties, PacketId, QoS, Version};
use crate::ProtocolError;
use crate::topic::TopicName;
use crate::wire::{
    Direction, Frame, Header, Kind, PACKET_SIZE_MAX, Properties, PropertyId, TooLarge, varint,
};
use bytes::{BufMut, Bytes, BytesMut};
use std::num::{NonZeroU16, NonZeroU32};

/// A subscription identifier: 1 to 268,435,455 [MQTT 5.0 §3.8.2.1.2].
pub type SubscriptionId = NonZeroU32;

/// A PUBLISH, in either direction. The payload is a part of what it came in, not a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Perhaps sent before; 0 at QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// With [`Self::packet_id`] if and only if it is above 0 [MQTT-2.2.1-2].
    pub qos: QoS,
    /// To be kept, or it was kept [MQTT 5.0 §3.3.1.3].
    pub retain: bool,
    /// Whole, even where an alias stood for it on the wire.
    pub topic: TopicName,
    /// Which delivery this is; present above QoS 0.
    pub packet_id: Option<PacketId>,
    /// What few messages have, so that the others stay small: see [`PublishProperties::boxed`].
    pub properties: Option<Box<PublishProperties>>,
    /// The application's bytes.
    pub payload: Bytes,
}

/// The properties of a PUBLISH [MQTT 5.0 §3.3.2.3], its topic alias excepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishProperties {
    /// Seconds the message may still wait [MQTT 5.0 §3.3.2.3.3].
    pub message_expiry_interval: Option<u32>,
    /// Which of the receiver's subscriptions matched; empty from a client [MQTT-3.3.4-6].
    pub subscription_ids: Vec<SubscriptionId>,
    /// What travels with the message unaltered.
    pub forwarded: ForwardedProperties,
}

/// How a topic name is put on the wire [MQTT 5.0 §3.3.2.3.4]; 3.1.1 knows the name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// By its name.
    None,
    /// By its name, and the number shall stand for it from here on.
    New(NonZeroU16),
    /// By the number alone, which the peer knows.
    Known(NonZeroU16),
}

/// A PUBLISH that is about to be written, made of what others own.
#[derive(Clone, Copy, Debug)]
pub struct PublishHead<'a> {
    /// As [`Publish::dup`].
    pub dup: bool,
    /// As [`Publish::qos`].
    pub qos: QoS,
    /// As [`Publish::retain`].
    pub retain: bool,
    /// Present above QoS 0, and only there.
    pub packet_id: Option<PacketId>,
    /// As [`Publish::topic`].
    pub topic: &'a TopicName,
    /// What stands for it, or shall.
    pub alias: Alias,
    /// As [`PublishProperties::message_expiry_interval`].
    pub message_expiry_interval: Option<u32>,
    /// As [`PublishProperties::subscription_ids`].
    pub subscription_ids: &'a [SubscriptionId],
    /// As [`PublishProperties::forwarded`].
    pub forwarded: &'a ForwardedProperties,
    /// As [`Publish::payload`].
    pub payload: &'a [u8],
}

const DUP: u8 = 0b1000;
const RETAIN: u8 = 0b0001;

impl Publish {
    /// Takes the packet from what has arrived. `topic` says what a name, perhaps an empty one, and
    /// a topic alias stand for; `make` gets the packet before it is moved anywhere, so that it can
    /// be made where it belongs.
    #[inline]
    pub(crate) fn read<T>(
        frame: Frame<'_>,
        version: Version,
        topic: impl FnOnce(&[u8], Option<NonZeroU16>) -> Result<TopicName, ProtocolError>,
        make: impl FnOnce(Self) -> T,
    ) -> Result<T, ProtocolError> {
        frame.check_length(version)?;
        let mut reader = frame.reader(version);
        let dup = frame.flags & DUP != 0;
        let qos = QoS::from_bits(frame.flags >> 1 & 0b11).ok_or(ProtocolError::QosReserved)?;
        if dup && qos == QoS::AtMostOnce {
            return Err(ProtocolError::DupAtQos0);
        }
        let name = reader.prefixed()?;
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Some(reader.packet_id()?),
        };
        let (properties, alias) = match reader.block()? {
            [] => (None, None),
            block => PublishProperties::read(reader.properties_in(block), frame.direction)?,
        };
        let topic = topic(name, alias)?;
        let payload_len = reader.rest().len();
        Ok(make(Self {
            dup,
            qos,
            retain: frame.flags & RETAIN != 0,
            topic,
            packet_id,
            properties,
            // The only share in what has arrived.
            payload: frame.take_end(payload_len),
        }))
    }

    /// The same, to be written under its name.
    pub fn head(&self) -> PublishHead<'_> {
        PublishHead {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            packet_id: self.packet_id,
            topic: &self.topic,
            alias: Alias::None,
            message_expiry_interval: self.message_expiry_interval(),
            subscription_ids: self.subscription_ids(),
            forwarded: self.forwarded(),
            payload: &self.payload,
        }
    }

    /// As [`PublishProperties::message_expiry_interval`].
    pub fn message_expiry_interval(&self) -> Option<u32> {
        self.properties.as_ref()?.message_expiry_interval
    }

    /// As [`PublishProperties::subscription_ids`].
    pub fn subscription_ids(&self) -> &[SubscriptionId] {
        self.properties
            .as_ref()
            .map_or(&[], |properties| &properties.subscription_ids)
    }

    /// As [`PublishProperties::forwarded`].
    pub fn forwarded(&self) -> &ForwardedProperties {
        self.properties
            .as_ref()
            .map_or(ForwardedProperties::none(), |properties| {
                &properties.forwarded
            })
    }
}

impl PublishProperties {
    /// As they stand in a [`Publish`]: not at all where there are none.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }

    /// Reads a block of properties; the topic alias in it belongs to the connection.
    fn read(
        mut properties: Properties<'_>,
        direction: Direction,
    ) -> Result<(Option<Box<Self>>, Option<NonZeroU16>), ProtocolError> {
        let mut read = Self::default();
        let mut topic_alias = None;
        let mut forwarding = Forwarding::new(&properties);
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::MessageExpiryInterval => {
                    read.message_expiry_interval = Some(properties.u32()?);
                }
                PropertyId::TopicAlias => {
                    let alias = NonZeroU16::new(properties.u16()?);
                    topic_alias = Some(alias.ok_or(ProtocolError::TopicAliasInvalid)?);
                }
                PropertyId::SubscriptionIdentifier if direction == Direction::ToServer => {
                    return Err(ProtocolError::SubscriptionIdFromClient);
                }
                PropertyId::SubscriptionIdentifier => {
                    read.subscription_ids.push(properties.subscription_id()?);
                }
                _ => forwarding.take(id, &mut properties)?,
            }
        }
        read.forwarded = forwarding.finish(&properties);
        Ok((read.boxed(), topic_alias))
    }
}

impl PublishHead<'_> {
    /// How many bytes it takes on the wire, all counted; `usize::MAX` where it has no place there.
    pub fn encoded_len(&self, version: Version) -> usize {
        Header::new(0, self.body_len(version), PACKET_SIZE_MAX)
            .map_or(usize::MAX, |header| header.packet_len())
    }

    /// Writes the packet. The payload is copied once.
    ///
    /// # Errors
    /// If the packet is longer than the protocol allows. Nothing is written then.
    pub fn write(&self, version: Version, out: &mut BytesMut) -> Result<(), TooLarge> {
        self.write_within(version, PACKET_SIZE_MAX, out)
    }

    /// Writes the packet, if it takes no more than `size_max` bytes [MQTT-3.1.2-24].
    ///
    /// # Errors
    /// If it takes more. Nothing is written then.
    #[inline]
    pub fn write_within(
        &self,
        version: Version,
        size_max: NonZeroU32,
        out: &mut BytesMut,
    ) -> Result<(), TooLarge> {
        debug_assert_eq!(self.qos == QoS::AtMostOnce, self.packet_id.is_none());
        let properties_len = self.properties_len(version);
        let header = Header::new(
            self.first_byte(),
            self.len(version, properties_len),
            size_max,
        )?;
        out.reserve(header.packet_len());
        header.write(out);
        let name = self.name(version).as_bytes();
        // A `Text` is never longer than its length can say.
        out.put_u16(u16::try_from(name.len()).unwrap_or_default());
        out.put_slice(name);
        if let Some(id) = self.packet_id {
            out.put_u16(id.get());
        }
        match properties_len {
            0 if version == Version::V5 => out.put_u8(0),
            0 => {}
            len => self.write_properties(len, out),
        }
        out.put_slice(self.payload);
        Ok(())
    }

    fn write_properties(&self, len: usize, out: &mut BytesMut) {
        varint::write(u32::try_from(len).unwrap_or(varint::MAX), out);
        if let Some(seconds) = self.message_expiry_interval {
            out.put_u8(PropertyId::MessageExpiryInterval.byte());
            out.put_u32(seconds);
        }
        if let Alias::New(number) | Alias::Known(number) = self.alias {
            out.put_u8(PropertyId::TopicAlias.byte());
            out.put_u16(number.get());
        }
        for id in self.subscription_ids {
            out.put_u8(PropertyId::SubscriptionIdentifier.byte());
            varint::write(id.get(), out);
        }
        out.put_slice(self.forwarded.as_bytes());
    }

    #[inline]
    fn first_byte(&self) -> u8 {
        let dup = if self.dup { DUP } else { 0 };
        let retain = if self.retain { RETAIN } else { 0 };
        // Without an identifier the receiver would take the next bytes for one.
        let qos = self.packet_id.map_or(QoS::AtMostOnce, |_| self.qos);
        Kind::Publish.first_byte() | dup | qos.bits() << 1 | retain
    }

    /// All behind the fixed header.
    pub(crate) fn body_len(&self, version: Version) -> usize {
        self.len(version, self.properties_len(version))
    }

    #[inline]
    fn len(&self, version: Version, properties_len: usize) -> usize {
        let id_len = if self.packet_id.is_some() { 2 } else { 0 };
        let block_len = match version {
            Version::V311 => 0,
            Version::V5 => u32::try_from(properties_len).map_or(4, varint::len) + properties_len,
        };
        2 + self.name(version).len() + id_len + block_len + self.payload.len()
    }

    #[inline]
    fn properties_len(&self, version: Version) -> usize {
        if version == Version::V311 {
            return 0;
        }
        let expiry_len = self.message_expiry_interval.map_or(0, |_| 5);
        let alias_len = match self.alias {
            Alias::None => 0,
            Alias::New(_) | Alias::Known(_) => 3,
        };
        let ids = self.subscription_ids.iter();
        let ids_len: usize = ids.map(|id| 1 + varint::len(id.get())).sum();
        expiry_len + alias_len + ids_len + self.forwarded.len()
    }

    /// The name as it is written: nothing, where an alias says it.
    #[inline]
    fn name(&self, version: Version) -> &str {
        match (version, self.alias) {
            (Version::V5, Alias::Known(_)) => "",
            (Version::V311, _) | (Version::V5, Alias::None | Alias::New(_)) => self.topic.as_str(),
        }
    }
}
