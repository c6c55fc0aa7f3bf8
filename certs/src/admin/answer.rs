//! What a broker answers. Times are seconds since 1970; texts that peers chose are escaped.

use serde::{Deserialize, Serialize};

use super::line::InvalidLine;
use super::request::Target;
use crate::revocation::{ListId, ListNumber};
use crate::status::RevocationReason;
use crate::subject::Subject;

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Answer {
    /// To `Request::Status`.
    Status(Status),
    /// To `Request::Reload`.
    Reloaded(Reloaded),
    /// To `Request::Revoke`.
    Revoked(Receipt),
    /// To `Request::Sessions`.
    Sessions(SessionPage),
    /// To `Request::Explain`.
    Explained(Explanation),
    /// To `Request::WouldCut`.
    WouldCut(Cut),
    /// To `Request::Why`, the newest first.
    Why(Vec<RefusalRow>),
    /// To `Request::Unknown`.
    Unknown(UnknownPage),
}

/// Why nothing was answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdminError {
    /// For scripts.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Each thing that is wrong, where there may be several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// The sorts of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request was not understood.
    BadRequest,
    /// The request is of another version.
    UnsupportedVersion,
    /// What it is about does not exist.
    NotFound,
    /// A rule forbids it.
    Refused,
    /// It was tried and failed; the broker is as it was before.
    Failed,
    /// Too many ask at once, or the broker stops.
    Busy,
}

impl From<&InvalidLine> for AdminError {
    fn from(invalid: &InvalidLine) -> Self {
        let code = match invalid {
            InvalidLine::Version(_) => ErrorCode::UnsupportedVersion,
            InvalidLine::TooLong { .. } | InvalidLine::Malformed(_) => ErrorCode::BadRequest,
        };
        Self {
            code,
            message: invalid.to_string(),
            details: Vec::new(),
        }
    }
}

/// How a broker is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// When it was started.
    pub started: u64,
    /// Its clock.
    pub now: u64,
    /// Where it listens.
    pub listeners: Vec<ListenerStatus>,
    /// How many connections have passed the identity gate.
    pub connections: u64,
    /// How many sessions there are, connected or not.
    pub sessions: u64,
    /// The revocation lists it goes by.
    pub revocation_lists: Vec<ListStatus>,
    /// How many entries of its own it has, devices and certificates.
    pub own_revocations: u64,
    /// The registry export it goes by, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryStatus>,
    /// How many times policy was replaced since the start.
    pub policy_generation: u64,
    /// What an operator should look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerStatus {
    /// What it is called in the configuration.
    pub name: String,
    /// Its address and port.
    pub address: std::net::SocketAddr,
    /// How many times its TLS settings or anchors were replaced; tickets end with it.
    pub tls_generation: u64,
    /// The last second of its own certificate.
    pub not_after: u64,
}

/// A revocation list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListStatus {
    /// Which list of which authority.
    pub id: ListId,
    /// Its number; the highest that was seen when the list is missing.
    pub number: ListNumber,
    /// How many certificates are on it.
    pub entries: u64,
    /// When it was made.
    pub this_update: u64,
    /// By when there will be a newer one.
    pub next_update: u64,
    /// Whether it counts.
    pub state: ListState,
}

/// Whether a list counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListState {
    /// It speaks of the present.
    Fresh,
    /// It was made in the future: a clock is wrong.
    NotYet,
    /// Its successor should have come; sessions are served for a grace.
    Stale,
    /// The grace is over, and new sessions of its issuer are refused.
    Refusing,
}

/// A registry export.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryStatus {
    /// Its number.
    pub number: u64,
    /// How many devices are in it.
    pub devices: u64,
    /// When it was made.
    pub created: u64,
    /// By when there will be a newer one.
    pub next_update: u64,
}

/// What became of a reload.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reloaded {
    /// What was read again.
    pub parts: Vec<ReloadedPart>,
    /// How many sessions ended because the new state forbids them.
    pub sessions_closed: u64,
    /// How long it took until the last of them was closed.
    pub milliseconds: u64,
}

