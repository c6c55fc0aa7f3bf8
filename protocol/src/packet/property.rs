//! Properties that several packets share, above all those that travel with a message.
//!
//! The forwarded properties of a message exist only in a valid form: whoever receives them gets
//! a valid packet.

use super::{Authentication, Version};
use crate::topic::TopicName;
use crate::wire::{Direction, Properties, PropertyId, Reader, Writer};
use crate::{ProtocolError, Text};
use bytes::{Bytes, BytesMut};
use std::fmt;
use std::ops::Range;

/// User properties: names and values in the order they were given [MQTT-3.1.3-10].
pub type UserProperties = Vec<(Text, Text)>;

/// The properties of a message that a server passes on unaltered [MQTT-3.3.2-4] [MQTT-3.3.2-15]
/// [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20]: checked once, then kept as the bytes they are
/// on the wire, in their order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ForwardedProperties {
    block: Bytes,
}

/// The same, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedParts {
    /// Whether the payload is UTF-8 [MQTT 5.0 §3.3.2.3.2].
    pub payload_is_utf8: Option<bool>,
    /// What the payload is.
    pub content_type: Option<Text>,
    /// Where an answer is expected.
    pub response_topic: Option<TopicName>,
    /// What marks the answer.
    pub correlation_data: Option<Bytes>,
    /// In their order.
    pub user_properties: UserProperties,
}

/// The properties do not fit into a packet: the correlation data is longer than 65,535 bytes, or
/// all of them together are longer than a property length can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the properties do not fit into a packet")]
pub struct PropertiesTooLong;

impl ForwardedProperties {
    /// Puts the parts into their form on the wire.
    ///
    /// # Errors
    /// If they do not fit into a packet.
    pub fn from_parts(parts: &ForwardedParts) -> Result<Self, PropertiesTooLong> {
        let mut block = BytesMut::new();
        Writer::write_all(&mut block, |out| parts.write(out)).map_err(|_| PropertiesTooLong)?;
        let block = block.freeze();
        Ok(Self { block })
    }

    /// Those of a message that has none, for all such messages.
    pub fn none() -> &'static Self {
        static NONE: ForwardedProperties = ForwardedProperties {
            block: Bytes::new(),
        };
        &NONE
    }

    /// Takes back what [`Self::as_bytes`] gave away.
    ///
    /// # Errors
    /// If these are not forwarded properties, and nothing else, in a valid form.
    pub fn read(block: &Bytes) -> Result<Self, ProtocolError> {
        let mut properties = whole_block(block);
        let mut forwarding = Forwarding::new(&properties);
        while let Some(id) = properties.next()? {
            forwarding.take(id, &mut properties)?;
        }
        Ok(forwarding.finish(&properties))
    }

    /// Takes them apart. The parts share the memory of the whole.
    pub fn parts(&self) -> ForwardedParts {
        // What was checked when it came cannot fail now.
        ForwardedParts::read(whole_block(&self.block)).unwrap_or_default()
    }

    /// As on the wire, without a length in front.
    pub fn as_bytes(&self) -> &Bytes {
        &self.block
    }

    /// How many bytes they take on the wire.
    pub fn len(&self) -> usize {
        self.block.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// The same in memory of their own, so that they do not keep the frame they came in.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            block: Bytes::copy_from_slice(&self.block),
        }
    }
}

impl fmt::Debug for ForwardedProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().fmt(f)
    }
}

impl ForwardedParts {
    fn write(&self, out: &mut Writer<'_>) {
        if let Some(is_utf8) = self.payload_is_utf8 {
            out.property(PropertyId::PayloadFormatIndicator)
                .flag(is_utf8);
        }
        out.optional_text(PropertyId::ContentType, self.content_type.as_ref());
        if let Some(topic) = &self.response_topic {
            out.property(PropertyId::ResponseTopic).text(topic.as_str());
        }
        out.optional_binary(PropertyId::CorrelationData, self.correlation_data.as_ref());
        out.user_properties(&self.user_properties);
    }

