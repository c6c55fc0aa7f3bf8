//! CONNECT: a client asks for a session [MQTT 5.0 §3.1].

use super::property::AuthenticationParts;
use super::will::WillFlags;
use super::{QoS, UserProperties, Version, Will};
use crate::wire::{PACKET_SIZE_MAX, Properties, PropertyId, Reader, Writer};
use crate::{ProtocolError, Text};
use bytes::Bytes;
use std::num::{NonZeroU16, NonZeroU32};

/// A CONNECT, the first packet of a client and its only one of this kind [MQTT-3.1.0-1].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// What the connection speaks from here on.
    pub version: Version,
    /// Begin anew: an existing session is discarded [MQTT-3.1.2-4].
    ///
    /// 3.1.1 calls it *clean session*, which also ends the session with the connection: such a
    /// CONNECT has [`ConnectProperties::session_expiry_interval`] 0, the other one 0xFFFFFFFF.
    pub clean_start: bool,
    /// Seconds between two packets of the client at most; 0 is for ever [MQTT 5.0 §3.1.2.10].
    pub keep_alive: u16,
    /// The client id; empty where the server shall assign one [MQTT-3.1.3-6].
    pub client_id: Text,
    /// What to publish when the connection ends unannounced.
    pub will: Option<Will>,
    /// Carried and ignored: the certificate is the identity.
    pub username: Option<Text>,
    /// Carried and ignored: the certificate is the identity.
    pub password: Option<Bytes>,
    /// What only 5.0 can say.
    pub properties: ConnectProperties,
}

/// The properties of a CONNECT; an absent one is at the default the specification gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectProperties {
    /// Seconds the session outlives the connection; `u32::MAX` is for ever. Default 0.
    pub session_expiry_interval: u32,
    /// How many QoS 1 and 2 messages the client takes at once. Default 65,535.
    pub receive_maximum: NonZeroU16,
    /// The longest packet the client takes, in bytes; `None` is no limit of its own.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// How many topic aliases the server may use. Default 0.
    pub topic_alias_maximum: u16,
    /// Whether the server may send response information. Default no.
    pub request_response_information: bool,
    /// Whether reason strings may come in any packet [MQTT-3.1.2-29]. Default yes.
    pub request_problem_information: bool,
    /// In their order.
    pub user_properties: UserProperties,
    /// Extended authentication, if it is asked for.
    pub authentication: Option<Authentication>,
}

impl Default for ConnectProperties {
    fn default() -> Self {
        Self {
            session_expiry_interval: 0,
            receive_maximum: NonZeroU16::MAX,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            user_properties: UserProperties::new(),
            authentication: None,
        }
    }
}

/// Authentication method and data [MQTT 5.0 §4.12]; there is no data without a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// The method's name.
    pub method: Text,
    /// What the method defines.
    pub data: Option<Bytes>,
}

impl Connect {
    /// Reads a CONNECT, and the rest of it in the version that it names.
    pub(crate) fn read(body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let version = Version::read(body)?;
        body.version = version;
        let flags = ConnectFlags::read(body)?;
        let keep_alive = body.u16()?;
        let properties = ConnectProperties::read(body.properties()?)?;
        let client_id = body.text()?;
        if version == Version::V311 && client_id.is_empty() && !flags.clean_start {
            return Err(ProtocolError::ClientIdMissing);
        }
        let connect = Self {
            version,
            clean_start: flags.clean_start,
            keep_alive,
            client_id,
            will: flags
                .will
                .map(|flags| Will::read(flags, body))
                .transpose()?,
            username: flags.username.then(|| body.text()).transpose()?,
            password: flags.password.then(|| body.binary()).transpose()?,
            properties,
        };
        Ok(connect.with_session_of_311())
    }

    /// In 3.1.1 one flag says how the session begins and when it ends.
    fn with_session_of_311(mut self) -> Self {
        if self.version == Version::V311 && !self.clean_start {
            self.properties.session_expiry_interval = u32::MAX;
        }
        self
    }

    /// Writes a CONNECT in its own version.
    pub(crate) fn write(&self, body: &mut Writer<'_>) {
        body.version = self.version;
        self.version.write(body);
        ConnectFlags::of(self).write(body);
        body.u16(self.keep_alive);
        body.properties(|block| self.properties.write(block));
        body.text(&self.client_id);
        if let Some(will) = &self.will {
            will.write(body);
        }
        if let Some(username) = &self.username {
            body.text(username);
        }
        if let Some(password) = &self.password {
            body.binary(password);
        }
    }
}

/// The connect flags [MQTT 5.0 §3.1.2.3].
struct ConnectFlags {
    username: bool,
    password: bool,
    will: Option<WillFlags>,
    clean_start: bool,
}

