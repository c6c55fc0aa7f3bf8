//! Protocol name and level, with which a CONNECT begins [MQTT 5.0 §3.1.2.1].

use super::{Reader, Writer};
use crate::ProtocolError;
use crate::packet::Version;

const NAME: &[u8] = b"MQTT";

impl Version {
    /// Reads name and level.
    ///
    /// # Errors
    /// If it is another protocol than MQTT or another version than 3.1.1 and 5.0; `MQIsdp`,
    /// which is 3.1, is one of these [MQTT-3.1.2-1] [MQTT-3.1.2-2].
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let name = reader.prefixed()?;
        let level = reader.u8()?;
        match (name, level) {
            (NAME, 4) => Ok(Self::V311),
            (NAME, 5) => Ok(Self::V5),
            _ => Err(ProtocolError::UnsupportedProtocolVersion),
        }
    }

    pub(crate) fn write(self, writer: &mut Writer<'_>) {
        writer.binary(NAME);
        writer.u8(match self {
            Self::V311 => 4,
            Self::V5 => 5,
        });
    }
}
