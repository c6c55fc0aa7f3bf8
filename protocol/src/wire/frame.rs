//! The frame: fixed header and the bytes it announces [MQTT 5.0 §2.1].
//!
//! What a header announces is judged before its body has arrived, and room is never made for it.

use super::varint::{self, Varint};
use super::{Direction, Reader, TooLarge};
use crate::ProtocolError;
use crate::packet::Version;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::num::NonZeroU32;

/// A control packet that has arrived whole and has not been read: it stands at the front of what
/// has arrived.
#[derive(Debug)]
pub struct Frame<'a> {
    pub(crate) kind: Kind,
    /// The four bits beside the kind.
    pub(crate) flags: u8,
    pub(crate) direction: Direction,
    /// Whether the remaining length was in its shortest form.
    is_minimal: bool,
    header_len: usize,
    packet_len: usize,
    /// The packet, and all that is behind it.
    arrived: &'a mut Bytes,
}

impl<'a> Frame<'a> {
    /// Sees the first packet of what has arrived; `None` if it is not complete. Nothing is taken.
    ///
    /// # Errors
    /// If the packet type is reserved or does not travel this way, its flags are not those it
    /// has to have, its remaining length is malformed, or it would be longer than `size_max`
    /// bytes, all of it counted [MQTT-3.1.2-24].
    #[inline]
    pub fn first(
        arrived: &'a mut Bytes,
        direction: Direction,
        size_max: NonZeroU32,
    ) -> Result<Option<Self>, ProtocolError> {
        let Some((first, rest)) = arrived.split_first() else {
            return Ok(None);
        };
        let (kind, flags) = kind_and_flags(*first, direction)?;
        let Some(remaining) = Varint::read(rest)? else {
            return Ok(None);
        };
        let header_len = 1 + remaining.len;
        let packet_len = header_len + widen(remaining.value);
        if packet_len > widen(size_max.get()) {
            return Err(ProtocolError::PacketTooLarge);
        }
        if arrived.len() < packet_len {
            return Ok(None);
        }
        Ok(Some(Self {
            kind,
            flags,
            direction,
            is_minimal: remaining.is_minimal(),
            header_len,
            packet_len,
            arrived,
        }))
    }

    /// How many bytes the packet takes, all of it counted; at least two.
    pub fn packet_len(&self) -> usize {
        self.packet_len
    }

    /// All behind the remaining length.
    #[inline]
    pub(crate) fn body(&self) -> &[u8] {
        self.arrived
            .get(self.header_len..self.packet_len)
            .unwrap_or_default()
    }

    #[inline]
    pub(crate) fn reader(&self, version: Version) -> Reader<'_> {
        Reader::within(self.arrived, self.body(), (version, self.direction))
    }

    /// Checks the form of the remaining length, for which 3.1.1 has no rule [MQTT-1.5.5-1].
    #[inline]
    pub(crate) fn check_length(&self, version: Version) -> Result<(), ProtocolError> {
        if !self.is_minimal && version == Version::V5 {
            return Err(ProtocolError::VarintNotMinimal);
        }
        Ok(())
    }

    /// Takes the packet from what has arrived.
    #[inline]
    pub(crate) fn skip(self) {
        self.arrived.advance(self.packet_len);
    }

    /// Takes the packet from what has arrived, and so many bytes at its end as a share in that.
    #[inline]
    pub(crate) fn take_end(self, len: usize) -> Bytes {
        self.arrived.advance(self.packet_len - len);
        self.arrived.split_to(len)
    }
}

#[inline]
fn kind_and_flags(first: u8, direction: Direction) -> Result<(Kind, u8), ProtocolError> {
    let kind = Kind::from_first_byte(first).ok_or(ProtocolError::PacketTypeReserved)?;
    let flags = first & 0x0F;
    if !kind.travels(direction) {
        return Err(ProtocolError::WrongDirection);
    }
    if kind != Kind::Publish && flags != kind.flags() {
        return Err(ProtocolError::FlagsReserved);
    }
    Ok((kind, flags))
}

/// The fixed header of a packet that is to be written.
pub(crate) struct Header {
    first: u8,
    remaining: u32,
    packet_len: usize,
}

