//! Bytes to packets and packets to bytes, one packet at a time.
//!
//! What is read is valid in full, so that nobody behind has to ask again; how each packet looks
//! is said beside it, in `packet`.

mod frame;
mod properties;
mod reader;
pub(crate) mod varint;
mod version;
mod writer;

pub use frame::Frame;

pub(crate) use frame::{Header, Kind};
pub(crate) use properties::{Properties, PropertyId};
pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

use crate::packet::{
    Ack, Auth, Connack, Connect, Disconnect, Packet, PacketId, Publish, Suback, Subscribe,
    Unsuback, Unsubscribe, Version,
};
use crate::topic::TopicName;
use crate::{ProtocolError, ReasonCode};
use bytes::BytesMut;
use std::num::{NonZeroU16, NonZeroU32};
use writer::Words;

/// The way a packet travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A client sent it.
    ToServer,
    /// A server sent it.
    ToClient,
}

/// The packet cannot be sent: it would be longer than its receiver or the protocol allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet would be longer than allowed")]
pub struct TooLarge;

/// The longest packet that a fixed header can announce, in bytes.
pub const PACKET_SIZE_MAX: NonZeroU32 =
    NonZeroU32::MIN.saturating_add(varint::MAX + FIXED_HEADER_MAX - 1);

/// The first byte and the longest remaining length.
const FIXED_HEADER_MAX: u32 = 5;

/// Reads a packet on its own: there is no topic alias that it could mean. A CONNECT is read in
/// the version it names.
///
/// # Errors
/// If the packet is not valid.
pub fn read(frame: Frame<'_>, version: Version) -> Result<Packet, ProtocolError> {
    if frame.kind != Kind::Publish {
        return read_control(frame, version);
    }
    let topic = |name: &[u8], alias: Option<NonZeroU16>| match alias {
        None if name.is_empty() => Err(ProtocolError::TopicMissing),
        None => Ok(TopicName::read(name)?),
        Some(_) => Err(ProtocolError::TopicAliasInvalid),
    };
    Publish::read(frame, version, topic, Packet::Publish)
}

/// Reads an acknowledgement that is nothing but its identifier, as most are.
#[inline]
pub(crate) fn read_bare_ack(frame: &Frame<'_>) -> Option<Packet> {
    let id = <[u8; 2]>::try_from(frame.body()).ok()?;
    let ack = Ack::success(PacketId::new(u16::from_be_bytes(id))?);
    match frame.kind {
        Kind::Puback => Some(Packet::Puback(ack)),
        Kind::Pubrec => Some(Packet::Pubrec(ack)),
        Kind::Pubrel => Some(Packet::Pubrel(ack)),
        Kind::Pubcomp => Some(Packet::Pubcomp(ack)),
        _ => None,
    }
}

/// Reads a packet that is not a PUBLISH.
pub(crate) fn read_control(frame: Frame<'_>, version: Version) -> Result<Packet, ProtocolError> {
    if frame.kind != Kind::Connect {
        frame.check_length(version)?;
    }
    let mut reader = frame.reader(version);
    let body = &mut reader;
    let packet = match frame.kind {
        Kind::Connect => {
            let connect = Connect::read(body)?;
            frame.check_length(connect.version)?;
            Packet::Connect(Box::new(connect))
        }
        Kind::Connack => Packet::Connack(Box::new(Connack::read(body)?)),
        // It takes its packet apart: see `Publish::read`.
        Kind::Publish => return Err(ProtocolError::PacketTypeReserved),
        Kind::Puback => Packet::Puback(Ack::read_received(body)?),
        Kind::Pubrec => Packet::Pubrec(Ack::read_received(body)?),
        Kind::Pubrel => Packet::Pubrel(Ack::read_released(body)?),
        Kind::Pubcomp => Packet::Pubcomp(Ack::read_released(body)?),
        Kind::Subscribe => Packet::Subscribe(Box::new(Subscribe::read(body)?)),
        Kind::Suback => Packet::Suback(Box::new(Suback::read(body)?)),
        Kind::Unsubscribe => Packet::Unsubscribe(Box::new(Unsubscribe::read(body)?)),
        Kind::Unsuback => Packet::Unsuback(Box::new(Unsuback::read(body)?)),
        Kind::Pingreq => Packet::Pingreq,
        Kind::Pingresp => Packet::Pingresp,
        Kind::Disconnect => Packet::Disconnect(Box::new(Disconnect::read(body)?)),
        Kind::Auth => Packet::Auth(Box::new(Auth::read(body)?)),
    };
    reader.finish()?;
    frame.skip();
    Ok(packet)
}

/// Writes a packet.
///
/// What 3.1.1 cannot say is left out; errors take the nearest of its codes. That a server of
/// 3.1.1 sends no DISCONNECT is up to the caller.
///
/// # Errors
/// If the packet is longer than the protocol allows, or has binary data of more than 65,535
/// bytes, or is an AUTH, for which 3.1.1 has no room at all. Nothing is written then.
pub fn write(packet: &Packet, version: Version, out: &mut BytesMut) -> Result<(), TooLarge> {
    write_within(packet, version, PACKET_SIZE_MAX, out)
}

