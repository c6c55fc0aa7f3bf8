//! Messages and wills, as bytes.
//!
//! A message is written once for all its receivers, and stays where it was written until one of
//! them needs it: therefore its content has a check of its own.

use super::coding::{Flags, Malformed, Reader, SHORT, write_bytes, write_number};
use super::receiver::{read_key, skim_key, write_key};
use crate::engine::{Message, MessageParts, Time};
use bytes::{Buf, BufMut, Bytes};
use protocol::packet::{ForwardedProperties, Will};
use protocol::topic::TopicName;
use std::ops::Range;
use std::sync::Arc;

const RETAIN: u8 = 1 << 2;
const EXPIRES: u8 = 1 << 3;
const FORWARDED: u8 = 1 << 4;
/// Of a message.
const PUBLISHER: u8 = 1 << 5;
const OF_MESSAGE: u8 = Flags::QOS | RETAIN | EXPIRES | FORWARDED | PUBLISHER;
/// How many bytes the check of a message takes.
const CHECK_LEN: usize = 4;
/// Of a will.
const DELAY: u8 = 1 << 5;

pub(super) fn write_message(message: &Message, out: &mut Vec<u8>) {
    let forwarded = message.forwarded().as_bytes();
    out.push(Flags::byte(
        message.qos().bits(),
        &[
            (RETAIN, message.retain()),
            (EXPIRES, message.expires_at().is_some()),
            (FORWARDED, !forwarded.is_empty()),
            (PUBLISHER, message.publisher().is_some()),
        ],
    ));
    write_bytes(message.topic().as_str().as_bytes(), out);
    if let Some(at) = message.expires_at() {
        write_number(at.millis(), out);
    }
    if !forwarded.is_empty() {
        write_bytes(forwarded, out);
    }
    if let Some(publisher) = message.publisher() {
        write_key(publisher, out);
    }
    write_bytes(message.payload(), out);
}

pub(super) fn read_message(reader: &mut Reader<'_>) -> Result<Arc<Message>, Malformed> {
    let flags = reader.flags(OF_MESSAGE)?;
    Ok(Message::recorded(MessageParts {
        qos: flags.qos()?,
        retain: flags.has(RETAIN),
        topic: read_topic(reader)?,
        expires_at: flags
            .optional(EXPIRES, reader, Reader::number)?
            .map(Time::from_millis),
        forwarded: flags
            .optional(FORWARDED, reader, read_forwarded)?
            .unwrap_or_default(),
        publisher: flags.optional(PUBLISHER, reader, read_key)?,
        payload: Bytes::copy_from_slice(reader.bytes()?),
    }))
}

/// Writes a message with its check in front. Where that begins and all of it ends.
pub(super) fn write_content(message: &Message, out: &mut Vec<u8>) -> Range<usize> {
    let begin = out.len();
    out.extend_from_slice(&[0; CHECK_LEN]);
    write_message(message, out);
    if let Some((room, content)) = out
        .get_mut(begin..)
        .and_then(<[u8]>::split_first_chunk_mut::<CHECK_LEN>)
    {
        room.as_mut_slice().put_u32_le(crc32c::crc32c(content));
    }
    begin..out.len()
}

/// The message that `content` is, its check in front.
///
/// # Errors
/// If it is not as it was written.
pub(in crate::storage) fn read_content(content: &[u8]) -> Result<Arc<Message>, Malformed> {
    let mut reader = Reader::new(checked(content)?);
    let message = read_message(&mut reader)?;
    if reader.is_empty() {
        return Ok(message);
    }
    Err(Malformed("a message goes on behind its payload"))
}

/// What stands behind the check.
pub(in crate::storage) fn checked(content: &[u8]) -> Result<&[u8], Malformed> {
    let (mut check, message) = content
        .split_first_chunk::<CHECK_LEN>()
        .map(|(check, message)| (check.as_slice(), message))
        .ok_or(SHORT)?;
    if check.get_u32_le() != crc32c::crc32c(message) {
        return Err(Malformed("a message is not as it was written"));
    }
    Ok(message)
}

/// What is to be known of a message whose content stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Outline {
    /// How many bytes its content takes, with its check.
    pub(in crate::storage) len: u32,
    pub(in crate::storage) payload_len: u32,
    pub(in crate::storage) expires_at: Option<Time>,
}

/// Reads past a message with its check.
pub(super) fn skim_content(reader: &mut Reader<'_>) -> Result<Outline, Malformed> {
    let begin = reader.left();
    reader.skip(CHECK_LEN)?;
    let flags = reader.flags(OF_MESSAGE)?;
    reader.bytes()?;
    let expires_at = flags.optional(EXPIRES, reader, Reader::number)?;
    flags.optional(FORWARDED, reader, Reader::bytes)?;
    flags.optional(PUBLISHER, reader, skim_key)?;
    let payload_len = reader.bytes()?.len();
    let len = begin - reader.left();
    let short = |len: usize| u32::try_from(len).map_err(|_| Malformed("a message is too long"));
    Ok(Outline {
        len: short(len)?,
        payload_len: short(payload_len)?,
        expires_at: expires_at.map(Time::from_millis),
    })
}

pub(super) fn write_will(will: &Will, out: &mut Vec<u8>) {
    let forwarded = will.forwarded.as_bytes();
    out.push(Flags::byte(
        will.qos.bits(),
        &[
            (RETAIN, will.retain),
            (EXPIRES, will.message_expiry_interval.is_some()),
            (FORWARDED, !forwarded.is_empty()),
            (DELAY, will.delay_interval != 0),
        ],
    ));
    write_bytes(will.topic.as_str().as_bytes(), out);
    if let Some(seconds) = will.message_expiry_interval {
        write_number(seconds.into(), out);
    }
    if !forwarded.is_empty() {
        write_bytes(forwarded, out);
    }
    if will.delay_interval != 0 {
        write_number(will.delay_interval.into(), out);
    }
    write_bytes(&will.payload, out);
}

pub(super) fn read_will(reader: &mut Reader<'_>) -> Result<Will, Malformed> {
    let flags = reader.flags(Flags::QOS | RETAIN | EXPIRES | FORWARDED | DELAY)?;
    Ok(Will {
        qos: flags.qos()?,
        retain: flags.has(RETAIN),
        topic: read_topic(reader)?,
        message_expiry_interval: flags.optional(EXPIRES, reader, Reader::small)?,
        forwarded: flags
            .optional(FORWARDED, reader, read_forwarded)?
            .unwrap_or_default(),
        delay_interval: flags
            .optional(DELAY, reader, Reader::small)?
            .unwrap_or_default(),
        payload: Bytes::copy_from_slice(reader.bytes()?),
    })
}

pub(super) fn read_topic(reader: &mut Reader<'_>) -> Result<TopicName, Malformed> {
    TopicName::parse(reader.str()?).map_err(|_| Malformed("a topic name is none"))
}

fn read_forwarded(reader: &mut Reader<'_>) -> Result<ForwardedProperties, Malformed> {
    let block = Bytes::copy_from_slice(reader.bytes()?);
    ForwardedProperties::read(&block).map_err(|_| Malformed("properties of a message are none"))
}
