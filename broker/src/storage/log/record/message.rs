//! Messages and wills, as bytes.
//!
//! A message is written once for all its receivers. Reading yields its parts alone: who is to
//! make a message of them has to vouch for it, for nothing is routed without a permit.

use super::coding::{Flags, Malformed, Reader, write_bytes, write_number};
use super::receiver::{read_key, write_key};
use crate::engine::{Message, SessionKey, Time};
use bytes::Bytes;
use protocol::packet::{ForwardedProperties, QoS, Will};
use protocol::topic::TopicName;

/// What a message consists of. It was published under a permit before it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageParts {
    /// Where it was published.
    pub topic: TopicName,
    /// The application's bytes.
    pub payload: Bytes,
    /// What travels with it unaltered.
    pub forwarded: ForwardedProperties,
    /// The session that published it; none if the broker did.
    pub publisher: Option<SessionKey>,
    /// When it is no longer worth delivering.
    pub expires_at: Option<Time>,
    /// The QoS it was published with.
    pub qos: QoS,
    /// Whether it was published as retained.
    pub retain: bool,
}

const RETAIN: u8 = 1 << 2;
const EXPIRES: u8 = 1 << 3;
const FORWARDED: u8 = 1 << 4;
/// Of a message.
const PUBLISHER: u8 = 1 << 5;
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

pub(super) fn read_message(reader: &mut Reader<'_>) -> Result<MessageParts, Malformed> {
    let flags = reader.flags(Flags::QOS | RETAIN | EXPIRES | FORWARDED | PUBLISHER)?;
    Ok(MessageParts {
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
    TopicName::from_text(reader.text()?).map_err(|_| Malformed("a topic name is none"))
}

fn read_forwarded(reader: &mut Reader<'_>) -> Result<ForwardedProperties, Malformed> {
    let block = Bytes::copy_from_slice(reader.bytes()?);
    ForwardedProperties::read(&block).map_err(|_| Malformed("properties of a message are none"))
}