/// What became of one part: certificate, anchors, revocation, registry, policy, limits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadedPart {
    /// What it is called.
    pub part: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What is wrong with its files; each names its file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The new one counts.
    Changed,
    /// There was nothing new.
    Same,
    /// The new one is not good, and the old one counts.
    Kept,
}

/// That somebody was revoked, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Whom; missing when a list revoked several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Why.
    pub reason: RevocationReason,
    /// Since when.
    pub time: u64,
    /// The number of the revocation list, when it was one that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_number: Option<ListNumber>,
    /// Whether it was revoked before; nothing has changed then.
    pub already: bool,
    /// How many sessions were closed.
    pub sessions_closed: u64,
    /// How long it took from the request to the last of them.
    pub milliseconds: u64,
    /// That a restart will not forget it.
    pub durable: bool,
}

/// Some of the sessions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SessionPage {
    /// How many match, on all pages.
    pub total: u64,
    /// Those of this page.
    pub sessions: Vec<SessionRow>,
    /// Where the next page begins, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<String>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRow {
    /// Whose it is.
    pub device: Subject,
    /// Its client id, escaped and cut.
    pub client: String,
    /// From where it is connected, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::SocketAddr>,
    /// Since when it is connected or not.
    pub since: u64,
    /// The MQTT version: `3.1.1` or `5.0`.
    pub mqtt: String,
    /// The serial number of the certificate behind its connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<crate::serial::Serial>,
    /// The last second of that certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<u64>,
    /// How many subscriptions it has.
    pub subscriptions: u64,
    /// How many messages wait for it.
    pub queued: u64,
}

/// What policy says, and why.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// Whether it is permitted.
    pub decision: Decision,
    /// The rule that decides; none when nothing permits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleReference>,
    /// The rule that comes nearest to permitting it, when it is denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<RuleReference>,
    /// Why, in words.
    pub words: String,
}

/// Whether something is permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It is.
    Allow,
    /// It is not.
    Deny,
}

/// Where a rule stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuleReference {
    /// What it is called.
    pub name: String,
    /// Its file and line; missing for built-in rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// What a policy would cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// Sessions that would end, for their client ids are not permitted.
    pub sessions: u64,
    /// Connections that would be closed: of these, and of clients with nothing left to do.
    pub connections: u64,
    /// Subscriptions that would be removed from sessions that stay.
    pub subscriptions: u64,
    /// Whose sessions lose something; the first [`PAGE_LEN_MAX`](super::PAGE_LEN_MAX).
    pub losses: Vec<LossRow>,
    /// How many more sessions lose something.
    pub more: u64,
}

/// What one session would lose.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LossRow {
    /// Whose it is.
    pub device: Subject,
    /// Its client id, escaped.
    pub client: String,
    /// Whether the session would end.
    pub ends: bool,
    /// Whether its connection would be closed.
    pub closes: bool,
    /// How many subscriptions would be removed.
    pub subscriptions: u64,
    /// The first few of them, escaped and cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
}

/// A refusal of late.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalRow {
    /// When.
    pub time: u64,
    /// From where.
    pub address: std::net::IpAddr,
    /// Who, as far as the certificate says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The serial number of the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<crate::serial::Serial>,
    /// Its SHA-256 in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The sort of reason, for scripts: `revoked-device`, `expired`, `unknown-authority`, …
    pub reason: String,
    /// The reason in words.
    pub words: String,
}

/// Devices that the registry does not have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UnknownPage {
    /// How many are remembered.
    pub total: u64,
    /// The newest first.
    pub devices: Vec<UnknownRow>,
}

/// A device that the registry does not have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UnknownRow {
    /// Who it says it is, by a certificate that is good.
    pub device: Subject,
    /// The SHA-256 of that certificate in hexadecimal digits.
    pub sha256: String,
    /// From where it came last.
    pub address: std::net::IpAddr,
    /// When it came first.
    pub first: u64,
    /// When it came last.
    pub last: u64,
    /// How often it came.
    pub count: u64,
}
