//! The data types of MQTT, taken one after the other from a frame [MQTT 5.0 §1.5].
//!
//! A reader cannot run off its end, and what it hands out is a part of the frame, not a copy.

use super::varint::Varint;
use super::{Direction, Properties};
use crate::packet::{PacketId, Version};
use crate::topic::{TopicFilter, TopicName};
use crate::{ProtocolError, ReasonCode, Text};
use bytes::Bytes;

/// Reads the body of one packet, or the block of its properties.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    /// What the packet came with says how it is read.
    pub(crate) version: Version,
    pub(crate) direction: Direction,
    /// What is handed out is a share in this.
    frame: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads all of these bytes.
    pub(crate) fn new(frame: &'a Bytes, version: Version, direction: Direction) -> Self {
        Self::within(frame, frame, (version, direction))
    }

    /// Reads a part of these bytes.
    #[inline]
    pub(super) fn within(
        frame: &'a Bytes,
        part: &'a [u8],
        (version, direction): (Version, Direction),
    ) -> Self {
        Self {
            version,
            direction,
            frame,
            rest: part,
        }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends a packet.
    pub(crate) fn finish(&self) -> Result<(), ProtocolError> {
        if !self.is_empty() {
            return Err(ProtocolError::TrailingBytes);
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, ProtocolError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, ProtocolError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, ProtocolError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u32, ProtocolError> {
        let varint = Varint::read(self.rest)?.ok_or(ProtocolError::Truncated)?;
        if !varint.is_minimal() {
            return Err(ProtocolError::VarintNotMinimal);
        }
        self.take(varint.len)?;
        Ok(varint.value)
    }

    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, ProtocolError> {
        PacketId::new(self.u16()?).ok_or(ProtocolError::PacketIdZero)
    }

    /// A UTF-8 encoded string that is kept.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<Text, ProtocolError> {
        Ok(Text::from_bytes(self.binary()?)?)
    }

    /// A UTF-8 encoded string that is only looked at.
    pub(crate) fn str(&mut self) -> Result<&'a str, ProtocolError> {
        Ok(Text::check(self.prefixed()?)?)
    }

    pub(crate) fn binary(&mut self) -> Result<Bytes, ProtocolError> {
        let bytes = self.prefixed()?;
        Ok(self.frame.slice_ref(bytes))
    }

    pub(crate) fn topic_name(&mut self) -> Result<TopicName, ProtocolError> {
        Ok(TopicName::read(self.prefixed()?)?)
    }

    pub(crate) fn topic_filter(&mut self) -> Result<TopicFilter, ProtocolError> {
        Ok(TopicFilter::from_text(self.text()?)?)
    }

    /// A reason code, which has to be one of those that the packet knows.
    pub(crate) fn reason(&mut self, known: &[ReasonCode]) -> Result<ReasonCode, ProtocolError> {
        let byte = self.u8()?;
        ReasonCode::from_byte(byte)
            .filter(|code| known.contains(code))
            .ok_or(ProtocolError::ReasonCodeNotAllowed(byte))
    }

    /// All reason codes of a SUBACK or UNSUBACK; at least one.
    pub(crate) fn reasons(
        &mut self,
        known: &[ReasonCode],
    ) -> Result<Vec<ReasonCode>, ProtocolError> {
        let mut reasons = Vec::with_capacity(self.rest.len());
        while !self.is_empty() {
            reasons.push(self.reason(known)?);
        }
        if reasons.is_empty() {
            return Err(ProtocolError::NoTopicFilter);
        }
        Ok(reasons)
    }

    /// The properties of the packet: none at all in 3.1.1.
    pub(crate) fn properties(&mut self) -> Result<Properties<'a>, ProtocolError> {
        let block = self.block()?;
        Ok(self.properties_in(block))
    }

    /// The bytes of these properties.
    #[inline]
    pub(crate) fn block(&mut self) -> Result<&'a [u8], ProtocolError> {
        match self.version {
            Version::V311 => Ok(&[]),
            Version::V5 => {
                let len = self.varint()?;
                self.take(usize::try_from(len).unwrap_or(usize::MAX))
            }
        }
    }

    /// The properties that such bytes hold.
    pub(crate) fn properties_in(&self, block: &'a [u8]) -> Properties<'a> {
        Properties::new(Self {
            rest: block,
            ..self.clone()
        })
    }

    /// Bytes of the frame, as a share in it.
    pub(crate) fn share(&self, bytes: &'a [u8]) -> Bytes {
        self.frame.slice_ref(bytes)
    }

    /// Two length bytes and what they announce.
    #[inline]
    pub(crate) fn prefixed(&mut self) -> Result<&'a [u8], ProtocolError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], ProtocolError> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(ProtocolError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(ProtocolError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }
}
