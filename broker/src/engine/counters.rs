//! Counters: what has happened so far, for those who watch over the broker.
//!
//! Each limit and each refusal has one; they only rise.

use super::close_reason::ConnectRefusal;

/// How often something has happened since the engine began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that got a session.
    pub connects_accepted: u64,
    /// Connections that were refused one.
    pub connects_refused: u64,
    /// Of these, because a session or a will was to be recorded and the disk was full.
    pub connects_refused_full: u64,
    /// Of these, because there were as many sessions, of all devices or of the one, as may be.
    pub connects_refused_sessions: u64,
    /// Of these, because the device had as many connections as it may.
    pub connects_refused_connections: u64,
    /// Of these, because the session had been taken over too often: two clients fight for it.
    pub connects_refused_takeovers: u64,
    /// Sessions taken over by a newer connection of the same device.
    pub takeovers: u64,
    /// Connections closed because the device may not be here any more: revoked, expired, its
    /// authority gone.
    pub sessions_cut: u64,
    /// Sessions that ended because their time was over.
    pub sessions_expired: u64,
    /// PUBLISH packets that came in.
    pub messages_received: u64,
    /// PUBLISH packets that went out, repeated ones included.
    pub messages_sent: u64,
    /// PUBLISH packets the policy did not permit.
    pub publishes_denied: u64,
    /// PUBLISH packets refused for another reason: levels, retained quota.
    pub publishes_refused: u64,
    /// PUBLISH packets refused because they were to be recorded and the disk was full.
    pub publishes_refused_full: u64,
    /// PUBLISH packets refused because the other shards had too many to take yet.
    pub publishes_refused_behind: u64,
    /// PUBLISH packets dropped or refused because the process was short of memory.
    pub publishes_refused_memory: u64,
    /// Batches of packets after which a client was not heard for a while: it published too fast.
    pub publishes_slowed: u64,
    /// Connections closed because their device went on publishing too fast.
    pub closed_too_fast: u64,
    /// Forwarded messages that had to wait because the disk was full.
    pub forwards_postponed: u64,
    /// Subscriptions the policy did not permit.
    pub subscriptions_denied: u64,
    /// Subscriptions refused for another reason: levels, quota.
    pub subscriptions_refused: u64,
    /// Subscriptions refused because they were to be recorded and the disk was full.
    pub subscriptions_refused_full: u64,
    /// Subscriptions taken away by a new policy.
    pub subscriptions_revoked: u64,
    /// Messages dropped because a session's queue was full.
    pub dropped_queue_full: u64,
    /// Messages at QoS 0 dropped because they were to wait and the disk was full.
    pub dropped_disk_full: u64,
    /// Messages at QoS 0 not given to a connection whose outbox had no room for the one before.
    pub dropped_outbox_full: u64,
    /// Messages dropped because their time was over before they could be sent.
    pub dropped_expired: u64,
    /// Messages dropped because they were longer than the client takes.
    pub dropped_too_large: u64,
    /// Messages dropped because a new policy or a deny rule withholds them.
    pub dropped_withheld: u64,
    /// Messages dropped because the session they waited for ended.
    pub dropped_session_end: u64,
    /// Wills published.
    pub wills_published: u64,
    /// Wills the policy did not permit when they were due.
    pub wills_denied: u64,
    /// Acknowledgements of what was not in flight.
    pub unknown_acknowledgements: u64,
    /// Connections closed because the client broke the protocol towards its session.
    pub protocol_errors: u64,
}

impl Counters {
    /// A CONNECT was refused.
    pub(super) fn refuse_connect(&mut self, refusal: &ConnectRefusal) {
        self.connects_refused += 1;
        let why = match refusal {
            ConnectRefusal::DiskFull => &mut self.connects_refused_full,
            ConnectRefusal::TooManySessionsInAll | ConnectRefusal::TooManySessions => {
                &mut self.connects_refused_sessions
            }
            ConnectRefusal::TooManyConnections => &mut self.connects_refused_connections,
            ConnectRefusal::TakenOverTooOften(_) => &mut self.connects_refused_takeovers,
            ConnectRefusal::Distrusted(_)
            | ConnectRefusal::AuthenticationMethod
            | ConnectRefusal::ClientId { .. }
            | ConnectRefusal::WillDenied(_)
            | ConnectRefusal::WillLevels
            | ConnectRefusal::TooSoon(_) => return,
        };
        *why += 1;
    }

    /// All messages that were taken over and that some receiver did not get.
    pub fn dropped(&self) -> u64 {
        self.dropped_queue_full
            + self.dropped_disk_full
            + self.dropped_outbox_full
            + self.dropped_expired
            + self.dropped_too_large
            + self.dropped_withheld
            + self.dropped_session_end
    }
}
