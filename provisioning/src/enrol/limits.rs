//! What the server bears, and what it has counted.
//!
//! Every limit has a behaviour where it is reached, and a counter that says how often it was.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the server bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; a newcomer is closed.
    pub connections_max: usize,
    /// Connections of one address at once; a newcomer is closed.
    pub connections_of_address_max: usize,
    /// Connections and requests of one address in a second, ten times as many at once; a connection
    /// too many is closed, a request too many is answered 429.
    pub rate_of_address: u32,
    /// How long a handshake may take; then it is closed.
    pub handshake_time_max: Duration,
    /// How long a request may take, reading it included; then it is answered 503.
    pub request_time_max: Duration,
    /// How long a connection may last; then it is closed.
    pub connection_time_max: Duration,
    /// Octets of a request's body; a longer one is answered 413.
    pub body_len_max: usize,
    /// Requests that wait for the authority; one too many is answered 503.
    pub waiting_max: usize,
    /// Refusals that are noted in the audit chain in an hour; more are only counted, for strangers
    /// are refused, and the chain is never shortened.
    pub notes_of_hour: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            connections_of_address_max: 64,
            rate_of_address: 20,
            handshake_time_max: Duration::from_secs(5),
            request_time_max: Duration::from_secs(20),
            connection_time_max: Duration::from_mins(2),
            body_len_max: 16 * 1024,
            waiting_max: 1_024,
            notes_of_hour: 100,
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Connections that were accepted.
    Connections,
    /// Connections closed because there were too many.
    OverConnections,
    /// Connections closed because there were too many of their address.
    OverConnectionsOfAddress,
    /// Connections closed and requests refused because their address made too many.
    OverRate,
    /// Handshakes that took too long.
    HandshakeLate,
    /// Handshakes that failed, among others for a certificate that is not accepted.
    HandshakeFailed,
    /// Connections closed because they lasted too long.
    ConnectionLate,
    /// Requests.
    Requests,
    /// Requests that took too long.
    RequestLate,
    /// Requests whose body is too long.
    BodyTooLong,
    /// Requests refused because too many waited.
    OverWaiting,
    /// Certificates issued for the first time.
    Issued,
    /// Certificates issued in the place of another one, over mutual TLS.
    Renewed,
    /// Certificates handed out again.
    Again,
    /// Answers that a person has yet to decide.
    Pending,
    /// Requests refused.
    Refused,
    /// Requests that failed here.
    Failed,
    /// Refusals that were not noted in the audit chain.
    NotNoted,
}

impl Counted {
    const ALL: [Self; 18] = [
        Self::Connections,
        Self::OverConnections,
        Self::OverConnectionsOfAddress,
        Self::OverRate,
        Self::HandshakeLate,
        Self::HandshakeFailed,
        Self::ConnectionLate,
        Self::Requests,
        Self::RequestLate,
        Self::BodyTooLong,
        Self::OverWaiting,
        Self::Issued,
        Self::Renewed,
        Self::Again,
        Self::Pending,
        Self::Refused,
        Self::Failed,
        Self::NotNoted,
    ];

    /// What is counted, in one word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::OverConnections => "over_connections",
            Self::OverConnectionsOfAddress => "over_connections_of_address",
            Self::OverRate => "over_rate",
            Self::HandshakeLate => "handshake_late",
            Self::HandshakeFailed => "handshake_failed",
            Self::ConnectionLate => "connection_late",
            Self::Requests => "requests",
            Self::RequestLate => "request_late",
            Self::BodyTooLong => "body_too_long",
            Self::OverWaiting => "over_waiting",
            Self::Issued => "issued",
            Self::Renewed => "renewed",
            Self::Again => "again",
            Self::Pending => "pending",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::NotNoted => "not_noted",
        }
    }
}

/// How often what happened since the server was started.
#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; Counted::ALL.len()]);

impl Counters {
    pub(super) fn count(&self, what: Counted) {
        if let Some(counter) = self.0.get(what as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often it happened.
    pub(super) fn read(&self, what: Counted) -> u64 {
        let counter = self.0.get(what as usize);
        counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// What happened at all, in words; `nothing` when nothing did.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        if Counted::ALL.iter().all(|what| self.read(*what) == 0) {
            return f.write_str("nothing");
        }
        for what in Counted::ALL {
            let count = self.read(what);
            if count > 0 {
                write!(f, "{space}{}={count}", what.as_str())?;
                space = " ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_for_itself() {
        let counters = Counters::default();
        assert_eq!(counters.to_string(), "nothing");
        for (place, what) in Counted::ALL.into_iter().enumerate() {
            assert_eq!(what as usize, place);
            for _ in 0..=place {
                counters.count(what);
            }
        }
        let counts: Vec<_> = Counted::ALL
            .iter()
            .map(|what| counters.read(*what))
            .collect();
        assert_eq!(counts, (1..=18).collect::<Vec<u64>>());
        assert!(
            counters
                .to_string()
                .starts_with("connections=1 over_connections=2 ")
        );
    }
}