/// Writes a packet of at most `size_max` bytes; to that end the user properties, and then the
/// reason string, of an acknowledgement or a DISCONNECT are left out [MQTT-3.2.2-19]
/// [MQTT-3.2.2-20] [MQTT-3.14.2-3] [MQTT-3.14.2-4].
///
/// # Errors
/// As [`write()`], and if the packet is still longer.
pub fn write_within(
    packet: &Packet,
    version: Version,
    size_max: NonZeroU32,
    out: &mut BytesMut,
) -> Result<(), TooLarge> {
    if let Packet::Publish(publish) = packet {
        return publish.head().write_within(version, size_max, out);
    }
    if let Some(ack) = bare_ack(packet).filter(|_| size_max.get() >= BARE_ACK_LEN) {
        out.extend_from_slice(&ack);
        return Ok(());
    }
    let first = kind(packet).first_byte();
    let (words, header) = Words::FALLBACKS
        .into_iter()
        .find_map(|words| {
            let header = Header::new(first, body_len(packet, version, words), size_max);
            Some((words, header.ok()?))
        })
        .ok_or(TooLarge)?;
    out.reserve(header.packet_len());
    header.write(out);
    write_body(packet, &mut Writer::new(version, words, out));
    Ok(())
}

const BARE_ACK_LEN: u32 = 4;

/// An acknowledgement that only says that all is well, the most frequent packet besides PUBLISH:
/// it looks the same in all versions and needs no measuring.
fn bare_ack(packet: &Packet) -> Option<[u8; 4]> {
    let (Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack)) =
        packet
    else {
        return None;
    };
    let is_bare = ack.reason == ReasonCode::Success && ack.words.is_none();
    let [high, low] = ack.packet_id.get().to_be_bytes();
    is_bare.then(|| [kind(packet).first_byte(), 2, high, low])
}

/// Takes packets that [`write()`] has written apart again, each with its fixed header.
pub fn packets(mut written: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (_, rest) = written.split_first()?;
        let remaining = varint::Varint::read(rest).ok()??;
        let len = 1 + remaining.len + usize::try_from(remaining.value).ok()?;
        let (packet, behind) = written.split_at_checked(len)?;
        written = behind;
        Some(packet)
    })
}

/// Whether a packet as it was written is a PUBLISH at QoS 0.
pub fn is_publish_qos0(packet: &[u8]) -> bool {
    packet
        .first()
        .is_some_and(|first| first & 0b1111_0110 == Kind::Publish.first_byte())
}

/// How many bytes [`write()`] would write; `usize::MAX` where it fails.
pub fn encoded_len(packet: &Packet, version: Version) -> usize {
    let body_len = match packet {
        Packet::Publish(publish) => publish.head().body_len(version),
        _ => body_len(packet, version, Words::All),
    };
    Header::new(0, body_len, PACKET_SIZE_MAX).map_or(usize::MAX, |header| header.packet_len())
}

fn body_len(packet: &Packet, version: Version, words: Words) -> usize {
    Writer::measure(version, words, |body| write_body(packet, body))
}

fn write_body(packet: &Packet, body: &mut Writer<'_>) {
    match packet {
        // Written by its head, without a detour.
        Packet::Publish(_) | Packet::Pingreq | Packet::Pingresp => {}
        Packet::Connect(connect) => connect.write(body),
        Packet::Connack(connack) => connack.write(body),
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            ack.write(body);
        }
        Packet::Subscribe(subscribe) => subscribe.write(body),
        Packet::Suback(suback) => suback.write(body),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.write(body),
        Packet::Unsuback(unsuback) => unsuback.write(body),
        Packet::Disconnect(disconnect) => disconnect.write(body),
        Packet::Auth(auth) => auth.write(body),
    }
}

fn kind(packet: &Packet) -> Kind {
    match packet {
        Packet::Connect(_) => Kind::Connect,
        Packet::Connack(_) => Kind::Connack,
        Packet::Publish(_) => Kind::Publish,
        Packet::Puback(_) => Kind::Puback,
        Packet::Pubrec(_) => Kind::Pubrec,
        Packet::Pubrel(_) => Kind::Pubrel,
        Packet::Pubcomp(_) => Kind::Pubcomp,
        Packet::Subscribe(_) => Kind::Subscribe,
        Packet::Suback(_) => Kind::Suback,
        Packet::Unsubscribe(_) => Kind::Unsubscribe,
        Packet::Unsuback(_) => Kind::Unsuback,
        Packet::Pingreq => Kind::Pingreq,
        Packet::Pingresp => Kind::Pingresp,
        Packet::Disconnect(_) => Kind::Disconnect,
        Packet::Auth(_) => Kind::Auth,
    }
}
