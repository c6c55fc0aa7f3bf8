//! Why somebody was turned away or cut off: a code for programs, words for people.
//!
//! The words say what an operator can do something about; a peer's text in them is escaped and
//! bounded by whoever found it.

use crate::engine::{CloseReason, ConnectRefusal};
use certs::{Certificate, Refusal};
use serde::Serialize;

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The kind of it.
    pub code: Code,
    /// In words.
    #[serde(rename = "reason")]
    pub words: Box<str>,
}

/// The kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Too many connections, in all, of its address, or unfinished ones.
    TooManyConnections,
    /// The process is short of memory.
    Memory,
    /// It, or its address, came or published too fast.
    Rate,
    /// It made room for a newer one.
    MadeRoom,
    /// It sent no ClientHello.
    NoClientHello,
    /// What it sent was no TLS.
    NotTls,
    /// It speaks none of our versions of TLS.
    TlsVersion,
    /// It speaks TLS, and we found nothing in common, or it broke off.
    Tls,
    /// It does not trust us.
    DistrustsUs,
    /// Its handshake was not finished.
    HandshakeTime,
    /// It showed no certificate.
    NoCertificate,
    /// Its certificate is not well-formed, or is for another purpose.
    WrongCertificate,
    /// No anchor stands behind its certificate.
    UnknownAuthority,
    /// A signature is wrong.
    BadSignature,
    /// Its certificate does not say, or says in two ways, who it is.
    NoIdentity,
    /// Its certificate is of another trust domain.
    ForeignTrustDomain,
    /// Its certificate is not valid yet: a clock is wrong, or it came too early.
    NotYetValid,
    /// Its certificate is not valid any more.
    Expired,
    /// Its certificate, or the device, was revoked.
    Revoked,
    /// Whether it is revoked cannot be known: the list is too old.
    StaleList,
    /// Nobody registered it here.
    UnknownDevice,
    /// It sent no CONNECT.
    NoConnect,
    /// What it sent was no MQTT, or MQTT that breaks a rule.
    Protocol,
    /// It may not use its client id, or its authentication method.
    ClientId,
    /// A rule of the policy forbids what it asked for.
    Policy,
    /// It has as much as it may.
    Quota,
    /// The disk is full.
    DiskFull,
    /// Another connection has its session.
    TakenOver,
    /// It was silent for too long.
    KeepAlive,
    /// The broker stopped or failed.
    Broker,
}

impl Reason {
    pub(crate) fn new(code: Code, words: impl Into<Box<str>>) -> Self {
        Self {
            code,
            words: words.into(),
        }
    }

    /// Why a certificate was refused.
    pub(crate) fn of_certificate(refusal: &Refusal, certificate: Option<&Certificate>) -> Self {
        let code = Code::from(refusal);
        let words = match (code, certificate) {
            (Code::UnknownAuthority, Some(certificate)) => {
                format!("{refusal}: {}", certificate.issuer)
            }
            (Code::NotYetValid, _) => {
                format!("{refusal}: our clock may be slow, or its issuer's fast")
            }
            _ => refusal.to_string(),
        };
        Self::new(code, words)
    }
}

impl From<&Refusal> for Code {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::NoCertificate => Self::NoCertificate,
            Refusal::Malformed(_)
            | Refusal::NotAClientCertificate(_)
            | Refusal::NoDigitalSignature
            | Refusal::IsAuthority
            | Refusal::NoIssuerKeyId => Self::WrongCertificate,
            Refusal::UnknownAuthority | Refusal::IssuerIsNoAuthority => Self::UnknownAuthority,
            Refusal::BadSignature => Self::BadSignature,
            Refusal::NoDeviceId
            | Refusal::SeveralDeviceIds(_)
            | Refusal::InvalidDeviceId { .. }
            | Refusal::UnfitName { .. }
            | Refusal::ForeignId { .. }
            | Refusal::NameMismatch { .. } => Self::NoIdentity,
            Refusal::ForeignTrustDomain(_) => Self::ForeignTrustDomain,
            Refusal::NotYetValid { .. } => Self::NotYetValid,
            Refusal::Expired { .. } => Self::Expired,
            Refusal::RevokedCertificate(_)
            | Refusal::RevokedDevice(_)
            | Refusal::RevokedAuthority(_) => Self::Revoked,
            Refusal::StaleRevocationList { .. } | Refusal::NoRevocationList => Self::StaleList,
            Refusal::UnknownDevice | Refusal::UnknownFingerprint => Self::UnknownDevice,
        }
    }
}

impl From<&ConnectRefusal> for Code {
    fn from(refusal: &ConnectRefusal) -> Self {
        match refusal {
            ConnectRefusal::Distrusted(refusal) => refusal.into(),
            ConnectRefusal::AuthenticationMethod | ConnectRefusal::ClientId { .. } => {
                Self::ClientId
            }
            ConnectRefusal::WillDenied(_) => Self::Policy,
            ConnectRefusal::WillLevels
            | ConnectRefusal::TooManySessionsInAll
            | ConnectRefusal::TooManySessions
            | ConnectRefusal::TooManyConnections => Self::Quota,
            ConnectRefusal::DiskFull => Self::DiskFull,
            ConnectRefusal::TooSoon(_) | ConnectRefusal::TakenOverTooOften(_) => Self::Rate,
        }
    }
}

impl From<&CloseReason> for Code {
    fn from(reason: &CloseReason) -> Self {
        match reason {
            CloseReason::Refused(refusal) => refusal.into(),
            CloseReason::Distrusted(refusal) => refusal.into(),
            CloseReason::TakenOver => Self::TakenOver,
            CloseReason::PublishDenied(_) | CloseReason::PolicyChanged => Self::Policy,
            CloseReason::PublishRefused { .. } => Self::Quota,
            CloseReason::TooFast => Self::Rate,
            CloseReason::Disconnected | CloseReason::Broke(_) | CloseReason::NoRoomForConnack => {
                Self::Protocol
            }
            CloseReason::Shutdown => Self::Broker,
        }
    }
}