impl ConnectFlags {
    const USERNAME: u8 = 0b1000_0000;
    const PASSWORD: u8 = 0b0100_0000;
    const WILL_RETAIN: u8 = 0b0010_0000;
    const WILL_QOS: u8 = 0b0001_1000;
    const WILL: u8 = 0b0000_0100;
    const CLEAN_START: u8 = 0b0000_0010;
    const RESERVED: u8 = 0b0000_0001;

    fn read(body: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let bits = body.u8()?;
        if bits & Self::RESERVED != 0 {
            return Err(ProtocolError::ConnectFlags);
        }
        let flags = Self {
            username: bits & Self::USERNAME != 0,
            password: bits & Self::PASSWORD != 0,
            will: Self::will(bits)?,
            clean_start: bits & Self::CLEAN_START != 0,
        };
        if body.version == Version::V311 && flags.password && !flags.username {
            return Err(ProtocolError::PasswordWithoutUsername);
        }
        Ok(flags)
    }

    /// Without a will there is nothing to retain, and its QoS is 0 [MQTT-3.1.2-11]
    /// [MQTT-3.1.2-13].
    fn will(bits: u8) -> Result<Option<WillFlags>, ProtocolError> {
        if bits & Self::WILL == 0 {
            let is_clear = bits & (Self::WILL_QOS | Self::WILL_RETAIN) == 0;
            return is_clear.then_some(None).ok_or(ProtocolError::ConnectFlags);
        }
        let qos = QoS::from_bits((bits & Self::WILL_QOS) >> 3);
        Ok(Some(WillFlags {
            qos: qos.ok_or(ProtocolError::QosReserved)?,
            retain: bits & Self::WILL_RETAIN != 0,
        }))
    }

    fn of(connect: &Connect) -> Self {
        Self {
            username: connect.username.is_some(),
            password: connect.password.is_some(),
            will: connect.will.as_ref().map(|will| WillFlags {
                qos: will.qos,
                retain: will.retain,
            }),
            clean_start: connect.clean_start,
        }
    }

    fn write(&self, body: &mut Writer<'_>) {
        let bit = |is_set: bool, mask: u8| if is_set { mask } else { 0 };
        let will = self.will.map_or(0, |will| {
            Self::WILL | will.qos.bits() << 3 | bit(will.retain, Self::WILL_RETAIN)
        });
        body.u8(bit(self.username, Self::USERNAME)
            | bit(self.password, Self::PASSWORD)
            | bit(self.clean_start, Self::CLEAN_START)
            | will);
    }
}

impl ConnectProperties {
    /// The longest packet that may be sent to the client, in bytes [MQTT-3.1.2-24].
    pub fn packet_size_max(&self) -> NonZeroU32 {
        self.maximum_packet_size.unwrap_or(PACKET_SIZE_MAX)
    }

    fn read(mut properties: Properties<'_>) -> Result<Self, ProtocolError> {
        let mut read = Self::default();
        let mut authentication = AuthenticationParts::default();
        while let Some(id) = properties.next()? {
            match id {
                PropertyId::SessionExpiryInterval => {
                    read.session_expiry_interval = properties.u32()?;
                }
                PropertyId::ReceiveMaximum => read.receive_maximum = properties.non_zero_u16()?,
                PropertyId::MaximumPacketSize => {
                    read.maximum_packet_size = Some(properties.non_zero_u32()?);
                }
                PropertyId::TopicAliasMaximum => read.topic_alias_maximum = properties.u16()?,
                PropertyId::RequestResponseInformation => {
                    read.request_response_information = properties.flag()?;
                }
                PropertyId::RequestProblemInformation => {
                    read.request_problem_information = properties.flag()?;
                }
                PropertyId::UserProperty => properties.user(&mut read.user_properties)?,
                PropertyId::AuthenticationMethod => {
                    authentication.method = Some(properties.text()?);
                }
                PropertyId::AuthenticationData => authentication.data = Some(properties.binary()?),
                _ => return Err(id.not_allowed()),
            }
        }
        read.authentication = authentication.join()?;
        Ok(read)
    }

    fn write(&self, block: &mut Writer<'_>) {
        if self.session_expiry_interval != 0 {
            block
                .property(PropertyId::SessionExpiryInterval)
                .u32(self.session_expiry_interval);
        }
        if self.receive_maximum != NonZeroU16::MAX {
            block
                .property(PropertyId::ReceiveMaximum)
                .u16(self.receive_maximum.get());
        }
        let size_max = self.maximum_packet_size.map(NonZeroU32::get);
        block.optional_u32(PropertyId::MaximumPacketSize, size_max);
        if self.topic_alias_maximum != 0 {
            block
                .property(PropertyId::TopicAliasMaximum)
                .u16(self.topic_alias_maximum);
        }
        if self.request_response_information {
            block
                .property(PropertyId::RequestResponseInformation)
                .flag(true);
        }
        if !self.request_problem_information {
            block
                .property(PropertyId::RequestProblemInformation)
                .flag(false);
        }
        block.user_properties(&self.user_properties);
        if let Some(authentication) = &self.authentication {
            authentication.write(block);
        }
    }
}
