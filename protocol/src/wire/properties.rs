//! The properties of a packet [MQTT 5.0 §2.2.2].
//!
//! A property stands once in its block, user properties and subscription identifiers excepted;
//! whether it may stand there at all is said by the packet, in the match that reads it.

use super::Reader;
use crate::packet::{SubscriptionId, UserProperties};
use crate::{ProtocolError, Text};
use bytes::Bytes;
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Range;

/// The properties that exist [MQTT 5.0 table 2-4].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum PropertyId {
    PayloadFormatIndicator = 0x01,
    MessageExpiryInterval = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionIdentifier = 0x0B,
    SessionExpiryInterval = 0x11,
    AssignedClientIdentifier = 0x12,
    ServerKeepAlive = 0x13,
    AuthenticationMethod = 0x15,
    AuthenticationData = 0x16,
    RequestProblemInformation = 0x17,
    WillDelayInterval = 0x18,
    RequestResponseInformation = 0x19,
    ResponseInformation = 0x1A,
    ServerReference = 0x1C,
    ReasonString = 0x1F,
    ReceiveMaximum = 0x21,
    TopicAliasMaximum = 0x22,
    TopicAlias = 0x23,
    MaximumQos = 0x24,
    RetainAvailable = 0x25,
    UserProperty = 0x26,
    MaximumPacketSize = 0x27,
    WildcardSubscriptionAvailable = 0x28,
    SubscriptionIdentifierAvailable = 0x29,
    SharedSubscriptionAvailable = 0x2A,
}

impl PropertyId {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::PayloadFormatIndicator,
            0x02 => Self::MessageExpiryInterval,
            0x03 => Self::ContentType,
            0x08 => Self::ResponseTopic,
            0x09 => Self::CorrelationData,
            0x0B => Self::SubscriptionIdentifier,
            0x11 => Self::SessionExpiryInterval,
            0x12 => Self::AssignedClientIdentifier,
            0x13 => Self::ServerKeepAlive,
            0x15 => Self::AuthenticationMethod,
            0x16 => Self::AuthenticationData,
            0x17 => Self::RequestProblemInformation,
            0x18 => Self::WillDelayInterval,
            0x19 => Self::RequestResponseInformation,
            0x1A => Self::ResponseInformation,
            0x1C => Self::ServerReference,
            0x1F => Self::ReasonString,
            0x21 => Self::ReceiveMaximum,
            0x22 => Self::TopicAliasMaximum,
            0x23 => Self::TopicAlias,
            0x24 => Self::MaximumQos,
            0x25 => Self::RetainAvailable,
            0x26 => Self::UserProperty,
            0x27 => Self::MaximumPacketSize,
            0x28 => Self::WildcardSubscriptionAvailable,
            0x29 => Self::SubscriptionIdentifierAvailable,
            0x2A => Self::SharedSubscriptionAvailable,
            _ => return None,
        })
    }

    pub(crate) const fn byte(self) -> u8 {
        self as u8
    }

    /// That this packet cannot have such a property.
    pub(crate) fn not_allowed(self) -> ProtocolError {
        ProtocolError::PropertyNotAllowed(self.byte())
    }
}

/// Reads a block of properties: [`Self::next`] names one, and its value has to be taken then.
pub(crate) struct Properties<'a> {
    values: Reader<'a>,
    block: &'a [u8],
    /// What followed when the present property began, its identifier included.
    begins: &'a [u8],
    /// A bit for each that has been there.
    seen: u64,
    id: u8,
}

impl<'a> Properties<'a> {
    pub(crate) fn new(block: Reader<'a>) -> Self {
        Self {
            block: block.rest(),
            begins: block.rest(),
            values: block,
            seen: 0,
            id: 0,
        }
    }

    /// The next property, if there is one.
    ///
    /// # Errors
    /// If it does not exist, or stands there again and must not.
    pub(crate) fn next(&mut self) -> Result<Option<PropertyId>, ProtocolError> {
        if self.values.is_empty() {
            return Ok(None);
        }
        self.begins = self.values.rest();
        // A variable byte integer; but all that exist take one byte.
        self.id = self.values.u8()?;
        let id = PropertyId::from_byte(self.id).ok_or(ProtocolError::PropertyUnknown(self.id))?;
        let bit = 1 << self.id;
        match id {
            PropertyId::UserProperty | PropertyId::SubscriptionIdentifier => {}
            _ if self.seen & bit != 0 => return Err(self.repeated()),
            _ => self.seen |= bit,
        }
        Ok(Some(id))
    }

    /// The whole block.
    pub(crate) fn block(&self) -> &'a [u8] {
        self.block
    }

    /// Where in the block the present property stands, after its value was taken.
    pub(crate) fn present(&self) -> Range<usize> {
        let end = self.block.len();
        end - self.begins.len()..end - self.values.rest().len()
    }

    /// A part of the block, as a share in the frame.
    pub(crate) fn share(&self, bytes: &'a [u8]) -> Bytes {
        self.values.share(bytes)
    }

    /// That the present property stood there before.
    pub(crate) fn repeated(&self) -> ProtocolError {
        ProtocolError::PropertyRepeated(self.id)
    }

    /// That the present property has a value it must not have.
    pub(crate) fn out_of_range(&self) -> ProtocolError {
        ProtocolError::PropertyValue(self.id)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ProtocolError> {
        self.values.u8()
    }

    pub(crate) fn u16(&mut self) -> Result<u16, ProtocolError> {
        self.values.u16()
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ProtocolError> {
        self.values.u32()
    }

    pub(crate) fn text(&mut self) -> Result<Text, ProtocolError> {
        self.values.text()
    }

    pub(crate) fn str(&mut self) -> Result<&'a str, ProtocolError> {
        self.values.str()
    }

    pub(crate) fn binary(&mut self) -> Result<Bytes, ProtocolError> {
        self.values.binary()
    }

    /// Binary data that is only looked at.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], ProtocolError> {
        self.values.prefixed()
    }

    /// A byte of 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, ProtocolError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.out_of_range()),
        }
    }

    pub(crate) fn non_zero_u16(&mut self) -> Result<NonZeroU16, ProtocolError> {
        NonZeroU16::new(self.u16()?).ok_or(self.out_of_range())
    }

    pub(crate) fn non_zero_u32(&mut self) -> Result<NonZeroU32, ProtocolError> {
        NonZeroU32::new(self.u32()?).ok_or(self.out_of_range())
    }

    pub(crate) fn subscription_id(&mut self) -> Result<SubscriptionId, ProtocolError> {
        SubscriptionId::new(self.values.varint()?).ok_or(self.out_of_range())
    }

    /// One more user property, behind those there are.
    pub(crate) fn user(&mut self, into: &mut UserProperties) -> Result<(), ProtocolError> {
        let name = self.text()?;
        let value = self.text()?;
        into.push((name, value));
        Ok(())
    }
}
