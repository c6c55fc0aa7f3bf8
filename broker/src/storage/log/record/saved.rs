//! What a checkpoint says beside records: where messages are, who owes them, and how far numbers
//! have come.
//!
//! It has the same state in fewer words than the records that led to it.

use super::coding::{Flags, Malformed, Reader, write_head, write_number};
use super::receiver::{read_target, write_target};
use super::{Outline, message_number, packet_id, read_record, write};
use crate::engine::{MessageNumber, Record, SessionNumber, Target, Time};
use crate::storage::ledger::Place;
use protocol::packet::PacketId;
use std::num::NonZeroU64;

const PLACED: u8 = 32;
const OWED: u8 = 33;
const AWAITS_PUBCOMP: u8 = 34;
const NEXT: u8 = 35;
const END: u8 = 36;
const FORWARDED: u8 = 37;
const LAST_SENT: u8 = 38;

/// Of a place: the message expires.
const EXPIRES: u8 = 1;

/// What stands in a checkpoint.
#[derive(Debug)]
pub(in crate::storage) enum Saved {
    /// A session, what it subscribes to, its will, what it accepted, a retained message, or what
    /// was taken of another shard.
    Record(Record),
    /// A message is in the log. Its receivers follow.
    Placed {
        number: MessageNumber,
        place: Place,
        outline: Outline,
    },
    /// A session owes it, under this identifier if it was sent at QoS 2.
    Owed {
        number: MessageNumber,
        target: Target,
        sent: Option<PacketId>,
    },
    /// The client has a QoS 2 message, and its identifier is in use until PUBCOMP.
    AwaitsPubcomp {
        session: SessionNumber,
        packet_id: PacketId,
    },
    /// The last identifier a session has sent a QoS 2 message under, ended or not.
    LastSent {
        session: SessionNumber,
        packet_id: PacketId,
    },
    /// The other shards are to get a message.
    Forwarded { number: MessageNumber },
    /// The numbers of the next session and the next message.
    Next { session: u64, message: NonZeroU64 },
    /// Nothing follows; so many stood before.
    End { len: u64 },
}

pub(in crate::storage) fn write_saved(saved: &Saved, out: &mut Vec<u8>) {
    let mut put = |tag: u8, numbers: &[u64]| write_head(tag, numbers, out);
    match saved {
        Saved::Record(record) => {
            write(record, out);
        }
        Saved::Placed {
            number,
            place,
            outline,
        } => {
            let (segment, offset) = (place.segment.into(), place.offset.into());
            put(PLACED, &[number.0.get(), segment, offset]);
            write_outline(outline, out);
        }
        Saved::Owed {
            number,
            target,
            sent,
        } => {
            let sent = sent.map_or(0, PacketId::get);
            put(OWED, &[number.0.get(), sent.into()]);
            write_target(target, out);
        }
        Saved::AwaitsPubcomp { session, packet_id } => {
            put(AWAITS_PUBCOMP, &[session.0, packet_id.get().into()]);
        }
        Saved::LastSent { session, packet_id } => {
            put(LAST_SENT, &[session.0, packet_id.get().into()]);
        }
        Saved::Forwarded { number } => put(FORWARDED, &[number.0.get()]),
        Saved::Next { session, message } => put(NEXT, &[*session, message.get()]),
        Saved::End { len } => put(END, &[*len]),
    }
}

fn write_outline(outline: &Outline, out: &mut Vec<u8>) {
    write_number(outline.len.into(), out);
    write_number(outline.payload_len.into(), out);
    out.push(Flags::byte(0, &[(EXPIRES, outline.expires_at.is_some())]));
    if let Some(at) = outline.expires_at {
        write_number(at.millis(), out);
    }
}

pub(in crate::storage) fn read_saved(reader: &mut Reader<'_>) -> Result<Saved, Malformed> {
    let tag = reader.byte()?;
    Ok(match tag {
        PLACED => read_placed(reader)?,
        OWED => Saved::Owed {
            number: message_number(reader)?,
            sent: PacketId::new(reader.small()?),
            target: read_target(reader)?,
        },
        AWAITS_PUBCOMP => Saved::AwaitsPubcomp {
            session: SessionNumber(reader.number()?),
            packet_id: packet_id(reader)?,
        },
        LAST_SENT => Saved::LastSent {
            session: SessionNumber(reader.number()?),
            packet_id: packet_id(reader)?,
        },
        FORWARDED => Saved::Forwarded {
            number: message_number(reader)?,
        },
        NEXT => Saved::Next {
            session: reader.number()?,
            message: message_number(reader)?.0,
        },
        END => Saved::End {
            len: reader.number()?,
        },
        _ => Saved::Record(read_record(tag, reader)?),
    })
}

fn read_placed(reader: &mut Reader<'_>) -> Result<Saved, Malformed> {
    let number = message_number(reader)?;
    let (segment, offset) = (reader.small()?, reader.small()?);
    let (len, payload_len) = (reader.small()?, reader.small()?);
    let flags = reader.flags(EXPIRES)?;
    let expires_at = flags.optional(EXPIRES, reader, Reader::number)?;
    Ok(Saved::Placed {
        number,
        place: Place {
            segment,
            offset,
            len,
        },
        outline: Outline {
            len,
            payload_len,
            expires_at: expires_at.map(Time::from_millis),
        },
    })
}
