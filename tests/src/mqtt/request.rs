//! What a client sends, as bytes.
//!
//! A builder writes what it is told, right or wrong: strings need not be UTF-8, a property may
//! stand where it must not, and any byte may be put in by hand.

use super::{Kind, Property, Version};

/// A packet: its first byte, the remaining length, the rest.
pub fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    [&[head], varint(body.len()).as_slice(), body].concat()
}

/// A variable byte integer in as few bytes as it needs.
pub fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Length and bytes: a string or binary data.
pub fn data(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let len = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
    [&len.to_be_bytes(), bytes].concat()
}

/// A property block with its length.
pub fn properties(properties: &[Property]) -> Vec<u8> {
    block(
        &properties
            .iter()
            .flat_map(Property::bytes)
            .collect::<Vec<_>>(),
    )
}

/// A property block from its bytes.
pub fn block(bytes: &[u8]) -> Vec<u8> {
    [&varint(bytes.len()), bytes].concat()
}

/// PUBLISH. A new one has QoS 0 and no flag.
#[derive(Clone, Debug)]
#[must_use]
pub struct Publish {
    /// The QoS.
    pub qos: u8,
    /// The packet id; a client gives one where there must be one and none is set.
    pub id: Option<u16>,
    topic: Vec<u8>,
    payload: Vec<u8>,
    flags: u8,
    properties: Vec<u8>,
}

impl Publish {
    /// To this topic.
    pub fn new(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Self {
        Self {
            qos: 0,
            id: None,
            topic: topic.as_ref().to_vec(),
            payload: payload.as_ref().to_vec(),
            flags: 0,
            properties: Vec::new(),
        }
    }

    /// At this QoS, 3 included.
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// Under this packet id, 0 included.
    pub fn id(mut self, id: u16) -> Self {
        self.id = Some(id);
        self
    }

    /// To be retained.
    pub fn retain(mut self) -> Self {
        self.flags |= 0b0001;
        self
    }

    /// Marked as sent before.
    pub fn dup(mut self) -> Self {
        self.flags |= 0b1000;
        self
    }

    /// One more property.
    pub fn with(self, property: &Property) -> Self {
        self.with_bytes(&property.bytes())
    }

    /// More property bytes, whatever they are.
    pub fn with_bytes(mut self, bytes: &[u8]) -> Self {
        self.properties.extend(bytes);
        self
    }

    /// On the wire.
    pub fn bytes(&self, version: Version) -> Vec<u8> {
        let mut body = data(&self.topic);
        body.extend(self.id.map(u16::to_be_bytes).into_iter().flatten());
        if version == Version::V5 {
            body.extend(block(&self.properties));
        }
        body.extend(&self.payload);
        packet(Kind::Publish.head() | self.qos << 1 | self.flags, &body)
    }
}

/// Not to be sent what one has published oneself.
pub const NO_LOCAL: u8 = 0b0000_0100;
/// RETAIN is to stay as the publisher set it.
pub const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
/// Retained messages only if the subscription is new.
pub const RETAINED_IF_NEW: u8 = 0b0001_0000;
/// No retained messages.
pub const RETAINED_NEVER: u8 = 0b0010_0000;

/// SUBSCRIBE, so far without a filter.
#[derive(Clone, Debug)]
#[must_use]
pub struct Subscribe {
    /// The packet id.
    pub id: u16,
    properties: Vec<u8>,
    filters: Vec<u8>,
}

impl Subscribe {
    /// Under this packet id.
    pub fn new(id: u16) -> Self {
        Self {
            id,
            properties: Vec::new(),
            filters: Vec::new(),
        }
    }

    /// One more filter; the QoS is in the lowest bits of the options.
    pub fn filter(mut self, filter: impl AsRef<[u8]>, options: u8) -> Self {
        self.filters.extend(data(filter));
        self.filters.push(options);
        self
    }

    /// One more property.
    pub fn with(self, property: &Property) -> Self {
        self.with_bytes(&property.bytes())
    }

    /// More property bytes, whatever they are.
    pub fn with_bytes(mut self, bytes: &[u8]) -> Self {
        self.properties.extend(bytes);
        self
    }

    /// On the wire.
    pub fn bytes(&self, version: Version) -> Vec<u8> {
        let mut body = self.id.to_be_bytes().to_vec();
        if version == Version::V5 {
            body.extend(block(&self.properties));
        }
        body.extend(&self.filters);
        packet(Kind::Subscribe.head(), &body)
    }
}

/// UNSUBSCRIBE.
pub fn unsubscribe<F: AsRef<[u8]>>(version: Version, id: u16, filters: &[F]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(filters.iter().flat_map(data));
    packet(Kind::Unsubscribe.head(), &body)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP with nothing but the packet id: success.
pub fn ack(kind: Kind, id: u16) -> Vec<u8> {
    packet(kind.head(), &id.to_be_bytes())
}

/// The same with a reason code.
pub fn ack_with(kind: Kind, id: u16, code: u8) -> Vec<u8> {
    packet(kind.head(), &[&id.to_be_bytes()[..], &[code]].concat())
}

/// PINGREQ.
pub fn pingreq() -> Vec<u8> {
    packet(Kind::Pingreq.head(), &[])
}

/// DISCONNECT with nothing in it: normal.
pub fn disconnect() -> Vec<u8> {
    packet(Kind::Disconnect.head(), &[])
}

/// DISCONNECT of 5.0 with a reason code and properties.
pub fn disconnect_with(code: u8, with: &[Property]) -> Vec<u8> {
    packet(
        Kind::Disconnect.head(),
        &[&[code][..], &properties(with)].concat(),
    )
}

/// AUTH with a reason code and properties.
pub fn auth(code: u8, with: &[Property]) -> Vec<u8> {
    packet(
        Kind::Auth.head(),
        &[&[code][..], &properties(with)].concat(),
    )
}
