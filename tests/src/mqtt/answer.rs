//! What the broker answers, taken apart.
//!
//! A reader panics on a packet of another type, on fixed flags that are wrong, and on bytes left
//! over: an answer is either wholly right or a failure.

use super::reader::Reader;
use super::{Frame, Kind, Property, Version};

/// CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connack {
    /// Whether the broker had a session.
    pub session_present: bool,
    /// The reason code (3.1.1: the return code).
    pub code: u8,
    /// What else it says.
    pub properties: Vec<Property>,
}

impl Connack {
    /// From its packet.
    pub fn read(frame: &Frame, version: Version) -> Self {
        let mut body = body(frame, Kind::Connack);
        let flags = body.byte();
        assert!(
            flags <= 1,
            "reserved acknowledge flags in {frame:?} [MQTT-3.2.2-1]"
        );
        let code = body.byte();
        let properties = properties(&mut body, version);
        assert!(body.is_empty(), "bytes left over in {frame:?}");
        Self {
            session_present: flags == 1,
            code,
            properties,
        }
    }

    /// The client id the broker chose.
    pub fn assigned_client_id(&self) -> Option<String> {
        self.properties.iter().find_map(|property| match property {
            Property::AssignedClientId(id) => Some(id.clone()),
            _ => None,
        })
    }
}

/// PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Whether it is sent again.
    pub dup: bool,
    /// Its QoS.
    pub qos: u8,
    /// Whether it was retained.
    pub retain: bool,
    /// The topic name; empty where an alias stands for it.
    pub topic: String,
    /// The packet id, at QoS 1 and 2.
    pub id: Option<u16>,
    /// Its properties, in their order.
    pub properties: Vec<Property>,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Published {
    /// From its packet.
    pub fn read(frame: &Frame, version: Version) -> Self {
        assert_eq!(frame.kind(), Kind::Publish, "{frame:?}");
        let qos = frame.head >> 1 & 0b11;
        assert!(qos < 3, "both QoS bits set in {frame:?} [MQTT-3.3.1-4]");
        let mut body = Reader::new(&frame.body);
        let topic = body.text();
        let id = (qos > 0).then(|| body.two());
        assert_ne!(id, Some(0), "packet id 0 in {frame:?} [MQTT-2.2.1-4]");
        let properties = properties(&mut body, version);
        Self {
            dup: frame.head & 0b1000 != 0,
            qos,
            retain: frame.head & 0b0001 != 0,
            topic,
            id,
            properties,
            payload: body.rest().to_vec(),
        }
    }

    /// The payload as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    /// The subscription identifiers, in rising order.
    pub fn subscription_ids(&self) -> Vec<u32> {
        let id = |property: &Property| match property {
            Property::SubscriptionId(id) => Some(*id),
            _ => None,
        };
        let mut ids: Vec<u32> = self.properties.iter().filter_map(id).collect();
        ids.sort_unstable();
        ids
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// What it answers.
    pub id: u16,
    /// The reason code; success where none is written.
    pub code: u8,
    /// What else it says.
    pub properties: Vec<Property>,
}

impl Ack {
    /// From its packet.
    pub fn read(frame: &Frame, version: Version, kind: Kind) -> Self {
        let mut body = body(frame, kind);
        let id = body.two();
        let short = version == Version::V311 || body.is_empty();
        let code = if short { 0 } else { body.byte() };
        let properties = if body.is_empty() {
            Vec::new()
        } else {
            body.properties()
        };
        assert!(body.is_empty(), "bytes left over in {frame:?}");
        Self {
            id,
            code,
            properties,
        }
    }
}

/// SUBACK or UNSUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suback {
    /// What it answers.
    pub id: u16,
    /// What else it says.
    pub properties: Vec<Property>,
    /// One for each filter, in their order.
    pub codes: Vec<u8>,
}

impl Suback {
    /// From its packet.
    pub fn read(frame: &Frame, version: Version, kind: Kind) -> Self {
        let mut body = body(frame, kind);
        let id = body.two();
        let properties = properties(&mut body, version);
        Self {
            id,
            properties,
            codes: body.rest().to_vec(),
        }
    }
}

/// DISCONNECT, which a broker sends in 5.0 only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnected {
    /// The reason code; normal where none is written.
    pub code: u8,
    /// What else it says.
    pub properties: Vec<Property>,
}

impl Disconnected {
    /// From its packet.
    pub fn read(frame: &Frame) -> Self {
        let mut body = body(frame, Kind::Disconnect);
        let code = if body.is_empty() { 0 } else { body.byte() };
        let properties = if body.is_empty() {
            Vec::new()
        } else {
            body.properties()
        };
        assert!(body.is_empty(), "bytes left over in {frame:?}");
        Self { code, properties }
    }
}

fn body(frame: &Frame, kind: Kind) -> Reader<'_> {
    assert_eq!(frame.head, kind.head(), "not a {kind:?}: {frame:?}");
    Reader::new(&frame.body)
}

fn properties(body: &mut Reader<'_>, version: Version) -> Vec<Property> {
    match version {
        Version::V311 => Vec::new(),
        Version::V5 => body.properties(),
    }
}
