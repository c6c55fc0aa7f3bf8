//! The least that a client must be answered.

use crate::wire::{
    Delivery, Frame, Malformed, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, PacketType, ack_id,
    push_ack, split_text, split_varint,
};
use protocol::packet::{QoS, Version};

/// What a frame asks for, beyond its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked<'a> {
    /// Nothing.
    Nothing,
    /// To be passed on to who subscribed to this topic.
    PassOn(&'a [u8]),
    /// Messages for this filter.
    Subscribe(&'a [u8]),
    /// The end.
    Close,
}

/// Appends the answer to a frame and says what else it asks for.
#[inline]
pub(crate) fn answer<'a>(
    frame: &Frame<'a>,
    version: &mut Version,
    out: &mut Vec<u8>,
) -> Result<Asked<'a>, Malformed> {
    match frame.packet_type() {
        PacketType::Publish => {
            let delivery = Delivery::read(frame, *version)?;
            match (frame.qos(), delivery.packet_id) {
                (Some(QoS::AtLeastOnce), Some(id)) => push_ack(out, PUBACK, id),
                (Some(QoS::ExactlyOnce), Some(id)) => push_ack(out, PUBREC, id),
                _ => {}
            }
            return Ok(Asked::PassOn(delivery.topic));
        }
        // The publisher's.
        PacketType::Pubrel => push_ack(out, PUBCOMP, id(frame)?),
        // The subscriber's; its PUBACK and PUBCOMP end a delivery.
        PacketType::Pubrec => push_ack(out, PUBREL, id(frame)?),
        PacketType::Puback | PacketType::Pubcomp => {}
        PacketType::Pingreq => out.extend(PINGRESP),
        PacketType::Connect => {
            let (_, rest) = split_text(frame.body)?;
            let level = rest.first().ok_or(Malformed)?;
            *version = if *level == 5 {
                Version::V5
            } else {
                Version::V311
            };
            out.extend(connack(*version));
        }
        PacketType::Subscribe => return subscribe(frame, *version, out),
        _ => return Ok(Asked::Close),
    }
    Ok(Asked::Nothing)
}

/// Success, without a session and without properties.
fn connack(version: Version) -> &'static [u8] {
    match version {
        Version::V5 => &[0x20, 3, 0, 0, 0],
        Version::V311 => &[0x20, 2, 0, 0],
    }
}

/// Grants the first filter what it asks for.
fn subscribe<'a>(
    frame: &Frame<'a>,
    version: Version,
    out: &mut Vec<u8>,
) -> Result<Asked<'a>, Malformed> {
    let ([high, low], mut rest) = frame.body.split_first_chunk().ok_or(Malformed)?;
    if version == Version::V5 {
        let (len, after) = split_varint(rest)?.ok_or(Malformed)?;
        rest = after.get(len..).ok_or(Malformed)?;
    }
    let (filter, options) = split_text(rest)?;
    let qos = options.first().ok_or(Malformed)? & 3;
    match version {
        Version::V5 => out.extend([0x90, 4, *high, *low, 0, qos]),
        Version::V311 => out.extend([0x90, 3, *high, *low, qos]),
    }
    Ok(Asked::Subscribe(filter))
}

fn id(frame: &Frame<'_>) -> Result<[u8; 2], Malformed> {
    ack_id(frame)?.map_err(|_| Malformed)
}
