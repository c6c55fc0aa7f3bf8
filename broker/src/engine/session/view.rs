//! View: what others may see of a session.

use super::{Session, SessionKey};
use crate::engine::input::ConnectionId;
use crate::engine::time::Time;
use certs::VerifiedDevice;
use protocol::packet::Version;
use std::net::SocketAddr;

/// A session as it is between two turns.
#[derive(Clone, Copy, Debug)]
pub struct SessionView<'a> {
    /// Whose it is.
    pub key: &'a SessionKey,
    /// Its connection and who is at the other end, while there is one.
    pub connected: Option<(ConnectionId, &'a VerifiedDevice)>,
    /// What its client speaks, while it is there.
    pub version: Option<Version>,
    /// Since when its client is there or away.
    pub since: Time,
    /// From where its client came, while it is there.
    pub peer: Option<SocketAddr>,
    /// Seconds it outlives its connection.
    pub expiry: u32,
    /// How many subscriptions it has.
    pub subscriptions_len: usize,
    /// How many messages wait.
    pub queue_len: usize,
    /// How many messages were sent and not yet acknowledged to the end.
    pub in_flight_len: usize,
    /// How many messages came in at QoS 2 and were not yet released.
    pub unreleased_len: usize,
}

impl Session {
    pub(in crate::engine) fn view(&self) -> SessionView<'_> {
        SessionView {
            key: &self.key,
            connected: self.connected().map(|it| (it.id, &it.device)),
            version: self.connected().map(|it| it.version),
            since: self.since(),
            peer: self.connected().and_then(|it| it.peer),
            expiry: self.expiry,
            subscriptions_len: self.subscriptions.len(),
            queue_len: self.queue.len(),
            in_flight_len: self.outbound.len(),
            unreleased_len: self.inbound.len(),
        }
    }
}
