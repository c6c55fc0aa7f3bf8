//! A cursor over one packet: the data representations of MQTT 5.0 §1.5.
//!
//! It panics on anything ill-formed: what the broker sends must not be.

use super::Property;

/// What is left of a packet.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// From the first byte of `bytes` on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1)[0]
    }

    /// A two byte integer.
    pub fn two(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes(2).try_into().unwrap())
    }

    /// A four byte integer.
    pub fn four(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes(4).try_into().unwrap())
    }

    /// A variable byte integer, in as few bytes as it needs [MQTT-1.5.5-1].
    pub fn varint(&mut self) -> u32 {
        let mut value = 0;
        for place in 0..4 {
            let byte = self.byte();
            value |= u32::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                assert!(
                    place == 0 || byte != 0,
                    "a variable byte integer longer than it need be"
                );
                return value;
            }
        }
        panic!("a variable byte integer of more than four bytes");
    }

    /// Binary data.
    pub fn data(&mut self) -> Vec<u8> {
        let len = self.two();
        self.bytes(usize::from(len)).to_vec()
    }

    /// A string: UTF-8 without U+0000 [MQTT-1.5.4-1] [MQTT-1.5.4-2].
    pub fn text(&mut self) -> String {
        let text = String::from_utf8(self.data()).expect("a string in UTF-8");
        assert!(!text.contains('\0'), "a string with U+0000");
        text
    }

    /// A property block.
    pub fn properties(&mut self) -> Vec<Property> {
        let len = self.varint();
        let mut block = Reader::new(self.bytes(len as usize));
        let mut properties = Vec::new();
        while !block.is_empty() {
            properties.push(Property::read(&mut block));
        }
        properties
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .expect("a field within its packet");
        self.rest = rest;
        bytes
    }
}
