//! The packets that begin and end a connection, and the parts of the others that a load needs.
//!
//! What is read here came from the broker under test: a packet that does not hold is
//! [`Malformed`], and a refusal is told in the broker's own reason code.

use super::frames::{Frame, Malformed, push_varint, split_varint};
use protocol::packet::{QoS, Version};

/// PINGREQ, whole.
pub(crate) const PINGREQ: [u8; 2] = [0xc0, 0];
/// PINGRESP, whole.
pub(crate) const PINGRESP: [u8; 2] = [0xd0, 0];
/// DISCONNECT without words, whole in both versions.
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];
/// DISCONNECT with which the session ends too [MQTT 5.0 §3.14.2.2.2].
pub(crate) const DISCONNECT_FOR_GOOD: [u8; 9] = [0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0];
/// PUBACK, PUBREC, PUBREL and PUBCOMP: the first byte of each.
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;

/// The one subscription of a connection is asked for under this packet id.
const SUBSCRIBE_ID: [u8; 2] = [0, 1];

/// The packet types that come up under load [MQTT 5.0 §2.1.2].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketType {
    Connect,
    Connack,
    Publish,
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
    Subscribe,
    Suback,
    Pingreq,
    Pingresp,
    Disconnect,
    Other,
}

impl Frame<'_> {
    #[inline]
    pub(crate) fn packet_type(&self) -> PacketType {
        match self.first >> 4 {
            1 => PacketType::Connect,
            2 => PacketType::Connack,
            3 => PacketType::Publish,
            4 => PacketType::Puback,
            5 => PacketType::Pubrec,
            6 => PacketType::Pubrel,
            7 => PacketType::Pubcomp,
            8 => PacketType::Subscribe,
            9 => PacketType::Suback,
            12 => PacketType::Pingreq,
            13 => PacketType::Pingresp,
            14 => PacketType::Disconnect,
            _ => PacketType::Other,
        }
    }

    /// Whether a PUBLISH is to be retained, or was [MQTT 5.0 §3.3.1.3].
    #[inline]
    pub(crate) fn is_retained(&self) -> bool {
        self.first & 1 == 1
    }

    /// Whether a PUBLISH may have come before [MQTT 5.0 §3.3.1.1].
    pub(crate) fn is_again(&self) -> bool {
        self.first & 8 == 8
    }

    /// The QoS of a PUBLISH.
    #[inline]
    pub(crate) fn qos(&self) -> Option<QoS> {
        QoS::from_bits((self.first >> 1) & 3)
    }
}

/// Which session a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// A new one, which ends with the connection.
    Clean,
    /// A new one, which outlives the connection by a day.
    Fresh,
    /// The one it had, or a new one; it outlives the connection by a day.
    Lasting,
}

/// Seconds a session is kept that lasts, as the property of CONNECT [MQTT 5.0 §3.1.2.11.2].
const A_DAY: [u8; 6] = [5, 0x11, 0, 1, 0x51, 0x80];

/// A CONNECT without a will.
pub(crate) fn connect(
    version: Version,
    client_id: &str,
    (start, keep_alive): (Start, u16),
) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T'];
    body.push(if version == Version::V5 { 5 } else { 4 });
    body.push(if start == Start::Lasting { 0 } else { 0b10 });
    body.extend(keep_alive.to_be_bytes());
    match (version, start) {
        (Version::V5, Start::Lasting | Start::Fresh) => body.extend(A_DAY),
        _ => push_no_properties(&mut body, version),
    }
    push_text(&mut body, client_id);
    frame(0x10, &body)
}

/// A SUBSCRIBE to one filter.
pub(crate) fn subscribe(version: Version, filter: &str, qos: QoS) -> Vec<u8> {
    let mut body = SUBSCRIBE_ID.to_vec();
    push_no_properties(&mut body, version);
    push_text(&mut body, filter);
    body.push(qos.bits());
    frame(0x82, &body)
}

/// A packet id as it stands in packets.
pub(crate) fn id_bytes(id: u16) -> [u8; 2] {
    id.to_be_bytes()
}

/// The same as a number.
pub(crate) fn id_number(id: [u8; 2]) -> u16 {
    u16::from_be_bytes(id)
}

/// Appends an acknowledgement of this type, which succeeds.
#[inline]
pub(crate) fn push_ack(out: &mut Vec<u8>, first: u8, id: [u8; 2]) {
    let [high, low] = id;
    out.extend_from_slice(&[first, 2, high, low]);
}

