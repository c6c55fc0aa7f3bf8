//! A PUBLISH that is encoded once and patched for every message.
//!
//! The payload begins with a [`Stamp`], by which the receiver knows which message it holds and how
//! long it took.

use super::frames::push_varint;
use super::packets::{push_no_properties, push_text};
use protocol::packet::{QoS, Version};
use std::ops::Range;

/// The bytes of a stamp, and so of the shortest payload.
pub const PAYLOAD_MIN: usize = 24;

/// Which message it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The run it belongs to: what an earlier one left behind is not counted.
    pub(crate) run: u32,
    /// Who published it.
    pub(crate) publisher: u32,
    /// Its place among those of its publisher, from 0.
    pub(crate) sequence: u64,
    /// When, in nanoseconds since the run began.
    pub(crate) nanos: u64,
}

impl Stamp {
    #[inline]
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (run, rest) = payload.split_first_chunk()?;
        let (publisher, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (nanos, _) = rest.split_first_chunk()?;
        Some(Self {
            run: u32::from_be_bytes(*run),
            publisher: u32::from_be_bytes(*publisher),
            sequence: u64::from_be_bytes(*sequence),
            nanos: u64::from_be_bytes(*nanos),
        })
    }

    #[inline]
    fn bytes(&self) -> [u8; PAYLOAD_MIN] {
        let mut bytes = [0; PAYLOAD_MIN];
        let (run, rest) = bytes.split_at_mut(4);
        let (publisher, rest) = rest.split_at_mut(4);
        let (sequence, nanos) = rest.split_at_mut(8);
        run.copy_from_slice(&self.run.to_be_bytes());
        publisher.copy_from_slice(&self.publisher.to_be_bytes());
        sequence.copy_from_slice(&self.sequence.to_be_bytes());
        nanos.copy_from_slice(&self.nanos.to_be_bytes());
        bytes
    }
}

/// The PUBLISH of one publisher.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    frame: Vec<u8>,
    /// Where the packet id is; absent at QoS 0.
    id: Option<Range<usize>>,
    stamp: Range<usize>,
}

impl Template {
    /// A PUBLISH to `topic` with a payload of `payload` bytes, at least [`PAYLOAD_MIN`].
    pub(crate) fn new((version, qos): (Version, QoS), topic: &str, payload: usize) -> Self {
        let payload = payload.max(PAYLOAD_MIN);
        let ids = if qos == QoS::AtMostOnce { 0 } else { 2 };
        let mut properties = Vec::new();
        push_no_properties(&mut properties, version);
        let mut frame = vec![0x30 | qos.bits() << 1];
        push_varint(
            &mut frame,
            2 + topic.len() + ids + properties.len() + payload,
        );
        push_text(&mut frame, topic);
        let id = frame.len()..frame.len() + ids;
        frame.resize(id.end, 0);
        frame.extend(properties);
        let stamp = frame.len()..frame.len() + PAYLOAD_MIN;
        frame.resize(stamp.start + payload, b'.');
        Self {
            frame,
            id: Some(id).filter(|id| !id.is_empty()),
            stamp,
        }
    }

    /// The same, to be retained [MQTT-3.3.1-5].
    pub(crate) fn retained(mut self) -> Self {
        if let Some(first) = self.frame.first_mut() {
            *first |= 1;
        }
        self
    }

    /// The same, sent again [MQTT-3.3.1-1].
    pub(crate) fn again(mut self) -> Self {
        if let Some(first) = self.frame.first_mut() {
            *first |= 8;
        }
        self
    }

    /// Appends a PUBLISH; the packet id is left out at QoS 0.
    #[inline]
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, packet_id: u16, stamp: &Stamp) {
        if let Some(place) = self.id.clone().and_then(|id| self.frame.get_mut(id)) {
            place.copy_from_slice(&packet_id.to_be_bytes());
        }
        if let Some(place) = self.frame.get_mut(self.stamp.clone()) {
            place.copy_from_slice(&stamp.bytes());
        }
        out.extend_from_slice(&self.frame);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Delivery, split};
    use super::*;

    #[test]
    fn what_is_pushed_reads_as_the_same_message_in_both_versions_and_at_every_qos() {
        let stamp = Stamp {
            run: 7,
            publisher: 3,
            sequence: 1 << 40,
            nanos: u64::MAX,
        };
        for version in [Version::V311, Version::V5] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for payload in [PAYLOAD_MIN, 64, 100_000] {
                    let mut template =
                        Template::new((version, qos), "devices/dev-1/bench/3", payload);
                    let mut bytes = Vec::new();
                    template.push(&mut bytes, 0x1234, &stamp);
                    let (frame, rest) = split(&bytes).unwrap().unwrap();
                    assert_eq!((frame.qos(), rest.len()), (Some(qos), 0));
                    let delivery = Delivery::read(&frame, version).unwrap();
                    assert_eq!(delivery.topic, b"devices/dev-1/bench/3");
                    assert_eq!(delivery.payload.len(), payload);
                    assert_eq!(Stamp::read(delivery.payload), Some(stamp));
                    let id = (qos != QoS::AtMostOnce).then_some([0x12, 0x34]);
                    assert_eq!(delivery.packet_id, id);
                }
            }
        }
    }

    #[test]
    fn a_payload_shorter_than_a_stamp_has_none() {
        assert_eq!(Stamp::read(&[0; PAYLOAD_MIN - 1]), None);
    }
}
