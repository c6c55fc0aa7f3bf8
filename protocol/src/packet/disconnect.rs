//! DISCONNECT: the last packet of a connection [MQTT 5.0 §3.14].

use super::{UserProperties, Version};
use crate::wire::{Direction, PropertyId, Reader, Writer};
use crate::{ProtocolError, ReasonCode, Text};

/// A DISCONNECT. A server of 3.1.1 has none: it closes the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why the connection ends.
    pub reason: ReasonCode,
    /// A new session expiry interval, from a client only [MQTT-3.14.2-2].
    pub session_expiry_interval: Option<u32>,
    /// Words for a person.
    pub reason_string: Option<Text>,
    /// In their order.
    pub user_properties: UserProperties,
    /// Another server to use, from a server only.
    pub server_reference: Option<Text>,
}

impl Disconnect {
    /// A DISCONNECT that carries its reason alone.
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry_interval: None,
            reason_string: None,
            user_properties: UserProperties::new(),
            server_reference: None,
        }
    }
}

/// What a client may say [MQTT-3.14.2-1].
const FROM_CLIENT: &[ReasonCode] = &[
    ReasonCode::Success,
    ReasonCode::DisconnectWithWill,
    ReasonCode::UnspecifiedError,
    ReasonCode::MalformedPacket,
    ReasonCode::ProtocolError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::TopicNameInvalid,
    ReasonCode::ReceiveMaximumExceeded,
    ReasonCode::TopicAliasInvalid,
    ReasonCode::PacketTooLarge,
    ReasonCode::MessageRateTooHigh,
    ReasonCode::QuotaExceeded,
    ReasonCode::AdministrativeAction,
    ReasonCode::PayloadFormatInvalid,
];

/// What a server may say.
const FROM_SERVER: &[ReasonCode] = &[
    ReasonCode::UnspecifiedError,
    ReasonCode::MalformedPacket,
    ReasonCode::ProtocolError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::ServerBusy,
    ReasonCode::ServerShuttingDown,
    ReasonCode::KeepAliveTimeout,
    ReasonCode::SessionTakenOver,
    ReasonCode::TopicFilterInvalid,
    ReasonCode::TopicNameInvalid,
    ReasonCode::ReceiveMaximumExceeded,
    ReasonCode::TopicAliasInvalid,
    ReasonCode::PacketTooLarge,
    ReasonCode::MessageRateTooHigh,
    ReasonCode::QuotaExceeded,
    ReasonCode::AdministrativeAction,
    ReasonCode::PayloadFormatInvalid,
    ReasonCode::RetainNotSupported,
    ReasonCode::QosNotSupported,
    ReasonCode::UseAnotherServer,
    ReasonCode::ServerMoved,
    ReasonCode::SharedSubscriptionsNotSupported,
    ReasonCode::ConnectionRateExceeded,
    ReasonCode::MaximumConnectTime,
    ReasonCode::SubscriptionIdentifiersNotSupported,
    ReasonCode::WildcardSubscriptionsNotSupported,
];

impl Disconnect {
    pub(crate) fn read(body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let mut disconnect = Self::new(ReasonCode::Success);
        match (body.version, body.direction) {
            (Version::V311, Direction::ToServer) => return Ok(disconnect),
            // A server of 3.1.1 closes the connection, and says nothing.
            (Version::V311, Direction::ToClient) => return Err(ProtocolError::WrongDirection),
            (Version::V5, Direction::ToServer | Direction::ToClient) => {}
        }
        // Reason and properties may be left out, from the end [MQTT 5.0 §3.14.2.1].
        if !body.is_empty() {
            disconnect.reason = body.reason(match body.direction {
                Direction::ToServer => FROM_CLIENT,
                Direction::ToClient => FROM_SERVER,
            })?;
        }
        if !body.is_empty() {
            disconnect.read_properties(body)?;
        }
        Ok(disconnect)
    }

    fn read_properties(&mut self, body: &mut Reader<'_>) -> Result<(), ProtocolError> {
        let direction = body.direction;
        let mut properties = body.properties()?;
        while let Some(id) = properties.next()? {
            match (id, direction) {
                (PropertyId::SessionExpiryInterval, Direction::ToServer) => {
                    self.session_expiry_interval = Some(properties.u32()?);
                }
                (PropertyId::ServerReference, Direction::ToClient) => {
                    self.server_reference = Some(properties.text()?);
                }
                (PropertyId::ReasonString, _) => self.reason_string = Some(properties.text()?),
                (PropertyId::UserProperty, _) => properties.user(&mut self.user_properties)?,
                _ => return Err(id.not_allowed()),
            }
        }
        Ok(())
    }

    pub(crate) fn write(&self, body: &mut Writer<'_>) {
        if body.version == Version::V311 {
            return;
        }
        let is_bare = self.session_expiry_interval.is_none()
            && self.server_reference.is_none()
            && !body.has_room_for(self.reason_string.as_ref(), &self.user_properties);
        if !is_bare || self.reason != ReasonCode::Success {
            body.u8(self.reason.byte());
        }
        if !is_bare {
            body.properties(|block| {
                block.optional_u32(
                    PropertyId::SessionExpiryInterval,
                    self.session_expiry_interval,
                );
                block.words(self.reason_string.as_ref(), &self.user_properties);
                block.optional_text(PropertyId::ServerReference, self.server_reference.as_ref());
            });
        }
    }
}
