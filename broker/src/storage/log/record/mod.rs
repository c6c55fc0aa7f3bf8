//! Records as bytes: a byte for which one it is, then its numbers, then its content.
//!
//! The tags are part of the format: one that was used once never means anything else.

pub(in crate::storage) mod coding;
mod message;
mod receiver;
mod saved;

pub use coding::Malformed;
pub(in crate::storage) use message::{Outline, checked, read_content};
pub(in crate::storage) use saved::{Saved, read_saved, write_saved};

use crate::engine::{MessageNumber, Reach, Record, SessionNumber, Target, Time};
use coding::{Reader, write_bytes, write_head, write_number};
use message::{
    read_message, read_topic, read_will, skim_content, write_content, write_message, write_will,
};
use protocol::packet::PacketId;
use receiver::{
    read_filter, read_grant, read_key, read_target, write_filter, write_grant, write_key,
    write_target,
};
use smallvec::SmallVec;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

const SESSION_CREATED: u8 = 1;
const SESSION_RESUMED: u8 = 2;
const SESSION_LEFT: u8 = 3;
const SESSION_ENDED: u8 = 4;
const SUBSCRIBED: u8 = 5;
const UNSUBSCRIBED: u8 = 6;
const WILL_SET: u8 = 7;
const WILL_CLEARED: u8 = 8;
const MESSAGE: u8 = 9;
const COPY: u8 = 10;
const SETTLED: u8 = 11;
const SENT: u8 = 12;
const RECEIVED: u8 = 13;
const COMPLETED: u8 = 14;
const ACCEPTED: u8 = 15;
const RELEASED: u8 = 16;
const RETAINED: u8 = 17;
const RETAINED_CLEARED: u8 = 18;
const CARRIED: u8 = 19;
const MESSAGE_EVERYWHERE: u8 = 20;
const FORWARDS_TAKEN: u8 = 21;
const FORWARDS_DONE: u8 = 22;

/// What stands in a log: what the engine has recorded, its messages left where they are, and
/// what storage does with them.
#[derive(Debug)]
pub(in crate::storage) enum Logged {
    /// Anything but a message.
    Record(Record),
    /// [`Record::Message`].
    Message {
        number: MessageNumber,
        content: Found,
        targets: SmallVec<[Target; 1]>,
        reach: Reach,
    },
    /// The content of a message, written again so that the segment it was in can be let go.
    Carried {
        number: MessageNumber,
        content: Found,
    },
}

/// The content of a message in what was read.
#[derive(Clone, Copy, Debug)]
pub(in crate::storage) struct Found {
    pub(in crate::storage) outline: Outline,
    /// How many bytes there are from its beginning to the end of what was read.
    pub(in crate::storage) from_end: usize,
}

/// Writes a record. Where the content of its message is, if it has one.
pub(in crate::storage) fn write(record: &Record, out: &mut Vec<u8>) -> Option<Range<usize>> {
    write_numbers(record, out);
    write_rest(record, out)
}

/// Writes the content of a message once more. Where it is.
pub(in crate::storage) fn write_carried(
    number: MessageNumber,
    content: &[u8],
    out: &mut Vec<u8>,
) -> Range<usize> {
    out.push(CARRIED);
    write_number(number.0.get(), out);
    let begin = out.len();
    out.extend_from_slice(content);
    begin..out.len()
}

