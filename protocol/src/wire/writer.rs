//! The data types of MQTT, put one after the other into a packet [MQTT 5.0 §1.5].
//!
//! A packet is written twice by the same code: first only measured, then in earnest. So its
//! lengths cannot differ from its fields.

use super::{PropertyId, TooLarge, varint};
use crate::Text;
use crate::packet::{PacketId, Version};
use bytes::{Bytes, BytesMut};

/// Writes, or only measures, the body of one packet.
pub(crate) struct Writer<'a> {
    pub(crate) version: Version,
    words: Words,
    /// What has been written; `usize::MAX` where a field is longer than MQTT can say.
    len: usize,
    out: Option<&'a mut BytesMut>,
}

/// Which properties for people are written, where the specification lets them go
/// [MQTT-3.4.2-2] [MQTT-3.4.2-3].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    All,
    ReasonString,
    None,
}

impl Words {
    /// From what says most to what takes least.
    pub(super) const FALLBACKS: [Self; 3] = [Self::All, Self::ReasonString, Self::None];

    /// The part of a reason string that is written.
    fn reason_string(self, text: Option<&Text>) -> Option<&Text> {
        match self {
            Self::All | Self::ReasonString => text,
            Self::None => None,
        }
    }

    /// The part of some user properties that is written.
    fn user_properties(self, all: &[(Text, Text)]) -> &[(Text, Text)] {
        match self {
            Self::All => all,
            Self::ReasonString | Self::None => &[],
        }
    }
}

impl<'a> Writer<'a> {
    pub(super) fn new(version: Version, words: Words, out: &'a mut BytesMut) -> Self {
        let len = 0;
        let out = Some(out);
        Self {
            version,
            words,
            len,
            out,
        }
    }

    /// Writes something that is not a packet, measured first.
    pub(crate) fn write_all(
        out: &mut BytesMut,
        write: impl Fn(&mut Writer<'_>),
    ) -> Result<(), TooLarge> {
        let len = Writer::measure(Version::V5, Words::All, &write);
        if u32::try_from(len).map_or(true, |len| len > varint::MAX) {
            return Err(TooLarge);
        }
        out.reserve(len);
        write(&mut Writer::new(Version::V5, Words::All, out));
        Ok(())
    }

    /// How many bytes this would write; `usize::MAX` where it cannot be written.
    pub(super) fn measure(
        version: Version,
        words: Words,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> usize {
        let mut writer = Writer {
            version,
            words,
            len: 0,
            out: None,
        };
        write(&mut writer);
        writer.len
    }

    /// Makes the packet one that cannot be written: MQTT has no form for it.
    pub(crate) fn give_up(&mut self) {
        self.len = usize::MAX;
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.len = self.len.saturating_add(bytes.len());
        if let Some(out) = &mut self.out {
            out.extend_from_slice(bytes);
        }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.raw(&[value]);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn packet_id(&mut self, id: PacketId) {
        self.u16(id.get());
    }

    pub(crate) fn varint(&mut self, value: u32) {
        if value > varint::MAX {
            return self.give_up();
        }
        self.len = self.len.saturating_add(varint::len(value));
        if let Some(out) = &mut self.out {
            varint::write(value, out);
        }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.binary(text.as_bytes());
    }

    /// Two length bytes and these.
    pub(crate) fn binary(&mut self, bytes: &[u8]) {
        let Ok(len) = u16::try_from(bytes.len()) else {
            return self.give_up();
        };
        self.u16(len);
        self.raw(bytes);
    }

    /// The property block of a packet; none at all in 3.1.1.
    pub(crate) fn properties(&mut self, write: impl Fn(&mut Writer<'_>)) {
        if self.version == Version::V311 {
            return;
        }
        let len = Writer::measure(self.version, self.words, &write);
        self.varint(u32::try_from(len).unwrap_or(u32::MAX));
        write(self);
    }

    /// The identifier of a property, whose value comes next.
    pub(crate) fn property(&mut self, id: PropertyId) -> &mut Self {
        self.u8(id.byte());
        self
    }

    pub(crate) fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub(crate) fn optional_u32(&mut self, id: PropertyId, value: Option<u32>) {
        if let Some(value) = value {
            self.property(id).u32(value);
        }
    }

    pub(crate) fn optional_text(&mut self, id: PropertyId, value: Option<&Text>) {
        if let Some(value) = value {
            self.property(id).text(value);
        }
    }

    pub(crate) fn optional_binary(&mut self, id: PropertyId, value: Option<&Bytes>) {
        if let Some(value) = value {
            self.property(id).binary(value);
        }
    }

    /// User properties that must not be left out.
    pub(crate) fn user_properties(&mut self, all: &[(Text, Text)]) {
        for (name, value) in all {
            self.property(PropertyId::UserProperty).text(name);
            self.text(value);
        }
    }

    /// Whether [`Self::words`] would write any of these.
    pub(crate) fn has_room_for(&self, reason_string: Option<&Text>, all: &[(Text, Text)]) -> bool {
        self.words.reason_string(reason_string).is_some()
            || !self.words.user_properties(all).is_empty()
    }

    /// Reason string and user properties, as far as the packet's length allows.
    pub(crate) fn words(&mut self, reason_string: Option<&Text>, all: &[(Text, Text)]) {
        let words = self.words;
        let reason_string = words.reason_string(reason_string);
        self.optional_text(PropertyId::ReasonString, reason_string);
        self.user_properties(words.user_properties(all));
    }
}
