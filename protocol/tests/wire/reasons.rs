//! Reason codes that each packet may carry: all where there are few, else some of each kind.

use countersign_protocol::ReasonCode as Code;

pub(crate) const RECEIVED: &[Code] = &[
    Code::Success,
    Code::NoMatchingSubscribers,
    Code::UnspecifiedError,
    Code::ImplementationSpecificError,
    Code::NotAuthorized,
    Code::TopicNameInvalid,
    Code::PacketIdentifierInUse,
    Code::QuotaExceeded,
    Code::PayloadFormatInvalid,
];
pub(crate) const RELEASED: &[Code] = &[Code::Success, Code::PacketIdentifierNotFound];
pub(crate) const CONNACK_311: &[Code] = &[
    Code::Success,
    Code::UnsupportedProtocolVersion,
    Code::ClientIdentifierNotValid,
    Code::ServerUnavailable,
    Code::BadUserNameOrPassword,
    Code::NotAuthorized,
];
pub(crate) const CONNACK: &[Code] = &[
    Code::Success,
    Code::MalformedPacket,
    Code::Banned,
    Code::BadAuthenticationMethod,
    Code::ConnectionRateExceeded,
];
pub(crate) const SUBACK_311: &[Code] = &[
    Code::Success,
    Code::GrantedQos1,
    Code::GrantedQos2,
    Code::UnspecifiedError,
];
pub(crate) const SUBACK: &[Code] = &[
    Code::Success,
    Code::GrantedQos1,
    Code::GrantedQos2,
    Code::NotAuthorized,
    Code::TopicFilterInvalid,
    Code::WildcardSubscriptionsNotSupported,
];
pub(crate) const UNSUBACK: &[Code] = &[
    Code::Success,
    Code::NoSubscriptionExisted,
    Code::NotAuthorized,
    Code::PacketIdentifierInUse,
];
pub(crate) const DISCONNECT_FROM_CLIENT: &[Code] = &[
    Code::Success,
    Code::DisconnectWithWill,
    Code::UnspecifiedError,
    Code::PayloadFormatInvalid,
];
pub(crate) const DISCONNECT_FROM_SERVER: &[Code] = &[
    Code::UnspecifiedError,
    Code::ServerShuttingDown,
    Code::SessionTakenOver,
    Code::WildcardSubscriptionsNotSupported,
];
pub(crate) const FROM_CLIENT: &[Code] = &[Code::ContinueAuthentication, Code::Reauthenticate];
pub(crate) const FROM_SERVER: &[Code] = &[Code::Success, Code::ContinueAuthentication];