fn write_numbers(record: &Record, out: &mut Vec<u8>) {
    let mut put = |tag: u8, numbers: &[u64]| write_head(tag, numbers, out);
    match record {
        Record::SessionCreated {
            session, expiry, ..
        } => put(SESSION_CREATED, &[session.0, (*expiry).into()]),
        Record::SessionResumed { session, expiry } => {
            put(SESSION_RESUMED, &[session.0, (*expiry).into()]);
        }
        Record::SessionLeft {
            session,
            at,
            expiry,
        } => put(SESSION_LEFT, &[session.0, at.millis(), (*expiry).into()]),
        Record::SessionEnded { session } => put(SESSION_ENDED, &[session.0]),
        Record::Subscribed { session, .. } => put(SUBSCRIBED, &[session.0]),
        Record::Unsubscribed { session, .. } => put(UNSUBSCRIBED, &[session.0]),
        Record::WillSet { session, .. } => put(WILL_SET, &[session.0]),
        Record::WillCleared { session } => put(WILL_CLEARED, &[session.0]),
        Record::Message { number, reach, .. } => match reach {
            Reach::Here => put(MESSAGE, &[number.0.get()]),
            Reach::Everywhere => put(MESSAGE_EVERYWHERE, &[number.0.get()]),
        },
        Record::Copy { number, of, .. } => put(COPY, &[number.0.get(), of.0.get()]),
        Record::Settled { session, message } => put(SETTLED, &[session.0, message.0.get()]),
        Record::Sent {
            session,
            message,
            packet_id,
        } => put(SENT, &[session.0, message.0.get(), packet_id.get().into()]),
        Record::Received {
            session,
            message,
            packet_id,
        } => put(
            RECEIVED,
            &[session.0, message.0.get(), packet_id.get().into()],
        ),
        Record::Completed { session, packet_id } => {
            put(COMPLETED, &[session.0, packet_id.get().into()]);
        }
        Record::Accepted { session, packet_id } => {
            put(ACCEPTED, &[session.0, packet_id.get().into()]);
        }
        Record::Released { session, packet_id } => {
            put(RELEASED, &[session.0, packet_id.get().into()]);
        }
        Record::Retained { .. } => put(RETAINED, &[]),
        Record::RetainedCleared { .. } => put(RETAINED_CLEARED, &[]),
        Record::ForwardsTaken { from, up_to } => {
            put(FORWARDS_TAKEN, &[(*from).into(), up_to.0.get()]);
        }
        Record::ForwardsDone { up_to } => put(FORWARDS_DONE, &[up_to.0.get()]),
    }
}

fn write_rest(record: &Record, out: &mut Vec<u8>) -> Option<Range<usize>> {
    match record {
        Record::SessionCreated { key, .. } => write_key(key, out),
        Record::Subscribed { filter, grant, .. } => {
            write_filter(filter, out);
            write_grant(*grant, out);
        }
        Record::Unsubscribed { filter, .. } => write_filter(filter, out),
        Record::WillSet { will, .. } => write_will(will, out),
        Record::Message {
            message, targets, ..
        } => {
            let content = write_content(message, out);
            write_number(targets.len() as u64, out);
            targets.iter().for_each(|target| write_target(target, out));
            return Some(content);
        }
        Record::Copy { target, .. } => write_target(target, out),
        Record::Retained { message } => write_message(message, out),
        Record::RetainedCleared { topic } => write_bytes(topic.as_str().as_bytes(), out),
        Record::SessionResumed { .. }
        | Record::SessionLeft { .. }
        | Record::SessionEnded { .. }
        | Record::WillCleared { .. }
        | Record::Settled { .. }
        | Record::Sent { .. }
        | Record::Received { .. }
        | Record::Completed { .. }
        | Record::Accepted { .. }
        | Record::Released { .. }
        | Record::ForwardsTaken { .. }
        | Record::ForwardsDone { .. } => {}
    }
    None
}

/// Reads what stands in a log. The fields are read in the order in which they were written.
pub(in crate::storage) fn read(reader: &mut Reader<'_>) -> Result<Logged, Malformed> {
    let tag = reader.byte()?;
    match tag {
        MESSAGE => read_logged_message(Reach::Here, reader),
        MESSAGE_EVERYWHERE => read_logged_message(Reach::Everywhere, reader),
        CARRIED => Ok(Logged::Carried {
            number: message_number(reader)?,
            content: found(reader)?,
        }),
        _ => read_record(tag, reader).map(Logged::Record),
    }
}

