//! What is written down of a message: that it was accepted, under which packet id it is under way,
//! that the broker has it, and that it is settled.
//!
//! A record names its message by an id that no other ever has. All numbers are little-endian; a
//! record of a message that is not there any more means nothing and does no harm.

use bytes::{Buf, BufMut, Bytes};
use std::time::Duration;

use crate::message::{Properties, Publish, QoS};

/// One step in the life of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// It is ours to deliver from now on.
    Accepted(Box<Accepted>),
    /// It is sent under this packet id, and under no other while the session lasts.
    Sent { id: u64, packet_id: u16 },
    /// A PUBREC came for it: it must not be sent again [MQTT-4.3.3-3].
    Received { id: u64 },
    /// Acknowledged, refused, expired or dropped.
    Settled { id: u64 },
    /// The broker has forgotten the session: no packet id means anything any more.
    SessionLost,
}

/// A message as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) id: u64,
    /// In milliseconds since 1970, by the clock on the wall.
    pub(crate) at: u64,
    pub(crate) publish: Publish,
}

const ACCEPTED: u8 = 1;
const SENT: u8 = 2;
const RECEIVED: u8 = 3;
const SETTLED: u8 = 4;
const SESSION_LOST: u8 = 5;

const RETAIN: u8 = 0b0000_0100;
const IS_TEXT: u8 = 0b0000_1000;
const CONTENT_TYPE: u8 = 0b0001_0000;
const RESPONSE_TOPIC: u8 = 0b0010_0000;
const CORRELATION: u8 = 0b0100_0000;
const EXPIRY: u8 = 0b1000_0000;

/// Room for all that may be recorded of a message after it was accepted.
const LATER_LEN: usize = 40;

impl Accepted {
    /// How much a message takes on the disk, with all that is recorded of it later.
    pub(crate) fn len_on_disk(publish: &Publish) -> usize {
        let properties = &publish.properties;
        let texts = [&properties.content_type, &properties.response_topic];
        let texts = texts.into_iter().flatten().map(|text| 4 + text.len());
        let user = properties.user.iter().map(|(n, v)| 8 + n.len() + v.len());
        let correlation = properties.correlation_data.as_ref();
        let fixed = 1 + 8 + 8 + 1 + 4 + 4 + 4 + 8;
        fixed
            + publish.topic.len()
            + publish.payload.len()
            + texts.chain(user).sum::<usize>()
            + correlation.map_or(0, |data| 4 + data.len())
            + LATER_LEN
    }
}

impl Record {
    /// No record of this kind takes more.
    pub(crate) fn len_max(&self) -> usize {
        match self {
            Self::Accepted(accepted) => Accepted::len_on_disk(&accepted.publish),
            Self::Sent { .. } | Self::Received { .. } | Self::Settled { .. } => 1 + 8 + 2,
            Self::SessionLost => 1,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Accepted(accepted) => write_accepted(accepted, out),
            Self::Sent { id, packet_id } => {
                out.put_u8(SENT);
                out.put_u64_le(*id);
                out.put_u16_le(*packet_id);
            }
            Self::Received { id } => {
                out.put_u8(RECEIVED);
                out.put_u64_le(*id);
            }
            Self::Settled { id } => {
                out.put_u8(SETTLED);
                out.put_u64_le(*id);
            }
            Self::SessionLost => out.put_u8(SESSION_LOST),
        }
    }

    /// The records of a frame; `None` when they were not written by this version.
    pub(crate) fn read_all(mut bytes: Bytes) -> Option<Vec<Self>> {
        let mut records = Vec::new();
        while bytes.has_remaining() {
            records.push(Self::read(&mut bytes)?);
        }
        Some(records)
    }

    fn read(bytes: &mut Bytes) -> Option<Self> {
        Some(match bytes.try_get_u8().ok()? {
            ACCEPTED => Self::Accepted(Box::new(read_accepted(bytes)?)),
            SENT => Self::Sent {
                id: bytes.try_get_u64_le().ok()?,
                packet_id: bytes.try_get_u16_le().ok()?,
            },
            RECEIVED => Self::Received {
                id: bytes.try_get_u64_le().ok()?,
            },
            SETTLED => Self::Settled {
                id: bytes.try_get_u64_le().ok()?,
            },
            SESSION_LOST => Self::SessionLost,
            _ => return None,
        })
    }
}

fn write_accepted(accepted: &Accepted, out: &mut Vec<u8>) {
    let Accepted { id, at, publish } = accepted;
    let properties = &publish.properties;
    out.put_u8(ACCEPTED);
    out.put_u64_le(*id);
    out.put_u64_le(*at);
    out.put_u8(flags(publish));
    put(out, publish.topic.as_bytes());
    put(out, &publish.payload);
    let texts = [&properties.content_type, &properties.response_topic];
    for text in texts.into_iter().flatten() {
        put(out, text.as_bytes());
    }
    if let Some(data) = &properties.correlation_data {
        put(out, data);
    }
    if let Some(expiry) = properties.expiry {
        out.put_u64_le(u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX));
    }
    out.put_u32_le(u32::try_from(properties.user.len()).unwrap_or(u32::MAX));
    for (name, value) in &properties.user {
        put(out, name.as_bytes());
        put(out, value.as_bytes());
    }
}

