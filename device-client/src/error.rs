//! What can go wrong between a device and its broker, each named for what there is to do about it.
//!
//! A refusal keeps the reason of whoever refused. Whether waiting can mend an error is said in one
//! place, [`ConnectError::is_lasting`], and nowhere guessed.

use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError};
use thiserror::Error;

use crate::identity::IdentityError;
use crate::outbox::disk::OutboxError;
use crate::reason_code::ReasonCode;
use crate::reconnect::{Hope, Referral, Term};
use crate::topic::InvalidTopic;

/// Why there is no connection.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Our certificate is past its validity.
    #[error("the certificate of the device has expired")]
    CertificateExpired,
    /// Our certificate, or all of the device's, is revoked.
    #[error("the certificate of the device is revoked")]
    CertificateRevoked,
    /// The broker does not know the authority that issued our certificate.
    #[error("the broker does not know the authority that issued the certificate of the device")]
    UnknownAuthority,
    /// The broker does not accept our certificate for another reason; its log says which.
    #[error("the broker refuses the certificate of the device ({alert})")]
    CertificateRefused {
        /// How the broker put it.
        alert: &'static str,
    },
    /// What answered could not prove that it is the broker we asked for.
    #[error("the broker is not trusted: {}", why_not_trusted(.why))]
    BrokerNotTrusted {
        /// What is wrong with its certificate.
        why: CertificateError,
    },
    /// What answered does not speak TLS 1.3 as we do.
    #[error("the TLS handshake failed")]
    Tls {
        /// What went wrong.
        #[source]
        source: rustls::Error,
    },
    /// The policy of the broker does not admit the device.
    #[error("the broker does not admit the device")]
    NotAuthorized,
    /// The policy of the broker does not let the device use this client id.
    #[error("the broker does not let the device use this client id")]
    ClientIdRefused,
    /// The broker refuses the connection for another reason.
    #[error("the broker refuses the connection: {reason}")]
    Refused {
        /// What it said.
        reason: ReasonCode,
    },
    /// The broker sends the device to another one (MQTT 5.0 §4.11).
    #[error("the broker sends the device elsewhere: {reason}{}", to(.reference.as_ref()))]
    SentAway {
        /// What it said: to use another server for now, or that the server has moved.
        reason: ReasonCode,
        /// Where it said that the other is, in its own words.
        reference: Option<String>,
    },
    /// The broker ended the connection.
    #[error("the broker ended the connection: {reason}")]
    Ended {
        /// What it said.
        reason: ReasonCode,
        /// Its own words, if it had any.
        text: Option<String>,
    },
    /// Another connection took our session: some other program has the same identity and client id.
    #[error("another connection with the same client id took over the session")]
    SessionTakenOver,
    /// The broker closed the connection without a word.
    #[error("the broker closed the connection")]
    Closed,
    /// The broker did not answer in time.
    #[error("the broker did not answer in time")]
    TimedOut,
    /// There is no way to the broker.
    #[error("the broker cannot be reached")]
    Unreachable {
        /// What went wrong.
        #[source]
        source: Arc<io::Error>,
    },
    /// The outbox on disk cannot be opened or written: nothing more can be accepted.
    #[error("the outbox cannot be used")]
    Outbox(#[from] OutboxError),
    /// The identity of the device cannot be renewed where it is.
    #[error("the identity of the device cannot be renewed")]
    NotRenewable(#[source] Arc<IdentityError>),
    /// MQTT 3.1.1 has no words for it.
    #[error("MQTT 3.1.1 cannot say this: {what}")]
    NeedsMqtt5 {
        /// What was asked for.
        what: &'static str,
    },
    /// What the broker sent is not MQTT as it should be.
    #[error("the broker broke the protocol: {what}")]
    Protocol {
        /// What was wrong.
        what: String,
    },
}

impl ConnectError {
    /// Whether the error remains until somebody changes something, here or there.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::CertificateExpired
            | Self::CertificateRevoked
            | Self::UnknownAuthority
            | Self::CertificateRefused { .. }
            | Self::BrokerNotTrusted { .. }
            | Self::NotAuthorized
            | Self::ClientIdRefused
            | Self::Outbox(_)
            | Self::NotRenewable(_)
            | Self::NeedsMqtt5 { .. }
            | Self::SessionTakenOver => true,
            Self::Refused { reason } => !reason.is_passing(),
            Self::SentAway { reason, .. } => *reason == ReasonCode::SERVER_MOVED,
            // Ended: the next attempt will tell whether it was meant for good.
            Self::Tls { .. }
            | Self::Ended { .. }
            | Self::Closed
            | Self::TimedOut
            | Self::Unreachable { .. }
            | Self::Protocol { .. } => false,
        }
    }

    /// Whether it is our certificate that is refused, and another one may not be.
    pub(crate) fn is_about_certificate(&self) -> bool {
        matches!(
            self,
            Self::CertificateExpired
                | Self::CertificateRevoked
                | Self::UnknownAuthority
                | Self::CertificateRefused { .. }
        )
    }

    /// What there is to hope for.
    pub(crate) fn hope(&self) -> Hope<'_> {
        match self {
            Self::SentAway { reason, reference } => {
                let term = match *reason {
                    ReasonCode::SERVER_MOVED => Term::ForGood,
                    _ => Term::ForNow,
                };
                let to = reference.as_deref();
                Hope::Elsewhere(to.map(|to| Referral { to, term }))
            }
            error if error.is_lasting() => Hope::Lasting,
            _ => Hope::Passing,
        }
    }

    /// From the reason code of a CONNACK.
    pub(crate) fn refused(reason: ReasonCode) -> Self {
        match reason {
            ReasonCode::NOT_AUTHORIZED => Self::NotAuthorized,
            ReasonCode::CLIENT_ID_NOT_VALID => Self::ClientIdRefused,
            reason if reason.is_elsewhere() => Self::sent_away(reason),
            reason => Self::Refused { reason },
        }
    }

    fn sent_away(reason: ReasonCode) -> Self {
        let reference = None;
        Self::SentAway { reason, reference }
    }

    /// The same where it says that the device is to go elsewhere, and where to.
    pub(crate) fn toward(self, find: impl FnOnce() -> Option<String>) -> Self {
        match self {
            Self::SentAway { reason, .. } => {
                let reference = find();
                Self::SentAway { reason, reference }
            }
            other => other,
        }
    }

    /// From a DISCONNECT of the broker.
    pub(crate) fn ended(reason: ReasonCode, text: Option<String>) -> Self {
        match reason {
            ReasonCode::SESSION_TAKEN_OVER => Self::SessionTakenOver,
            reason if reason.is_elsewhere() => Self::sent_away(reason),
            reason => Self::Ended { reason, text },
        }
    }

    /// From an error of the socket, of TLS, or one of ours on its way through a stream.
    pub(crate) fn io(error: io::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(ours) => return ours,
            Err(error) => error,
        };
        let error = match error.downcast::<rustls::Error>() {
            Ok(tls) => return Self::tls(tls),
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            // The broker went, with TLS open or in the middle of a packet.
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Unreachable {
                source: Arc::new(error),
            },
        }
    }

    fn tls(error: rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(alert) => Self::alert(alert),
            rustls::Error::InvalidCertificate(why) => Self::BrokerNotTrusted { why },
            source => Self::Tls { source },
        }
    }

    /// The alerts by which a broker refuses a certificate (RFC 8446 §6.2).
    pub(crate) fn alert(alert: AlertDescription) -> Self {
        let refused = |alert| Self::CertificateRefused { alert };
        match alert {
            AlertDescription::CertificateExpired => Self::CertificateExpired,
            AlertDescription::CertificateRevoked => Self::CertificateRevoked,
            AlertDescription::UnknownCA => Self::UnknownAuthority,
            AlertDescription::BadCertificate => refused("bad certificate"),
            AlertDescription::UnsupportedCertificate => refused("unsupported certificate"),
            AlertDescription::CertificateUnknown => refused("certificate unknown"),
            AlertDescription::CertificateRequired => refused("certificate required"),
            AlertDescription::AccessDenied => refused("access denied"),
            AlertDescription::DecryptError => refused("bad signature"),
            other => Self::Tls {
                source: rustls::Error::AlertReceived(other),
            },
        }
    }
}