    fn read(mut properties: Properties<'_>) -> Result<Self, ProtocolError> {
        let mut parts = Self::default();
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::PayloadFormatIndicator => {
                    parts.payload_is_utf8 = Some(properties.flag()?);
                }
                PropertyId::ContentType => parts.content_type = Some(properties.text()?),
                PropertyId::ResponseTopic => {
                    parts.response_topic = Some(TopicName::parse(properties.str()?)?);
                }
                PropertyId::CorrelationData => parts.correlation_data = Some(properties.binary()?),
                PropertyId::UserProperty => properties.user(&mut parts.user_properties)?,
                _ => return Err(id.not_allowed()),
            }
        }
        Ok(parts)
    }
}

fn whole_block(block: &Bytes) -> Properties<'_> {
    Properties::new(Reader::new(block, Version::V5, Direction::ToServer))
}

/// Picks the forwarded properties out of the block of a PUBLISH or a will.
pub(crate) struct Forwarding<'a> {
    block: &'a [u8],
    /// Where they stand, as long as nothing stands between them.
    run: Range<usize>,
    /// A copy of them, where something does.
    gathered: Vec<u8>,
}

impl<'a> Forwarding<'a> {
    pub(crate) fn new(properties: &Properties<'a>) -> Self {
        Self {
            block: properties.block(),
            run: 0..0,
            gathered: Vec::new(),
        }
    }

    /// Checks one property and keeps it.
    ///
    /// # Errors
    /// If its value is invalid, or it is not one that travels with the message: any other that
    /// the packet allows has to be taken before.
    pub(crate) fn take(
        &mut self,
        id: PropertyId,
        properties: &mut Properties<'a>,
    ) -> Result<(), ProtocolError> {
        match id {
            PropertyId::PayloadFormatIndicator => {
                properties.flag()?;
            }
            PropertyId::ContentType => {
                properties.str()?;
            }
            // [MQTT-3.3.2-14]
            PropertyId::ResponseTopic => TopicName::check(properties.str()?)?,
            PropertyId::CorrelationData => {
                properties.bytes()?;
            }
            PropertyId::UserProperty => {
                properties.str()?;
                properties.str()?;
            }
            _ => return Err(id.not_allowed()),
        }
        self.keep(properties.present());
        Ok(())
    }

    pub(crate) fn finish(self, properties: &Properties<'a>) -> ForwardedProperties {
        let block = if self.gathered.is_empty() {
            properties.share(self.part(self.run.clone()))
        } else {
            Bytes::from(self.gathered)
        };
        ForwardedProperties { block }
    }

    fn keep(&mut self, present: Range<usize>) {
        if !self.gathered.is_empty() {
            self.gathered.extend_from_slice(self.part(present));
        } else if self.run.is_empty() {
            self.run = present;
        } else if self.run.end == present.start {
            self.run.end = present.end;
        } else {
            self.gathered = [self.part(self.run.clone()), self.part(present)].concat();
        }
    }

    fn part(&self, range: Range<usize>) -> &'a [u8] {
        self.block.get(range).unwrap_or_default()
    }
}

/// Authentication method and data, of which either may come first.
#[derive(Default)]
pub(crate) struct AuthenticationParts {
    pub(crate) method: Option<Text>,
    pub(crate) data: Option<Bytes>,
}

impl AuthenticationParts {
    /// # Errors
    /// If there is data and no method.
    pub(crate) fn join(self) -> Result<Option<Authentication>, ProtocolError> {
        match (self.method, self.data) {
            (Some(method), data) => Ok(Some(Authentication { method, data })),
            (None, Some(_)) => Err(ProtocolError::AuthenticationMethodMissing),
            (None, None) => Ok(None),
        }
    }
}

impl Authentication {
    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        out.property(PropertyId::AuthenticationMethod)
            .text(&self.method);
        out.optional_binary(PropertyId::AuthenticationData, self.data.as_ref());
    }
}
