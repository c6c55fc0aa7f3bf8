//! CONNACK: the server's answer to CONNECT [MQTT 5.0 §3.2].

use super::property::AuthenticationParts;
use super::{Authentication, QoS, UserProperties, Version};
use crate::wire::{Properties, PropertyId, Reader, Writer};
use crate::{ProtocolError, ReasonCode, Text};
use std::num::{NonZeroU16, NonZeroU32};

/// A CONNACK. In 3.1.1 the reason becomes one of six return codes, and the properties are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connack {
    /// Whether the server goes on with a session it kept [MQTT-3.2.2-2]; false with an error
    /// [MQTT-3.2.2-6].
    pub session_present: bool,
    /// How CONNECT ended.
    pub reason: ReasonCode,
    /// What only 5.0 can say.
    pub properties: ConnackProperties,
}

/// The properties of a CONNACK; an absent one is at the default the specification gives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a property of its own on the wire"
)]
pub struct ConnackProperties {
    /// The expiry the server uses where it differs from what was asked for.
    pub session_expiry_interval: Option<u32>,
    /// How many QoS 1 and 2 messages the server takes at once. Default 65,535.
    pub receive_maximum: NonZeroU16,
    /// The highest QoS the server takes. Default 2.
    pub maximum_qos: QoS,
    /// Whether retained messages are kept. Default yes.
    pub retain_available: bool,
    /// The longest packet the server takes, in bytes; `None` is the protocol's limit.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// The client id the server chose [MQTT-3.2.2-16].
    pub assigned_client_id: Option<Text>,
    /// How many topic aliases the client may use. Default 0.
    pub topic_alias_maximum: u16,
    /// Words for a person, where the client asked for them.
    pub reason_string: Option<Text>,
    /// In their order.
    pub user_properties: UserProperties,
    /// Whether `+` and `#` may be subscribed to. Default yes.
    pub wildcard_subscription_available: bool,
    /// Whether subscription identifiers are understood. Default yes.
    pub subscription_ids_available: bool,
    /// Whether `$share` is understood. Default yes.
    pub shared_subscription_available: bool,
    /// The keep-alive the client shall use instead of its own [MQTT-3.1.2-21].
    pub server_keep_alive: Option<u16>,
    /// A basis for response topics.
    pub response_information: Option<Text>,
    /// Another server to use.
    pub server_reference: Option<Text>,
    /// Extended authentication.
    pub authentication: Option<Authentication>,
}

impl Default for ConnackProperties {
    fn default() -> Self {
        Self {
            session_expiry_interval: None,
            receive_maximum: NonZeroU16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            maximum_packet_size: None,
            assigned_client_id: None,
            topic_alias_maximum: 0,
            reason_string: None,
            user_properties: UserProperties::new(),
            wildcard_subscription_available: true,
            subscription_ids_available: true,
            shared_subscription_available: true,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication: None,
        }
    }
}

impl Connack {
    /// A refusal without further words.
    pub fn refused(reason: ReasonCode) -> Self {
        Self {
            session_present: false,
            reason,
            properties: ConnackProperties::default(),
        }
    }
}

/// What a CONNACK may say [MQTT-3.2.2-8].
const KNOWN: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::UnspecifiedError,
    ReasonCode::MalformedPacket,
    ReasonCode::ProtocolError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::UnsupportedProtocolVersion,
    ReasonCode::ClientIdentifierNotValid,
    ReasonCode::BadUserNameOrPassword,
    ReasonCode::NotAuthorized,
    ReasonCode::ServerUnavailable,
    ReasonCode::ServerBusy,
    ReasonCode::Banned,
    ReasonCode::BadAuthenticationMethod,
    ReasonCode::TopicNameInvalid,
    ReasonCode::PacketTooLarge,
    ReasonCode::QuotaExceeded,
    ReasonCode::PayloadFormatInvalid,
    ReasonCode::RetainNotSupported,
    ReasonCode::QosNotSupported,
    ReasonCode::UseAnotherServer,
    ReasonCode::ServerMoved,
    ReasonCode::ConnectionRateExceeded,
];

const SESSION_PRESENT: u8 = 0b1;

impl Connack {
    pub(crate) fn read(body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let session_present = match body.u8()? {
            0 => false,
            SESSION_PRESENT => true,
            _ => return Err(ProtocolError::AcknowledgeFlags),
        };
        let reason = match body.version {
            Version::V311 => from_return_code(body.u8()?)?,
            Version::V5 => body.reason(KNOWN)?,
        };
        if session_present && reason.is_error() {
            return Err(ProtocolError::SessionPresentWithError);
        }
        let properties = ConnackProperties::read(body.properties()?)?;
        Ok(Self {
            session_present,
            reason,
            properties,
        })
    }

    pub(crate) fn write(&self, body: &mut Writer<'_>) {
        body.u8(if self.session_present {
            SESSION_PRESENT
        } else {
            0
        });
        body.u8(match body.version {
            Version::V311 => to_return_code(self.reason),
            Version::V5 => self.reason.byte(),
        });
        body.properties(|block| self.properties.write(block));
    }
}

