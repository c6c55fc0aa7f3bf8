//! Close reason: why the engine lets go of a connection.
//!
//! Each says itself in words, for the log, and knows what the client is told.

use super::policy::ClientIdRefused;
use certs::Refusal;
use protocol::packet::Disconnect;
use protocol::topic::TopicName;
use protocol::{ProtocolError, ReasonCode, Text};
use std::time::Duration;

/// Why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The client has said that it goes.
    #[error("the client disconnected")]
    Disconnected,
    /// Its CONNECT was refused, and a CONNACK has told it so.
    #[error("the session was refused: {0}")]
    Refused(#[from] ConnectRefusal),
    /// A newer connection of the same device has the session.
    #[error("a newer connection took the session over")]
    TakenOver,
    /// A 3.1.1 client published what it may not: there is no other way to tell it.
    #[error("the client may not publish to {0}")]
    PublishDenied(TopicName),
    /// A 3.1.1 client published what is beyond a limit.
    #[error("publishing to {topic} is refused with {reason:?}")]
    PublishRefused {
        /// Where it published.
        topic: TopicName,
        /// What a 5.0 client would have been told.
        reason: ReasonCode,
    },
    /// The device published more than it may and could not be slowed down.
    #[error("the device publishes faster than it may")]
    TooFast,
    /// The client broke the protocol towards its session.
    #[error("the client broke the protocol: {0}")]
    Broke(ProtocolError),
    /// The client takes no packet as long as our CONNACK.
    #[error("the client's maximum packet size leaves no room for a CONNACK")]
    NoRoomForConnack,
    /// The device may not be here any more: revoked, expired, its authority gone.
    #[error("no longer trusted: {0}")]
    Distrusted(Refusal),
    /// A new policy does not permit the client id.
    #[error("the policy no longer permits this client id")]
    PolicyChanged,
    /// The broker stops.
    #[error("the broker stops")]
    Shutdown,
}

/// Why a device gets no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectRefusal {
    /// Since the handshake, what the device showed there has ceased to count.
    #[error("{0}")]
    Distrusted(Refusal),
    /// The certificate is the only proof we take.
    #[error("authentication methods are not supported: the certificate is the identity")]
    AuthenticationMethod,
    /// The client id is none that this device may use.
    #[error("client id {client_id:?}: {cause}")]
    ClientId {
        /// What it asked for.
        client_id: Text,
        /// What it may.
        cause: ClientIdRefused,
    },
    /// The will's topic is none it may publish to.
    #[error("the client may not publish its will to {0}")]
    WillDenied(TopicName),
    /// The will's topic has too many levels.
    #[error("the will's topic has too many levels")]
    WillLevels,
    /// A session or a will would have to be recorded, and the disk is full.
    #[error("the disk is full: no session and no will is taken that would have to be stored")]
    DiskFull,
    /// A 3.1.1 client that was closed for what it published comes again and again.
    #[error("closed for what it published, a 3.1.1 client is to stay away for {0:?} yet")]
    TooSoon(Duration),
    /// Newer connections took the session over again and again.
    #[error(
        "the session was taken over too often, is to stay as it is for {0:?} yet: two clients \
         have one client id, or two machines one certificate"
    )]
    TakenOverTooOften(Duration),
    /// There are as many sessions as may be.
    #[error("there are too many sessions")]
    TooManySessionsInAll,
    /// The device has as many connections as it may.
    #[error("the device has too many connections")]
    TooManyConnections,
    /// The device has as many sessions as it may.
    #[error("the device has too many sessions")]
    TooManySessions,
}

impl CloseReason {
    /// What the client is told, if there is anything to say.
    pub fn disconnect(&self) -> Option<Box<Disconnect>> {
        let reason = match self {
            // It knows, or there is no way to tell it.
            Self::Disconnected | Self::Refused(_) | Self::NoRoomForConnack => return None,
            Self::TakenOver => ReasonCode::SessionTakenOver,
            Self::Distrusted(refusal) => distrusted(refusal),
            Self::PublishDenied(_) | Self::PolicyChanged => ReasonCode::NotAuthorized,
            Self::PublishRefused { reason, .. } => *reason,
            Self::Broke(error) => error.reason_code(),
            Self::TooFast => ReasonCode::MessageRateTooHigh,
            Self::Shutdown => ReasonCode::ServerShuttingDown,
        };
        Some(Box::new(Disconnect::new(reason)))
    }
}

/// Revoked is an administrative action; all else is that the proof does not count any more.
fn distrusted(refusal: &Refusal) -> ReasonCode {
    match refusal {
        Refusal::RevokedCertificate(_)
        | Refusal::RevokedDevice(_)
        | Refusal::RevokedAuthority(_) => ReasonCode::AdministrativeAction,
        _ => ReasonCode::NotAuthorized,
    }
}

impl ConnectRefusal {
    /// What the client is told in CONNACK.
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::AuthenticationMethod => ReasonCode::BadAuthenticationMethod,
            Self::ClientId { .. } => ReasonCode::ClientIdentifierNotValid,
            Self::WillDenied(_) | Self::Distrusted(_) => ReasonCode::NotAuthorized,
            Self::WillLevels => ReasonCode::TopicNameInvalid,
            Self::TooSoon(_) => ReasonCode::ServerUnavailable,
            Self::TakenOverTooOften(_) => ReasonCode::ConnectionRateExceeded,
            Self::DiskFull
            | Self::TooManySessionsInAll
            | Self::TooManySessions
            | Self::TooManyConnections => ReasonCode::QuotaExceeded,
        }
    }
}
