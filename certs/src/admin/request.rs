//! What a broker can be asked for.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::serial::Serial;
use crate::status::RevocationReason;
use crate::subject::Subject;
use crate::text::as_json_text;
use crate::text::hex::{Hex, from_hex};

/// The most rows of one page.
pub const PAGE_LEN_MAX: u32 = 500;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Request {
    /// How the broker is. Answered by `Answer::Status`.
    Status,
    /// Read certificate, anchors, revocation lists, registry, policy and limits again, each whole
    /// or not at all. Answered by `Answer::Reloaded`.
    Reload,
    /// Revoke a device or a certificate here, until somebody takes the entry out by hand. Answered
    /// by `Answer::Revoked`, once it is durable and every session is closed.
    Revoke(Revoke),
    /// Who is there. Answered by `Answer::Sessions`.
    Sessions(SessionFilter),
    /// May a device do something, and which rule says so. Answered by `Answer::Explained`.
    Explain(Explain),
    /// What a policy would cut if it came into force now; nothing is changed. Answered by
    /// `Answer::WouldCut`.
    WouldCut(NewPolicy),
    /// Why somebody was refused of late. Answered by `Answer::Why`.
    Why(Why),
    /// Which devices were refused because the registry does not have them. Answered by
    /// `Answer::Unknown`.
    Unknown(UnknownFilter),
}

/// Whom to revoke.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// A device or a certificate.
    pub target: Target,
    /// Why.
    pub reason: RevocationReason,
    /// Since when, in seconds since 1970; the broker's present when it is missing. Of a device,
    /// certificates whose validity begins later are not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

/// A device or a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Target {
    /// A device (`dev-1`) or an application (`app/reader`), with all its certificates.
    Device(Subject),
    /// One certificate.
    Certificate {
        /// The identifier of its issuer's key, as in its authority key identifier.
        issuer: KeyId,
        /// Its serial number.
        serial: Serial,
    },
}

/// The identifier of a key, in JSON as hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub Box<[u8]>);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

as_json_text!(
    KeyId,
    |text: &str| from_hex(text).map(|octets| KeyId(octets.into())),
    "the identifier of a key in hexadecimal digits"
);

/// Which sessions; those that match all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionFilter {
    /// Those of this device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Subject>,
    /// Those with this client id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Those with a connection, or those without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected: Option<bool>,
    /// Behind this one: `SessionPage::more` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many rows at most; [`PAGE_LEN_MAX`] when it is missing or larger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What a device wants to do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// Who.
    pub device: Subject,
    /// What.
    pub action: Action,
    /// The topic name or topic filter; the client id for `connect`.
    pub topic: String,
    /// At which quality of service (0 to 2); 0 when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<u8>,
    /// With the retain flag.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retain: bool,
}

/// A policy that is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewPolicy {
    /// What its file is called, for what is said of it.
    pub name: String,
    /// All that stands in it.
    pub text: String,
}

/// What policy decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// To connect under a client id.
    Connect,
    /// To publish to a topic name.
    Publish,
    /// To subscribe to a topic filter.
    Subscribe,
}

/// About whose refusals.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Why {
    /// Of a device, as its certificates name it, good or bad.
    Device(String),
    /// Of whoever came from an address.
    Address(IpAddr),
    /// Of the certificate with a serial number.
    Serial(Serial),
    /// Of the certificate with a SHA-256, in hexadecimal digits.
    Sha256(KeyId),
    /// Of anybody.
    Anybody,
}

/// Which unknown devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnknownFilter {
    /// How many rows at most; [`PAGE_LEN_MAX`] when it is missing or larger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