impl ConnackProperties {
    fn read(mut properties: Properties<'_>) -> Result<Self, ProtocolError> {
        let mut read = Self::default();
        let mut authentication = AuthenticationParts::default();
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::AuthenticationMethod => {
                    authentication.method = Some(properties.text()?);
                }
                PropertyId::AuthenticationData => authentication.data = Some(properties.binary()?),
                _ => read.read_one(id, &mut properties)?,
            }
        }
        read.authentication = authentication.join()?;
        Ok(read)
    }

    fn read_one(
        &mut self,
        id: PropertyId,
        value: &mut Properties<'_>,
    ) -> Result<(), ProtocolError> {
        match id {
            PropertyId::SessionExpiryInterval => {
                self.session_expiry_interval = Some(value.u32()?);
            }
            PropertyId::ReceiveMaximum => self.receive_maximum = value.non_zero_u16()?,
            // 2 is said by saying nothing [MQTT 5.0 §3.2.2.3.4].
            PropertyId::MaximumQos => {
                let is_one = value.flag()?;
                self.maximum_qos = if is_one {
                    QoS::AtLeastOnce
                } else {
                    QoS::AtMostOnce
                };
            }
            PropertyId::RetainAvailable => self.retain_available = value.flag()?,
            PropertyId::MaximumPacketSize => self.maximum_packet_size = Some(value.non_zero_u32()?),
            PropertyId::AssignedClientIdentifier => self.assigned_client_id = Some(value.text()?),
            PropertyId::TopicAliasMaximum => self.topic_alias_maximum = value.u16()?,
            PropertyId::ReasonString => self.reason_string = Some(value.text()?),
            PropertyId::UserProperty => value.user(&mut self.user_properties)?,
            PropertyId::WildcardSubscriptionAvailable => {
                self.wildcard_subscription_available = value.flag()?;
            }
            PropertyId::SubscriptionIdentifierAvailable => {
                self.subscription_ids_available = value.flag()?;
            }
            PropertyId::SharedSubscriptionAvailable => {
                self.shared_subscription_available = value.flag()?;
            }
            PropertyId::ServerKeepAlive => self.server_keep_alive = Some(value.u16()?),
            PropertyId::ResponseInformation => self.response_information = Some(value.text()?),
            PropertyId::ServerReference => self.server_reference = Some(value.text()?),
            _ => return Err(id.not_allowed()),
        }
        Ok(())
    }

    fn write(&self, block: &mut Writer<'_>) {
        block.optional_u32(
            PropertyId::SessionExpiryInterval,
            self.session_expiry_interval,
        );
        if self.receive_maximum != NonZeroU16::MAX {
            block
                .property(PropertyId::ReceiveMaximum)
                .u16(self.receive_maximum.get());
        }
        if self.maximum_qos != QoS::ExactlyOnce {
            block
                .property(PropertyId::MaximumQos)
                .u8(self.maximum_qos.bits());
        }
        let size_max = self.maximum_packet_size.map(NonZeroU32::get);
        block.optional_u32(PropertyId::MaximumPacketSize, size_max);
        block.optional_text(
            PropertyId::AssignedClientIdentifier,
            self.assigned_client_id.as_ref(),
        );
        if self.topic_alias_maximum != 0 {
            block
                .property(PropertyId::TopicAliasMaximum)
                .u16(self.topic_alias_maximum);
        }
        block.words(self.reason_string.as_ref(), &self.user_properties);
        for (id, available) in [
            (PropertyId::RetainAvailable, self.retain_available),
            (
                PropertyId::WildcardSubscriptionAvailable,
                self.wildcard_subscription_available,
            ),
            (
                PropertyId::SubscriptionIdentifierAvailable,
                self.subscription_ids_available,
            ),
            (
                PropertyId::SharedSubscriptionAvailable,
                self.shared_subscription_available,
            ),
        ] {
            if !available {
                block.property(id).flag(available);
            }
        }
        if let Some(seconds) = self.server_keep_alive {
            block.property(PropertyId::ServerKeepAlive).u16(seconds);
        }
        block.optional_text(
            PropertyId::ResponseInformation,
            self.response_information.as_ref(),
        );
        block.optional_text(PropertyId::ServerReference, self.server_reference.as_ref());
        if let Some(authentication) = &self.authentication {
            authentication.write(block);
        }
    }
}

/// The return codes of 3.1.1 [MQTT 3.1.1 table 3.1].
fn from_return_code(code: u8) -> Result<ReasonCode, ProtocolError> {
    match code {
        0 => Ok(ReasonCode::Success),
        1 => Ok(ReasonCode::UnsupportedProtocolVersion),
        2 => Ok(ReasonCode::ClientIdentifierNotValid),
        3 => Ok(ReasonCode::ServerUnavailable),
        4 => Ok(ReasonCode::BadUserNameOrPassword),
        5 => Ok(ReasonCode::NotAuthorized),
        _ => Err(ProtocolError::ReasonCodeNotAllowed(code)),
    }
}

/// The nearest return code of 3.1.1: where it has no word of its own, the server is unavailable.
fn to_return_code(reason: ReasonCode) -> u8 {
    match reason {
        reason if !reason.is_error() => 0,
        ReasonCode::UnsupportedProtocolVersion => 1,
        ReasonCode::ClientIdentifierNotValid => 2,
        ReasonCode::BadUserNameOrPassword => 4,
        ReasonCode::NotAuthorized | ReasonCode::Banned | ReasonCode::BadAuthenticationMethod => 5,
        _ => 3,
    }
}