impl Header {
    /// # Errors
    /// If header and body together are longer than `size_max`, or the body than any header can
    /// say.
    #[inline]
    pub(crate) fn new(first: u8, body_len: usize, size_max: NonZeroU32) -> Result<Self, TooLarge> {
        let remaining = u32::try_from(body_len).map_err(|_| TooLarge)?;
        let packet_len = 1 + varint::len(remaining) + body_len;
        if remaining > varint::MAX || packet_len > widen(size_max.get()) {
            return Err(TooLarge);
        }
        Ok(Self {
            first,
            remaining,
            packet_len,
        })
    }

    #[inline]
    pub(crate) fn write(&self, out: &mut BytesMut) {
        out.put_u8(self.first);
        varint::write(self.remaining, out);
    }

    /// Header and body together.
    #[inline]
    pub(crate) fn packet_len(&self) -> usize {
        self.packet_len
    }
}

/// What a length on the wire counts in memory.
fn widen(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// The control packet types [MQTT 5.0 §2.1.2].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl Kind {
    /// The type in the upper four bits; 0 is reserved.
    #[inline]
    pub(crate) fn from_first_byte(first: u8) -> Option<Self> {
        Some(match first >> 4 {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            8 => Self::Subscribe,
            9 => Self::Suback,
            10 => Self::Unsubscribe,
            11 => Self::Unsuback,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The first byte of such a packet that is not a PUBLISH.
    pub(crate) fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.flags()
    }

    /// The flags of the fixed header, which only a PUBLISH may choose [MQTT-2.1.3-1].
    pub(super) fn flags(self) -> u8 {
        match self {
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            Self::Connect
            | Self::Connack
            | Self::Publish
            | Self::Puback
            | Self::Pubrec
            | Self::Pubcomp
            | Self::Suback
            | Self::Unsuback
            | Self::Pingreq
            | Self::Pingresp
            | Self::Disconnect
            | Self::Auth => 0,
        }
    }

    /// Whether such a packet may travel this way.
    pub(super) fn travels(self, direction: Direction) -> bool {
        match self {
            Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::Pingreq => {
                direction == Direction::ToServer
            }
            Self::Connack | Self::Suback | Self::Unsuback | Self::Pingresp => {
                direction == Direction::ToClient
            }
            Self::Publish
            | Self::Puback
            | Self::Pubrec
            | Self::Pubrel
            | Self::Pubcomp
            | Self::Disconnect
            | Self::Auth => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arrived: &[u8], size_max: u32, expected: Result<Option<usize>, ProtocolError>) {
        let size_max = NonZeroU32::new(size_max).unwrap();
        let mut rest = Bytes::copy_from_slice(arrived);
        let frame = Frame::first(&mut rest, Direction::ToServer, size_max);
        let body_len = frame.map(|frame| {
            frame.map(|frame| {
                let len = frame.body().len();
                frame.skip();
                len
            })
        });
        assert_eq!(body_len, expected, "{arrived:02x?}");
        let header_len = 2;
        assert_eq!(
            arrived.len() - rest.len(),
            expected.ok().flatten().map_or(0, |len| len + header_len)
        );
    }

    #[test]
    fn a_frame_is_taken_when_it_is_complete() {
        check(&[], 100, Ok(None));
        check(&[0xC0], 100, Ok(None));
        check(&[0xC0, 0x00], 100, Ok(Some(0)));
        check(&[0x40, 0x02, 0x00], 100, Ok(None));
        check(&[0x40, 0x02, 0x00, 0x01, 0xC0], 100, Ok(Some(2)));
    }

    #[test]
    fn a_length_is_judged_before_the_body_arrives() {
        check(&[0x00], 100, Err(ProtocolError::PacketTypeReserved));
        check(&[0x20], 100, Err(ProtocolError::WrongDirection));
        check(&[0xC1], 100, Err(ProtocolError::FlagsReserved));
        check(&[0x60], 100, Err(ProtocolError::FlagsReserved));
        check(&[0x30, 0x62], 100, Ok(None));
        check(&[0x30, 0x63], 100, Err(ProtocolError::PacketTooLarge));
        check(
            &[0x10, 0xFF, 0xFF, 0xFF, 0x7F],
            100,
            Err(ProtocolError::PacketTooLarge),
        );
        check(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F], u32::MAX, Ok(None));
        check(
            &[0x30, 0xFF, 0xFF, 0xFF, 0xFF],
            u32::MAX,
            Err(ProtocolError::VarintTooLong),
        );
    }
}