/// The packet id of an acknowledgement, unless it says that the delivery failed.
#[inline]
pub(crate) fn ack_id(frame: &Frame<'_>) -> Result<Result<[u8; 2], u8>, Malformed> {
    let (id, reason) = ack_parts(frame)?;
    Ok(if reason >= 0x80 { Err(reason) } else { Ok(id) })
}

/// The packet id of an acknowledgement and its reason code, which is left out where it is 0.
#[inline]
pub(crate) fn ack_parts(frame: &Frame<'_>) -> Result<([u8; 2], u8), Malformed> {
    let (id, rest) = frame.body.split_first_chunk::<2>().ok_or(Malformed)?;
    Ok((*id, rest.first().copied().unwrap_or(0)))
}

/// Whether a SUBACK grants what was asked for.
pub(crate) fn suback_grants(frame: &Frame<'_>, qos: QoS) -> bool {
    frame.body.starts_with(&SUBSCRIBE_ID) && frame.body.last() == Some(&qos.bits())
}

/// Why the broker ends the connection, if it says so.
pub(crate) fn refusal(frame: &Frame<'_>) -> Option<u8> {
    match frame.packet_type() {
        PacketType::Disconnect => frame.body.first().copied(),
        PacketType::Suback => frame.body.last().copied(),
        _ => None,
    }
}

/// What a CONNACK says that a load must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connack {
    /// 0 is success.
    pub(crate) reason: u8,
    /// Whether the client's session was there.
    pub(crate) session_present: bool,
    /// How many QoS 1 and 2 messages the broker takes at once.
    pub(crate) receive_maximum: u16,
}

impl Connack {
    pub(crate) fn read(frame: &Frame<'_>, version: Version) -> Result<Self, Malformed> {
        let ([flags, reason], rest) = frame.body.split_first_chunk().ok_or(Malformed)?;
        let mut connack = Self {
            reason: *reason,
            session_present: flags & 1 == 1,
            receive_maximum: u16::MAX,
        };
        if version == Version::V5 && *reason == 0 {
            let (_, mut properties) = split_varint(rest)?.ok_or(Malformed)?;
            while let Some((&id, value)) = properties.split_first() {
                if id == 0x21 {
                    let (maximum, _) = value.split_first_chunk().ok_or(Malformed)?;
                    connack.receive_maximum = u16::from_be_bytes(*maximum);
                }
                properties = skip_property(id, value)?;
            }
        }
        Ok(connack)
    }
}

/// What follows the value of a property of CONNACK [MQTT 5.0 §3.2.2.3].
fn skip_property(id: u8, value: &[u8]) -> Result<&[u8], Malformed> {
    let len = match id {
        0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
        0x13 | 0x21 | 0x22 => 2,
        0x11 | 0x27 => 4,
        0x26 => return split_text(split_text(value)?.1).map(|(_, rest)| rest),
        _ => return split_text(value).map(|(_, rest)| rest),
    };
    value.get(len..).ok_or(Malformed)
}

/// The parts of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery<'a> {
    pub(crate) topic: &'a [u8],
    /// Present above QoS 0.
    pub(crate) packet_id: Option<[u8; 2]>,
    pub(crate) payload: &'a [u8],
}

impl<'a> Delivery<'a> {
    #[inline]
    pub(crate) fn read(frame: &Frame<'a>, version: Version) -> Result<Self, Malformed> {
        let (topic, mut rest) = split_text(frame.body)?;
        let mut packet_id = None;
        if frame.first & 0b110 != 0 {
            let (id, after) = rest.split_first_chunk().ok_or(Malformed)?;
            (packet_id, rest) = (Some(*id), after);
        }
        if version == Version::V5 {
            let (len, after) = split_varint(rest)?.ok_or(Malformed)?;
            rest = after.get(len..).ok_or(Malformed)?;
        }
        Ok(Self {
            topic,
            packet_id,
            payload: rest,
        })
    }
}

/// Takes bytes behind a length of two bytes off `bytes`.
#[inline]
pub(crate) fn split_text(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (len, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    rest.split_at_checked(u16::from_be_bytes(*len).into())
        .ok_or(Malformed)
}

/// Appends text behind its length; topics and client ids of a load are far shorter than the limit.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend(len.to_be_bytes());
    out.extend(text.bytes().take(len.into()));
}

