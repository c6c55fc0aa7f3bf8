//! Limits: every maximum the engine keeps, with its default.
//!
//! What happens at each is said where it is enforced; each has a counter.

use std::num::{NonZeroU16, NonZeroU32};

/// The maxima of one broker. `config` fills it from the file's `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest packet a client may send, in bytes: longer ones close it (0x95).
    pub packet_size_max: NonZeroU32,
    /// How many unacknowledged QoS 1 and 2 messages a client may have under way (0x93).
    pub receive_maximum: NonZeroU16,
    /// How many topic aliases a client may use, and at most how many we use towards it.
    pub topic_alias_max: u16,
    /// The longest keep-alive of a 5.0 client, in seconds; a longer one and 0 are replaced.
    pub keep_alive_max: NonZeroU16,
    /// How long a session may outlive its connection, in seconds; longer wishes are capped.
    pub session_expiry_max: u32,
    /// How many levels a topic name or filter may have (0x90, 0x8F).
    pub topic_levels_max: usize,
    /// How many subscriptions a session may hold (0x97).
    pub subscriptions_max: usize,
    /// How many sessions there may be (0x97).
    pub sessions_max: usize,
    /// How many sessions a device may have (0x97).
    pub sessions_per_device_max: usize,
    /// How many connections a device may have at a time (0x97).
    pub connections_per_device_max: usize,
    /// How often in a minute newer connections may take one session over (0x9F).
    pub takeovers_per_minute_max: u32,
    /// How many messages a device may publish in a second; it is heard later (0x96). 0: any number.
    pub publish_rate_max: u32,
    /// How many bytes of topics and payload a device may publish in a second. 0: any number.
    pub publish_bytes_rate_max: u64,
    /// How many messages may be in flight to one client, whatever it says it can take.
    pub in_flight_len_max: NonZeroU16,
    /// How many payload bytes may be in flight to one client. One message may exceed it.
    pub in_flight_bytes_max: usize,
    /// How many messages may wait for one session; then the newcomer is dropped.
    pub queue_len_max: usize,
    /// How many payload bytes may wait for one session; then the newcomer is dropped.
    pub queue_bytes_max: usize,
    /// Whether QoS 0 waits too, in its turn, and for a client that is away; otherwise it is sent
    /// before all that waits, or dropped.
    pub queue_qos0: bool,
    /// How many bytes the messages that wait may take in memory, of all sessions together; then
    /// they wait in the log. No limit where there is no log to load them from.
    pub queue_cache_bytes_max: usize,
    /// How many messages may be on their way to other shards; then new ones are refused (0x97).
    pub forwards_len_max: usize,
    /// How many payload bytes may be on their way to other shards (0x97).
    pub forwards_bytes_max: usize,
    /// How many topics may hold a retained message; then new ones are refused (0x97).
    pub retained_len_max: usize,
    /// How many topics one device may hold retained messages on (0x97).
    pub retained_per_device_max: usize,
    /// How many payload bytes may be retained in all (0x97).
    pub retained_bytes_max: usize,
    /// How many bytes may wait for one connection's socket; beyond it, QoS 0 is dropped until all
    /// of them are sent.
    pub outbox_bytes_max: usize,
}

impl Limits {
    const KEEP_ALIVE_MAX: NonZeroU16 = NonZeroU16::new(1200).unwrap();
    const RECEIVE_MAXIMUM: NonZeroU16 = NonZeroU16::new(1024).unwrap();
    /// As many as fifty busy publishers have under way: what is in flight need not be queued.
    const IN_FLIGHT_LEN_MAX: NonZeroU16 = NonZeroU16::new(4096).unwrap();
    const PACKET_SIZE_MAX: NonZeroU32 = NonZeroU32::new(1 << 20).unwrap();
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_size_max: Self::PACKET_SIZE_MAX,
            receive_maximum: Self::RECEIVE_MAXIMUM,
            topic_alias_max: 32,
            keep_alive_max: Self::KEEP_ALIVE_MAX,
            session_expiry_max: 7 * 24 * 3600,
            topic_levels_max: 128,
            subscriptions_max: 1000,
            sessions_max: 1_000_000,
            sessions_per_device_max: 1000,
            connections_per_device_max: 1000,
            takeovers_per_minute_max: 30,
            publish_rate_max: 0,
            publish_bytes_rate_max: 0,
            in_flight_len_max: Self::IN_FLIGHT_LEN_MAX,
            in_flight_bytes_max: 4 << 20,
            queue_len_max: 10_000,
            queue_bytes_max: 16 << 20,
            queue_qos0: false,
            queue_cache_bytes_max: 64 << 20,
            forwards_len_max: 64 * 1024,
            forwards_bytes_max: 64 << 20,
            retained_len_max: 1_000_000,
            retained_per_device_max: 10_000,
            retained_bytes_max: 256 << 20,
            outbox_bytes_max: 4 << 20,
        }
    }
}
