//! UNSUBACK: a reason code for each filter of an UNSUBSCRIBE [MQTT 5.0 §3.11].

use super::{AckWords, PacketId, Version};
use crate::wire::{Reader, Writer};
use crate::{ProtocolError, ReasonCode};

/// An UNSUBACK. In 3.1.1 it has no reasons: `reasons` is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsuback {
    /// The UNSUBSCRIBE it answers [MQTT-3.10.4-4].
    pub packet_id: PacketId,
    /// One for each filter, in their order [MQTT-3.11.3-1].
    pub reasons: Vec<ReasonCode>,
    /// Reason string and user properties.
    pub words: Option<Box<AckWords>>,
}

/// What an UNSUBACK may say [MQTT-3.11.3-2].
const KNOWN: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::NoSubscriptionExisted,
    ReasonCode::UnspecifiedError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::TopicFilterInvalid,
    ReasonCode::PacketIdentifierInUse,
];

impl Unsuback {
    pub(crate) fn read(body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let packet_id = body.packet_id()?;
        let words = AckWords::read(body)?;
        let reasons = match body.version {
            Version::V311 => Vec::new(),
            Version::V5 => body.reasons(KNOWN)?,
        };
        Ok(Self {
            packet_id,
            reasons,
            words,
        })
    }

    pub(crate) fn write(&self, body: &mut Writer<'_>) {
        body.packet_id(self.packet_id);
        if body.version == Version::V5 {
            AckWords::write(self.words.as_deref(), body);
            for reason in &self.reasons {
                body.u8(reason.byte());
            }
        }
    }
}
