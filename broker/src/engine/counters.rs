//! Counters: what has happened so far, for those who watch over the broker.
//!
//! Each limit and each refusal has one; they only rise.

/// How often something has happened since the engine began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that got a session.
    pub connects_accepted: u64,
    /// Connections that were refused one.
    pub connects_refused: u64,
    /// Of these, because a session or a will was to be recorded and the disk was full.
    pub connects_refused_full: u64,
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
    /// All messages that were taken over and that some receiver did not get.
    pub fn dropped(&self) -> u64 {
        self.dropped_queue_full
            + self.dropped_expired
            + self.dropped_too_large
            + self.dropped_withheld
            + self.dropped_session_end
    }
}
