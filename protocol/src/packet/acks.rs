//! PUBACK, PUBREC, PUBREL and PUBCOMP: four packets of one shape [MQTT 5.0 §3.4 to §3.7].

use super::{PacketId, UserProperties, Version};
use crate::wire::{PropertyId, Reader, Writer};
use crate::{ProtocolError, ReasonCode, Text};

/// What the four packets of a delivery carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Which delivery it is about.
    pub packet_id: PacketId,
    /// How it ended; always a success in 3.1.1.
    pub reason: ReasonCode,
    /// What few acknowledgements have, so that the others stay small.
    pub words: Option<Box<AckWords>>,
}

/// The properties of an acknowledgement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AckWords {
    /// Words for a person.
    pub reason_string: Option<Text>,
    /// In their order.
    pub user_properties: UserProperties,
}

impl Ack {
    /// An acknowledgement without words.
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            words: None,
        }
    }

    /// All went well.
    pub fn success(packet_id: PacketId) -> Self {
        Self::new(packet_id, ReasonCode::Success)
    }
}

/// What PUBACK and PUBREC may say [MQTT-3.4.2-1] [MQTT-3.5.2-1].
const RECEIVED: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::NoMatchingSubscribers,
    ReasonCode::UnspecifiedError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::TopicNameInvalid,
    ReasonCode::PacketIdentifierInUse,
    ReasonCode::QuotaExceeded,
    ReasonCode::PayloadFormatInvalid,
];

/// What PUBREL and PUBCOMP may say [MQTT-3.6.2-1] [MQTT-3.7.2-1].
const RELEASED: &[ReasonCode] = &[ReasonCode::Success, ReasonCode::PacketIdentifierNotFound];

impl Ack {
    /// Reads a PUBACK or PUBREC.
    pub(crate) fn read_received(body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        Self::read(body, RECEIVED)
    }

    /// Reads a PUBREL or PUBCOMP.
    pub(crate) fn read_released(body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        Self::read(body, RELEASED)
    }

    fn read(body: &mut Reader<'_>, known: &[ReasonCode]) -> Result<Self, ProtocolError> {
        let packet_id = body.packet_id()?;
        // Reason and properties may be left out, from the end [MQTT 5.0 §3.4.2.1].
        if body.version == Version::V311 || body.is_empty() {
            return Ok(Self::success(packet_id));
        }
        let reason = body.reason(known)?;
        let words = AckWords::read_if_there(body)?;
        Ok(Self {
            packet_id,
            reason,
            words,
        })
    }

    pub(crate) fn write(&self, body: &mut Writer<'_>) {
        body.packet_id(self.packet_id);
        let words = self.words.as_deref();
        let words =
            words.filter(|it| body.has_room_for(it.reason_string.as_ref(), &it.user_properties));
        let is_bare = self.reason == ReasonCode::Success && words.is_none();
        if body.version == Version::V311 || is_bare {
            return;
        }
        body.u8(self.reason.byte());
        if words.is_some() {
            AckWords::write(words, body);
        }
    }
}

impl AckWords {
    /// Reads the block of properties where there is one.
    pub(crate) fn read_if_there(body: &mut Reader<'_>) -> Result<Option<Box<Self>>, ProtocolError> {
        if body.is_empty() {
            return Ok(None);
        }
        Self::read(body)
    }

    /// Reads a block of properties.
    pub(crate) fn read(body: &mut Reader<'_>) -> Result<Option<Box<Self>>, ProtocolError> {
        let mut properties = body.properties()?;
        if properties.block().is_empty() {
            return Ok(None);
        }
        let mut words = Self::default();
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::ReasonString => words.reason_string = Some(properties.text()?),
                PropertyId::UserProperty => properties.user(&mut words.user_properties)?,
                _ => return Err(id.not_allowed()),
            }
        }
        Ok(Some(Box::new(words)))
    }

    /// Writes a block of properties, an empty one where there are none.
    pub(crate) fn write(words: Option<&Self>, body: &mut Writer<'_>) {
        body.properties(|block| {
            if let Some(words) = words {
                block.words(words.reason_string.as_ref(), &words.user_properties);
            }
        });
    }
}
