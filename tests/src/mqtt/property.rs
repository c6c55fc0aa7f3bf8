//! Properties, MQTT 5.0 §2.2.2.2: one value for each identifier.
//!
//! Whether a property may stand where it stands is for the test to say.

use super::reader::Reader;
use super::request;

/// A property, named as in table 2-4.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the table")]
pub enum Property {
    PayloadFormat(u8),
    MessageExpiry(u32),
    ContentType(String),
    ResponseTopic(String),
    CorrelationData(Vec<u8>),
    SubscriptionId(u32),
    SessionExpiry(u32),
    AssignedClientId(String),
    ServerKeepAlive(u16),
    AuthMethod(String),
    AuthData(Vec<u8>),
    RequestProblem(u8),
    WillDelay(u32),
    RequestResponse(u8),
    ResponseInformation(String),
    ServerReference(String),
    Reason(String),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumQos(u8),
    RetainAvailable(u8),
    User(String, String),
    MaximumPacketSize(u32),
    WildcardAvailable(u8),
    SubscriptionIdAvailable(u8),
    SharedAvailable(u8),
}

impl Property {
    /// A user property.
    pub fn user(name: &str, value: &str) -> Self {
        Self::User(name.into(), value.into())
    }

    /// On the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.identifier()];
        bytes.extend(match self {
            Self::PayloadFormat(value)
            | Self::RequestProblem(value)
            | Self::RequestResponse(value)
            | Self::MaximumQos(value)
            | Self::RetainAvailable(value)
            | Self::WildcardAvailable(value)
            | Self::SubscriptionIdAvailable(value)
            | Self::SharedAvailable(value) => vec![*value],
            Self::ServerKeepAlive(value)
            | Self::ReceiveMaximum(value)
            | Self::TopicAliasMaximum(value)
            | Self::TopicAlias(value) => value.to_be_bytes().to_vec(),
            Self::MessageExpiry(value)
            | Self::SessionExpiry(value)
            | Self::WillDelay(value)
            | Self::MaximumPacketSize(value) => value.to_be_bytes().to_vec(),
            Self::SubscriptionId(value) => request::varint(*value as usize),
            Self::CorrelationData(value) | Self::AuthData(value) => request::data(value),
            Self::User(name, value) => [request::data(name), request::data(value)].concat(),
            Self::ContentType(value)
            | Self::ResponseTopic(value)
            | Self::AssignedClientId(value)
            | Self::AuthMethod(value)
            | Self::ResponseInformation(value)
            | Self::ServerReference(value)
            | Self::Reason(value) => request::data(value),
        });
        bytes
    }

    /// The byte it begins with.
    pub fn identifier(&self) -> u8 {
        match self {
            Self::PayloadFormat(_) => 0x01,
            Self::MessageExpiry(_) => 0x02,
            Self::ContentType(_) => 0x03,
            Self::ResponseTopic(_) => 0x08,
            Self::CorrelationData(_) => 0x09,
            Self::SubscriptionId(_) => 0x0b,
            Self::SessionExpiry(_) => 0x11,
            Self::AssignedClientId(_) => 0x12,
            Self::ServerKeepAlive(_) => 0x13,
            Self::AuthMethod(_) => 0x15,
            Self::AuthData(_) => 0x16,
            Self::RequestProblem(_) => 0x17,
            Self::WillDelay(_) => 0x18,
            Self::RequestResponse(_) => 0x19,
            Self::ResponseInformation(_) => 0x1a,
            Self::ServerReference(_) => 0x1c,
            Self::Reason(_) => 0x1f,
            Self::ReceiveMaximum(_) => 0x21,
            Self::TopicAliasMaximum(_) => 0x22,
            Self::TopicAlias(_) => 0x23,
            Self::MaximumQos(_) => 0x24,
            Self::RetainAvailable(_) => 0x25,
            Self::User(_, _) => 0x26,
            Self::MaximumPacketSize(_) => 0x27,
            Self::WildcardAvailable(_) => 0x28,
            Self::SubscriptionIdAvailable(_) => 0x29,
            Self::SharedAvailable(_) => 0x2a,
        }
    }

    /// The next property of a block.
    pub fn read(from: &mut Reader<'_>) -> Self {
        match from.varint() {
            0x01 => Self::PayloadFormat(from.byte()),
            0x02 => Self::MessageExpiry(from.four()),
            0x03 => Self::ContentType(from.text()),
            0x08 => Self::ResponseTopic(from.text()),
            0x09 => Self::CorrelationData(from.data()),
            0x0b => Self::SubscriptionId(from.varint()),
            0x11 => Self::SessionExpiry(from.four()),
            0x12 => Self::AssignedClientId(from.text()),
            0x13 => Self::ServerKeepAlive(from.two()),
            0x15 => Self::AuthMethod(from.text()),
            0x16 => Self::AuthData(from.data()),
            0x17 => Self::RequestProblem(from.byte()),
            0x18 => Self::WillDelay(from.four()),
            0x19 => Self::RequestResponse(from.byte()),
            0x1a => Self::ResponseInformation(from.text()),
            0x1c => Self::ServerReference(from.text()),
            0x1f => Self::Reason(from.text()),
            0x21 => Self::ReceiveMaximum(from.two()),
            0x22 => Self::TopicAliasMaximum(from.two()),
            0x23 => Self::TopicAlias(from.two()),
            0x24 => Self::MaximumQos(from.byte()),
            0x25 => Self::RetainAvailable(from.byte()),
            0x26 => Self::User(from.text(), from.text()),
            0x27 => Self::MaximumPacketSize(from.four()),
            0x28 => Self::WildcardAvailable(from.byte()),
            0x29 => Self::SubscriptionIdAvailable(from.byte()),
            0x2a => Self::SharedAvailable(from.byte()),
            unknown => panic!("the broker sent property {unknown:#x}"),
        }
    }
}