fn read_logged_message(reach: Reach, reader: &mut Reader<'_>) -> Result<Logged, Malformed> {
    Ok(Logged::Message {
        number: message_number(reader)?,
        content: found(reader)?,
        targets: read_targets(reader)?,
        reach,
    })
}

fn found(reader: &mut Reader<'_>) -> Result<Found, Malformed> {
    Ok(Found {
        from_end: reader.left(),
        outline: skim_content(reader)?,
    })
}

fn read_record(tag: u8, reader: &mut Reader<'_>) -> Result<Record, Malformed> {
    match tag {
        COPY => Ok(Record::Copy {
            number: message_number(reader)?,
            of: message_number(reader)?,
            target: read_target(reader)?,
        }),
        RETAINED => Ok(Record::Retained {
            message: read_message(reader)?,
        }),
        RETAINED_CLEARED => Ok(Record::RetainedCleared {
            topic: read_topic(reader)?,
        }),
        FORWARDS_TAKEN => Ok(Record::ForwardsTaken {
            from: reader.small()?,
            up_to: message_number(reader)?,
        }),
        FORWARDS_DONE => Ok(Record::ForwardsDone {
            up_to: message_number(reader)?,
        }),
        _ => {
            let session = SessionNumber(reader.number()?);
            read_of_session(tag, session, reader)
        }
    }
}

/// A record that begins with its session.
fn read_of_session(
    tag: u8,
    session: SessionNumber,
    reader: &mut Reader<'_>,
) -> Result<Record, Malformed> {
    Ok(match tag {
        SESSION_CREATED => Record::SessionCreated {
            session,
            expiry: reader.small()?,
            key: Arc::new(read_key(reader)?),
        },
        SESSION_RESUMED => Record::SessionResumed {
            session,
            expiry: reader.small()?,
        },
        SESSION_LEFT => Record::SessionLeft {
            session,
            at: Time::from_millis(reader.number()?),
            expiry: reader.small()?,
        },
        SESSION_ENDED => Record::SessionEnded { session },
        SUBSCRIBED => Record::Subscribed {
            session,
            filter: read_filter(reader)?,
            grant: read_grant(reader)?,
        },
        UNSUBSCRIBED => Record::Unsubscribed {
            session,
            filter: read_filter(reader)?,
        },
        WILL_SET => Record::WillSet {
            session,
            will: Arc::new(read_will(reader)?),
        },
        WILL_CLEARED => Record::WillCleared { session },
        _ => return read_of_delivery(tag, session, reader),
    })
}

/// A record of what a session and its client owe each other.
fn read_of_delivery(
    tag: u8,
    session: SessionNumber,
    reader: &mut Reader<'_>,
) -> Result<Record, Malformed> {
    Ok(match tag {
        SETTLED => Record::Settled {
            session,
            message: message_number(reader)?,
        },
        SENT => Record::Sent {
            session,
            message: message_number(reader)?,
            packet_id: packet_id(reader)?,
        },
        RECEIVED => Record::Received {
            session,
            message: message_number(reader)?,
            packet_id: packet_id(reader)?,
        },
        COMPLETED => Record::Completed {
            session,
            packet_id: packet_id(reader)?,
        },
        ACCEPTED => Record::Accepted {
            session,
            packet_id: packet_id(reader)?,
        },
        RELEASED => Record::Released {
            session,
            packet_id: packet_id(reader)?,
        },
        _ => return Err(Malformed("there is no such record")),
    })
}

fn read_targets(reader: &mut Reader<'_>) -> Result<SmallVec<[Target; 1]>, Malformed> {
    let len: usize = reader.small()?;
    (0..len).map(|_| read_target(reader)).collect()
}

fn message_number(reader: &mut Reader<'_>) -> Result<MessageNumber, Malformed> {
    let number = NonZeroU64::new(reader.number()?);
    number
        .map(MessageNumber)
        .ok_or(Malformed("a message has number 0"))
}

fn packet_id(reader: &mut Reader<'_>) -> Result<PacketId, Malformed> {
    PacketId::new(reader.small()?).ok_or(Malformed("a packet identifier is 0"))
}