pub(crate) fn push_no_properties(out: &mut Vec<u8>, version: Version) {
    if version == Version::V5 {
        out.push(0);
    }
}

fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    push_varint(&mut frame, body.len());
    frame.extend(body);
    frame
}

#[cfg(test)]
mod tests {
    use super::super::split;
    use super::*;

    #[test]
    fn a_connect_is_what_mqtt_3_1_says() {
        let v5 = connect(Version::V5, "dev-1", (Start::Clean, 60));
        assert_eq!(v5, b"\x10\x12\0\x04MQTT\x05\x02\0\x3c\0\0\x05dev-1");
        let v311 = connect(Version::V311, "dev-1", (Start::Clean, 60));
        assert_eq!(v311, b"\x10\x11\0\x04MQTT\x04\x02\0\x3c\0\x05dev-1");
        let v5 = connect(Version::V5, "dev-1", (Start::Lasting, 60));
        let expiry = b"\x05\x11\0\x01\x51\x80";
        assert_eq!(v5[..12], b"\x10\x17\0\x04MQTT\x05\0\0\x3c"[..]);
        assert_eq!(v5[12..18], expiry[..]);
        let v311 = connect(Version::V311, "dev-1", (Start::Lasting, 60));
        assert_eq!(v311, b"\x10\x11\0\x04MQTT\x04\0\0\x3c\0\x05dev-1");
        let v5 = connect(Version::V5, "dev-1", (Start::Fresh, 60));
        assert_eq!(v5[..12], b"\x10\x17\0\x04MQTT\x05\x02\0\x3c"[..]);
        assert_eq!(v5[12..18], expiry[..]);
    }

    #[test]
    fn a_subscribe_is_what_mqtt_3_8_says() {
        let v5 = subscribe(Version::V5, "a/#", QoS::ExactlyOnce);
        assert_eq!(v5, b"\x82\x09\0\x01\0\0\x03a/#\x02");
        let v311 = subscribe(Version::V311, "a/#", QoS::AtLeastOnce);
        assert_eq!(v311, b"\x82\x08\0\x01\0\x03a/#\x01");
    }

    #[test]
    fn the_receive_maximum_is_found_behind_other_properties() {
        // A user property, a reason string, a server keep-alive, then the receive maximum 20.
        let properties = b"\x26\0\x01a\0\x01b\x1f\0\x01c\x13\0\x3c\x21\0\x14";
        let mut bytes = vec![0x20, 3 + 17, 0, 0, 17];
        bytes.extend(properties);
        let (frame, _) = split(&bytes).unwrap().unwrap();
        let expected = Connack {
            reason: 0,
            session_present: false,
            receive_maximum: 20,
        };
        assert_eq!(Connack::read(&frame, Version::V5), Ok(expected));
        let (frame, _) = split(&[0x20, 2, 0, 5]).unwrap().unwrap();
        assert_eq!(Connack::read(&frame, Version::V311).unwrap().reason, 5);
    }

    #[test]
    fn a_delivery_is_read_with_and_without_packet_id_and_properties() {
        for (version, bytes, packet_id) in [
            (Version::V311, &b"\x30\x05\0\x01tab"[..], None),
            (Version::V311, b"\x32\x07\0\x01t\0\x09ab", Some([0, 9])),
            (Version::V5, b"\x30\x08\0\x01t\x02\x01\x01ab", None),
            (Version::V5, b"\x34\x08\0\x01t\0\x09\0ab", Some([0, 9])),
        ] {
            let (frame, _) = split(bytes).unwrap().unwrap();
            let delivery = Delivery::read(&frame, version).unwrap();
            assert_eq!(
                delivery,
                Delivery {
                    topic: b"t",
                    packet_id,
                    payload: b"ab"
                }
            );
        }
    }

    #[test]
    fn an_acknowledgement_with_an_error_is_one() {
        let read = |bytes: &[u8]| ack_id(&split(bytes).unwrap().unwrap().0);
        assert_eq!(read(&[0x40, 2, 0, 7]), Ok(Ok([0, 7])));
        assert_eq!(read(&[0x40, 3, 0, 7, 0x10]), Ok(Ok([0, 7])));
        assert_eq!(read(&[0x40, 3, 0, 7, 0x87]), Ok(Err(0x87)));
        assert_eq!(read(&[0x40, 1, 0]), Err(Malformed));
    }
}
