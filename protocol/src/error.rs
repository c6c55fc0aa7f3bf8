//! How a peer can break MQTT.
//!
//! Each variant maps to the one reason code the peer is told.

use crate::topic::InvalidTopic;
use crate::{InvalidText, ReasonCode};

/// The peer broke MQTT: the connection ends, with [`Self::reason_code`] where there is a way to
/// say it [MQTT-4.13.1-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProtocolError {
    // What cannot be parsed.
    /// A field goes on behind the end of its packet or property block.
    #[error("a field reaches behind the end of the packet")]
    Truncated,
    /// There is more in the packet than its fields.
    #[error("bytes are left behind the last field")]
    TrailingBytes,
    /// A variable byte integer does not end with its fourth byte [MQTT 5.0 §1.5.5].
    #[error("a variable byte integer is longer than four bytes")]
    VarintTooLong,
    /// A variable byte integer could be shorter [MQTT-1.5.5-1].
    #[error("a variable byte integer is not in its shortest form")]
    VarintNotMinimal,
    /// Packet type 0, or AUTH in 3.1.1.
    #[error("the packet type is reserved")]
    PacketTypeReserved,
    /// The flags of the fixed header are not those of the packet [MQTT-2.1.3-1].
    #[error("reserved flags of the fixed header are in use")]
    FlagsReserved,
    /// QoS 3 in a PUBLISH or a will [MQTT-3.3.1-4] [MQTT-3.1.2-12].
    #[error("QoS 3 does not exist")]
    QosReserved,
    /// DUP on a PUBLISH of QoS 0 [MQTT-3.3.1-2].
    #[error("DUP is set at QoS 0")]
    DupAtQos0,
    /// The connect flags contradict each other or the reserved one is set [MQTT-3.1.2-3]
    /// [MQTT-3.1.2-11] [MQTT-3.1.2-13].
    #[error("the connect flags contradict each other")]
    ConnectFlags,
    /// A password without a user name, which 3.1.1 forbids [MQTT-3.1.2-22 of 3.1.1].
    #[error("there is a password and no user name")]
    PasswordWithoutUsername,
    /// Reserved bits of the connect acknowledge flags are set [MQTT-3.2.2-1].
    #[error("reserved acknowledge flags are in use")]
    AcknowledgeFlags,
    /// Reserved bits of the subscription options are set [MQTT-3.8.3-5].
    #[error("reserved subscription options are in use")]
    SubscriptionOptionsReserved,
    /// A string that MQTT does not allow.
    #[error("a string is invalid: {0}")]
    Text(InvalidText),
    /// A topic name or filter that MQTT does not allow.
    #[error("a topic is invalid: {0}")]
    Topic(InvalidTopic),
    /// A property nobody knows [MQTT 5.0 §2.2.2.2].
    #[error("property {0:#04x} does not exist")]
    PropertyUnknown(u8),
    /// A property that this packet cannot have [MQTT 5.0 §2.2.2.2].
    #[error("property {0:#04x} is not allowed in this packet")]
    PropertyNotAllowed(u8),

    // What can be parsed and is not allowed.
    /// A property that may be there once is there twice.
    #[error("property {0:#04x} is there more than once")]
    PropertyRepeated(u8),
    /// The value of a property is outside its range.
    #[error("property {0:#04x} has a value outside its range")]
    PropertyValue(u8),
    /// Authentication data without a method [MQTT 5.0 §3.1.2.11.10].
    #[error("there is authentication data and no authentication method")]
    AuthenticationMethodMissing,
    /// A packet identifier of 0 [MQTT-2.2.1-3].
    #[error("the packet identifier is 0")]
    PacketIdZero,
    /// A reason code that this packet cannot carry, or that nobody knows.
    #[error("reason code {0:#04x} is not one of this packet")]
    ReasonCodeNotAllowed(u8),
    /// SUBSCRIBE, UNSUBSCRIBE or their acknowledgement with an empty payload [MQTT-3.8.3-2]
    /// [MQTT-3.10.3-2].
    #[error("the packet names no topic filter")]
    NoTopicFilter,
    /// QoS 3 or retain handling 3 in a subscription [MQTT 5.0 §3.8.3.1].
    #[error("the subscription options have a value outside their range")]
    SubscriptionOptions,
    /// No-local on a shared subscription [MQTT-3.8.3-4].
    #[error("no-local is set on a shared subscription")]
    NoLocalOnShared,
    /// A PUBLISH with neither a topic name nor a topic alias [MQTT 5.0 §3.3.2.1].
    #[error("the PUBLISH has neither topic name nor topic alias")]
    TopicMissing,
    /// A subscription identifier in a client's PUBLISH [MQTT-3.3.4-6].
    #[error("a client's PUBLISH has a subscription identifier")]
    SubscriptionIdFromClient,
    /// *Session present* beside an error [MQTT-3.2.2-6].
    #[error("a session is said to be present in a CONNACK that refuses")]
    SessionPresentWithError,
    /// A packet that only the other side may send.
    #[error("the packet belongs to the other direction")]
    WrongDirection,
    /// Something came before CONNECT (or CONNACK) [MQTT-3.1.0-1] [MQTT-3.2.0-1].
    #[error("the first packet is not the one that opens a connection")]
    ConnectNotFirst,
    /// A second CONNECT (or CONNACK) [MQTT-3.1.0-2] [MQTT-3.2.0-2].
    #[error("the packet that opens a connection came twice")]
    ConnectTwice,
    /// Something came behind DISCONNECT [MQTT-3.14.4-1].
    #[error("a packet came after DISCONNECT")]
    AfterDisconnect,
    /// A DISCONNECT that gives life to a session of expiry 0 [MQTT 5.0 §3.14.2.2.2].
    #[error("DISCONNECT extends a session that was to end with its connection")]
    SessionExpiryFromZero,
    /// AUTH on a connection whose CONNECT named no method [MQTT-4.12.0-6].
    #[error("AUTH without an authentication method in CONNECT")]
    AuthNotNegotiated,

    // What has a reason code of its own.
    /// Not MQTT 3.1.1 or 5.0 [MQTT-3.1.2-1] [MQTT-3.1.2-2].
    #[error("the protocol version is not supported")]
    UnsupportedProtocolVersion,
    /// No client id in a 3.1.1 CONNECT that wants to keep its session [MQTT-3.1.3-8 of 3.1.1].
    #[error("a session that is to be kept needs a client id")]
    ClientIdMissing,
    /// The packet is longer than its receiver allowed [MQTT-3.1.2-24] [MQTT-3.2.2-15].
    #[error("the packet is longer than allowed")]
    PacketTooLarge,
    /// More QoS 1 and 2 messages at once than allowed [MQTT-3.3.4-7] [MQTT-3.3.4-9].
    #[error("more messages are in flight than the receive maximum allows")]
    ReceiveMaximumExceeded,
    /// A topic alias of 0, above the maximum, or bound to nothing [MQTT-3.3.2-8] to
    /// [MQTT-3.3.2-10].
    #[error("the topic alias is invalid")]
    TopicAliasInvalid,
}