fn read_accepted(bytes: &mut Bytes) -> Option<Accepted> {
    let (id, at) = (bytes.try_get_u64_le().ok()?, bytes.try_get_u64_le().ok()?);
    let flags = bytes.try_get_u8().ok()?;
    let has = |flag| flags & flag != 0;
    let (topic, payload) = (take_text(bytes)?, take(bytes)?);
    let mut properties = Properties {
        is_text: has(IS_TEXT),
        ..Properties::default()
    };
    if has(CONTENT_TYPE) {
        properties.content_type = Some(take_text(bytes)?);
    }
    if has(RESPONSE_TOPIC) {
        properties.response_topic = Some(take_text(bytes)?);
    }
    if has(CORRELATION) {
        properties.correlation_data = Some(take(bytes)?);
    }
    if has(EXPIRY) {
        properties.expiry = Some(Duration::from_millis(bytes.try_get_u64_le().ok()?));
    }
    for _ in 0..bytes.try_get_u32_le().ok()? {
        properties.user.push((take_text(bytes)?, take_text(bytes)?));
    }
    let publish = Publish {
        topic,
        payload,
        qos: QoS::from_level(flags & 0b11)?,
        retain: has(RETAIN),
        properties,
    };
    Some(Accepted { id, at, publish })
}

fn flags(publish: &Publish) -> u8 {
    let properties = &publish.properties;
    let present = [
        (publish.retain, RETAIN),
        (properties.is_text, IS_TEXT),
        (properties.content_type.is_some(), CONTENT_TYPE),
        (properties.response_topic.is_some(), RESPONSE_TOPIC),
        (properties.correlation_data.is_some(), CORRELATION),
        (properties.expiry.is_some(), EXPIRY),
    ];
    let present = present.into_iter().filter(|(there, _)| *there);
    present.fold(publish.qos.level(), |flags, (_, flag)| flags | flag)
}

/// What is longer than can be counted here has been refused when it was accepted.
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(bytes.try_get_u32_le().ok()?).ok()?;
    // In memory of its own: a small message must not pin a whole segment.
    (len <= bytes.remaining()).then(|| Bytes::copy_from_slice(&bytes.split_to(len)))
}

fn take_text(bytes: &mut Bytes) -> Option<String> {
    String::from_utf8(take(bytes)?.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(publish: Publish) -> Record {
        Record::Accepted(Box::new(Accepted {
            id: u64::MAX - 1,
            at: 1_790_000_000_000,
            publish,
        }))
    }

    fn cases() -> Vec<Record> {
        let full = Publish::new("a/ü", vec![0; 300])
            .qos(QoS::ExactlyOnce)
            .retained()
            .text()
            .content_type("application/json")
            .response_topic("b")
            .correlation_data(vec![1, 2, 3])
            .expiry(Duration::from_millis(1500))
            .user_property("k", "v")
            .user_property("k", "");
        vec![
            accepted(full),
            accepted(Publish::new("a", "").qos(QoS::AtLeastOnce)),
            Record::Sent {
                id: 7,
                packet_id: 65_535,
            },
            Record::Received { id: 8 },
            Record::Settled { id: 0 },
            Record::SessionLost,
        ]
    }

    fn written(records: &[Record]) -> Bytes {
        let mut out = Vec::new();
        for record in records {
            record.write(&mut out);
        }
        out.into()
    }

    #[test]
    fn what_was_written_is_read_back() {
        let records = cases();
        assert_eq!(Record::read_all(written(&records)), Some(records));
    }

    #[test]
    fn a_record_that_is_cut_or_unknown_is_not_read() {
        for record in cases() {
            let whole = written(std::slice::from_ref(&record));
            for len in 1..whole.len() {
                assert_eq!(
                    Record::read_all(whole.slice(..len)),
                    None,
                    "{record:?} {len}"
                );
            }
        }
        assert_eq!(Record::read_all(Bytes::from_static(&[9])), None);
    }

    #[test]
    fn a_message_takes_no_more_room_than_was_counted() {
        for record in cases() {
            let Record::Accepted(accepted) = &record else {
                continue;
            };
            let id = accepted.id;
            let later = [
                Record::Sent { id, packet_id: 1 },
                Record::Received { id },
                Record::Settled { id },
            ];
            let len = written(std::slice::from_ref(&record)).len() + written(&later).len();
            assert!(len <= Accepted::len_on_disk(&accepted.publish), "{len}");
        }
    }
}
