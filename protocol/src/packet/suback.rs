//! SUBACK: a reason code for each filter of a SUBSCRIBE [MQTT 5.0 §3.9].

use super::{AckWords, PacketId, Version};
use crate::wire::{Reader, Writer};
use crate::{ProtocolError, ReasonCode};

/// A SUBACK. In 3.1.1 every error becomes 0x80.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suback {
    /// The SUBSCRIBE it answers [MQTT-3.8.4-2].
    pub packet_id: PacketId,
    /// One for each filter, in their order [MQTT-3.9.3-1].
    pub reasons: Vec<ReasonCode>,
    /// Reason string and user properties.
    pub words: Option<Box<AckWords>>,
}

/// What a SUBACK may say [MQTT-3.9.3-2].
const KNOWN: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::GrantedQos1,
    ReasonCode::GrantedQos2,
    ReasonCode::UnspecifiedError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::TopicFilterInvalid,
    ReasonCode::PacketIdentifierInUse,
    ReasonCode::QuotaExceeded,
    ReasonCode::SharedSubscriptionsNotSupported,
    ReasonCode::SubscriptionIdentifiersNotSupported,
    ReasonCode::WildcardSubscriptionsNotSupported,
];

/// The same in 3.1.1 [MQTT-3.9.3-2 of 3.1.1].
const KNOWN_311: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::GrantedQos1,
    ReasonCode::GrantedQos2,
    ReasonCode::UnspecifiedError,
];

impl Suback {
    pub(crate) fn read(body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let packet_id = body.packet_id()?;
        let words = AckWords::read(body)?;
        let known = match body.version {
            Version::V311 => KNOWN_311,
            Version::V5 => KNOWN,
        };
        let reasons = body.reasons(known)?;
        Ok(Self {
            packet_id,
            reasons,
            words,
        })
    }

    pub(crate) fn write(&self, body: &mut Writer<'_>) {
        body.packet_id(self.packet_id);
        AckWords::write(self.words.as_deref(), body);
        for reason in &self.reasons {
            let code = match body.version {
                Version::V311 if reason.is_error() => ReasonCode::UnspecifiedError,
                Version::V311 | Version::V5 => *reason,
            };
            body.u8(code.byte());
        }
    }
}