impl ProtocolError {
    /// What the peer is told, in CONNACK or DISCONNECT.
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::Truncated
            | Self::TrailingBytes
            | Self::VarintTooLong
            | Self::VarintNotMinimal
            | Self::PacketTypeReserved
            | Self::FlagsReserved
            | Self::QosReserved
            | Self::DupAtQos0
            | Self::ConnectFlags
            | Self::PasswordWithoutUsername
            | Self::AcknowledgeFlags
            | Self::SubscriptionOptionsReserved
            | Self::Text(_)
            | Self::Topic(_)
            | Self::PropertyUnknown(_)
            | Self::PropertyNotAllowed(_) => ReasonCode::MalformedPacket,
            Self::PropertyRepeated(_)
            | Self::PropertyValue(_)
            | Self::AuthenticationMethodMissing
            | Self::PacketIdZero
            | Self::ReasonCodeNotAllowed(_)
            | Self::NoTopicFilter
            | Self::SubscriptionOptions
            | Self::NoLocalOnShared
            | Self::TopicMissing
            | Self::SubscriptionIdFromClient
            | Self::SessionPresentWithError
            | Self::WrongDirection
            | Self::ConnectNotFirst
            | Self::ConnectTwice
            | Self::AfterDisconnect
            | Self::SessionExpiryFromZero
            | Self::AuthNotNegotiated => ReasonCode::ProtocolError,
            Self::UnsupportedProtocolVersion => ReasonCode::UnsupportedProtocolVersion,
            Self::ClientIdMissing => ReasonCode::ClientIdentifierNotValid,
            Self::PacketTooLarge => ReasonCode::PacketTooLarge,
            Self::ReceiveMaximumExceeded => ReasonCode::ReceiveMaximumExceeded,
            Self::TopicAliasInvalid => ReasonCode::TopicAliasInvalid,
        }
    }
}

impl From<InvalidText> for ProtocolError {
    fn from(error: InvalidText) -> Self {
        Self::Text(error)
    }
}

impl From<InvalidTopic> for ProtocolError {
    fn from(error: InvalidTopic) -> Self {
        match error {
            InvalidTopic::Text(error) => Self::Text(error),
            error => Self::Topic(error),
        }
    }
}