fn to(reference: Option<&String>) -> String {
    reference.map_or_else(String::new, |to| format!(", to {to}"))
}

fn why_not_trusted(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "no authority in ca.pem stands behind its certificate".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet (or the clock here is wrong)".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another host name".into()
        }
        other => other.to_string(),
    }
}

/// Why a message is not published.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic, or the response topic, is no topic name.
    #[error("the topic is not valid")]
    InvalidTopic(#[source] InvalidTopic),
    /// A property is longer than 65,535 bytes or contains U+0000.
    #[error("a property is too long or contains a NUL character")]
    InvalidProperty,
    /// MQTT 3.1.1 has no words for it.
    #[error("MQTT 3.1.1 cannot say this: {what}")]
    NeedsMqtt5 {
        /// What was asked for.
        what: &'static str,
    },
    /// The message is larger than the broker takes.
    #[error("the message is too large for the broker: {len} bytes, {len_max} at most")]
    TooLarge {
        /// Its length as a packet.
        len: usize,
        /// The longest packet the broker takes.
        len_max: usize,
    },
    /// The message is larger than the outbox.
    #[error(
        "the message is too large for the outbox: {len} bytes with all it says, {len_max} at most"
    )]
    TooLargeForOutbox {
        /// Its length in the outbox.
        len: usize,
        /// The largest message that the outbox takes.
        len_max: usize,
    },
    /// The outbox is full. The message was not accepted.
    #[error("the outbox is full")]
    OutboxFull,
    /// The message was accepted and dropped, because the outbox was full.
    #[error("the message was dropped: the outbox was full")]
    Dropped,
    /// The message was accepted and dropped, because its time was over before it could be sent.
    #[error("the message expired before it could be sent")]
    Expired,
    /// The message could not be written to the outbox. It was not accepted.
    #[error("the message could not be kept")]
    Outbox(#[from] OutboxError),
    /// The policy of the broker does not let the device publish to this topic.
    #[error("the policy of the broker does not let the device publish to this topic")]
    NotAuthorized,
    /// The broker refuses the message for another reason.
    #[error("the broker refuses the message: {reason}")]
    Refused {
        /// What it said.
        reason: ReasonCode,
    },
    /// The connection was lost while a message of quality of service 0 was being sent. It may or
    /// may not have arrived, and is not sent again.
    #[error("the connection was lost while the message was being sent")]
    ConnectionLost,
    /// The device was disconnected before the message was acknowledged. With an outbox on disk, the
    /// next run sends it.
    #[error("the device has disconnected")]
    Disconnected,
    /// The device has stopped.
    #[error("the device has stopped")]
    Stopped(#[source] ConnectError),
}

impl PublishError {
    pub(crate) fn refused(reason: ReasonCode) -> Self {
        match reason {
            ReasonCode::NOT_AUTHORIZED => Self::NotAuthorized,
            reason => Self::Refused { reason },
        }
    }
}

/// Why there is no subscription, or not any more.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The filter is no topic filter.
    #[error("the topic filter is not valid")]
    InvalidFilter(#[source] InvalidTopic),
    /// MQTT 3.1.1 has no words for it.
    #[error("MQTT 3.1.1 cannot say this: {what}")]
    NeedsMqtt5 {
        /// What was asked for.
        what: &'static str,
    },
    /// The policy of the broker does not let the device subscribe to this filter.
    #[error("the policy of the broker does not let the device subscribe to this filter")]
    NotAuthorized,
    /// The broker refuses the subscription for another reason.
    #[error("the broker refuses the subscription: {reason}")]
    Refused {
        /// What it said.
        reason: ReasonCode,
    },
    /// The device was disconnected.
    #[error("the device has disconnected")]
    Disconnected,
    /// The device has stopped.
    #[error("the device has stopped")]
    Stopped(#[source] ConnectError),
}

impl SubscribeError {
    pub(crate) fn refused(reason: ReasonCode) -> Self {
        match reason {
            ReasonCode::NOT_AUTHORIZED => Self::NotAuthorized,
            reason => Self::Refused { reason },
        }
    }
}

/// Why a device did not leave in good order.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum DisconnectError {
    /// The time was over before all messages were acknowledged.
    #[error("{messages} messages were not acknowledged in time")]
    Unacknowledged {
        /// How many.
        messages: usize,
    },
    /// The device had stopped before.
    #[error("the device had stopped")]
    Stopped(#[source] ConnectError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io_of(tls: rustls::Error) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, tls)
    }

    #[test]
    fn an_alert_names_what_is_wrong_with_our_certificate() {
        for (alert, expected) in [
            (AlertDescription::CertificateExpired, "CertificateExpired"),
            (AlertDescription::CertificateRevoked, "CertificateRevoked"),
            (AlertDescription::UnknownCA, "UnknownAuthority"),
            (
                AlertDescription::BadCertificate,
                "CertificateRefused { alert: \"bad certificate\" }",
            ),
        ] {
            let error = ConnectError::io(io_of(rustls::Error::AlertReceived(alert)));
            assert_eq!(format!("{error:?}"), expected);
            assert!(error.is_lasting(), "{error}");
        }
    }

    #[test]
    fn a_broker_of_another_authority_is_not_trusted() {
        let error = io_of(CertificateError::UnknownIssuer.into());
        let error = ConnectError::io(error);
        assert!(
            matches!(error, ConnectError::BrokerNotTrusted { .. }),
            "{error:?}"
        );
        assert!(error.is_lasting());
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }

    #[test]
    fn our_own_errors_pass_through_a_stream_unchanged() {
        let error = ConnectError::io(io::Error::other(ConnectError::CertificateExpired));
        assert!(
            matches!(error, ConnectError::CertificateExpired),
            "{error:?}"
        );
    }

    #[test]
    fn what_the_network_does_is_passing() {
        for kind in [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::UnexpectedEof,
        ] {
            assert!(!ConnectError::io(kind.into()).is_lasting(), "{kind:?}");
        }
    }

    #[test]
    fn a_connack_says_whether_to_come_back() {
        for (code, lasting) in [
            (0x87, true),
            (0x85, true),
            (0x8A, true),
            (0x88, false),
            (0x9F, false),
        ] {
            let error = ConnectError::refused(ReasonCode::new(code));
            assert_eq!(error.is_lasting(), lasting, "{error}");
        }
    }

    #[test]
    fn a_session_taken_over_is_not_fought_for() {
        assert!(ConnectError::ended(ReasonCode::SESSION_TAKEN_OVER, None).is_lasting());
        assert!(!ConnectError::ended(ReasonCode::ADMINISTRATIVE_ACTION, None).is_lasting());
    }
}
