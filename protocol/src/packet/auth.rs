//! AUTH: a step of an extended authentication [MQTT 5.0 §3.15].

use super::property::AuthenticationParts;
use super::{Authentication, UserProperties, Version};
use crate::wire::{Direction, PropertyId, Reader, Writer};
use crate::{ProtocolError, ReasonCode, Text};

/// An AUTH packet; MQTT 5.0 only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Success, continue, or re-authenticate.
    pub reason: ReasonCode,
    /// The method, which may be absent only where the reason is success.
    pub authentication: Option<Authentication>,
    /// Words for a person.
    pub reason_string: Option<Text>,
    /// In their order.
    pub user_properties: UserProperties,
}

/// What an AUTH may say, and who may say it [MQTT-3.15.2-1].
const FROM_CLIENT: &[ReasonCode] = &[
    ReasonCode::ContinueAuthentication,
    ReasonCode::Reauthenticate,
];
const FROM_SERVER: &[ReasonCode] = &[ReasonCode::Success, ReasonCode::ContinueAuthentication];

impl Auth {
    pub(crate) fn read(body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        if body.version == Version::V311 {
            return Err(ProtocolError::PacketTypeReserved);
        }
        let mut auth = Self {
            reason: ReasonCode::Success,
            authentication: None,
            reason_string: None,
            user_properties: UserProperties::new(),
        };
        let known = match body.direction {
            Direction::ToServer => FROM_CLIENT,
            Direction::ToClient => FROM_SERVER,
        };
        // An empty one means success, which a client does not say [MQTT 5.0 §3.15.2.1].
        if body.is_empty() && known.contains(&auth.reason) {
            return Ok(auth);
        }
        auth.reason = body.reason(known)?;
        auth.read_properties(body)?;
        Ok(auth)
    }

    fn read_properties(&mut self, body: &mut Reader<'_>) -> Result<(), ProtocolError> {
        let mut parts = AuthenticationParts::default();
        let mut properties = body.properties()?;
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::AuthenticationMethod => parts.method = Some(properties.text()?),
                PropertyId::AuthenticationData => parts.data = Some(properties.binary()?),
                PropertyId::ReasonString => self.reason_string = Some(properties.text()?),
                PropertyId::UserProperty => properties.user(&mut self.user_properties)?,
                _ => return Err(id.not_allowed()),
            }
        }
        self.authentication = parts.join()?;
        if self.authentication.is_none() && self.reason != ReasonCode::Success {
            return Err(ProtocolError::AuthenticationMethodMissing);
        }
        Ok(())
    }

    pub(crate) fn write(&self, body: &mut Writer<'_>) {
        if body.version == Version::V311 {
            return body.give_up();
        }
        let is_bare = self.authentication.is_none()
            && !body.has_room_for(self.reason_string.as_ref(), &self.user_properties);
        if self.reason == ReasonCode::Success && is_bare {
            return;
        }
        body.u8(self.reason.byte());
        body.properties(|block| {
            if let Some(authentication) = &self.authentication {
                authentication.write(block);
            }
            block.words(self.reason_string.as_ref(), &self.user_properties);
        });
    }
}
