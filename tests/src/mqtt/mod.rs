//! MQTT as the tests write and read it: bytes, and as little above them as reads well.
//!
//! Builders can make any packet, wrong ones too; readers accept only what is well-formed.

pub mod answer;
pub mod connect;
pub mod property;
pub mod reader;
pub mod request;

pub use property::Property;

/// The protocol version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

/// Both, for what must hold in either.
pub const BOTH: [Version; 2] = [Version::V311, Version::V5];

/// The type of a packet, MQTT 5.0 table 2-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are those of the table")]
pub enum Kind {
    Reserved = 0,
    Connect,
    Connack,
    Publish,
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
    Subscribe,
    Suback,
    Unsubscribe,
    Unsuback,
    Pingreq,
    Pingresp,
    Disconnect,
    Auth,
}

impl Kind {
    /// Every type, in the order of its number.
    pub const ALL: [Self; 16] = [
        Self::Reserved,
        Self::Connect,
        Self::Connack,
        Self::Publish,
        Self::Puback,
        Self::Pubrec,
        Self::Pubrel,
        Self::Pubcomp,
        Self::Subscribe,
        Self::Suback,
        Self::Unsubscribe,
        Self::Unsuback,
        Self::Pingreq,
        Self::Pingresp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// The first byte of such a packet, with the flags the standard fixes.
    pub fn head(self) -> u8 {
        let reserved = match self {
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        };
        (self as u8) << 4 | reserved
    }
}

/// One packet: its first byte and what stands behind the remaining length.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Type and flags.
    pub head: u8,
    /// Variable header and payload.
    pub body: Vec<u8>,
}

impl Frame {
    /// Cuts the first whole packet off what was received.
    pub fn take(received: &mut Vec<u8>) -> Option<Self> {
        let (len, len_len) = remaining_length(received.get(1..)?)?;
        let end = 1 + len_len + len;
        if received.len() < end {
            return None;
        }
        let rest = received.split_off(end);
        let packet = std::mem::replace(received, rest);
        Some(Self {
            head: packet[0],
            body: packet[1 + len_len..].to_vec(),
        })
    }

    /// The type of this packet.
    pub fn kind(&self) -> Kind {
        Kind::ALL[usize::from(self.head >> 4)]
    }

    /// The whole packet as it was on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        request::packet(self.head, &self.body)
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.kind(), hex(&self.bytes()))
    }
}

fn remaining_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    assert!(
        bytes.len() < 4,
        "the broker sent a remaining length of five bytes"
    );
    None
}

/// Bytes from text such as `"c0 00"`.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// Text such as `"c0 00"` from bytes; a long run is cut.
pub fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes
        .iter()
        .take(64)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let more = if bytes.len() > 64 {
        format!(" … {} bytes", bytes.len())
    } else {
        String::new()
    };
    shown.join(" ") + &more
}
