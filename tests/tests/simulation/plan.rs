//! A plan: what a seed decides before anything happens.

use crate::machine::plant::Plant;
use broker::engine::Limits;
use broker::storage::log::Durability;
use countersign_tests::seeded::Seeded;

/// How long a session may outlive its connection, in seconds.
pub(crate) const EXPIRY_MAX: u32 = 7 * 24 * 3600;
/// So many clients there are.
pub(crate) const CLIENTS: usize = 6;
/// So many messages above QoS 0 a client has under way at the most.
pub(crate) const OUTGOING_MAX: usize = 6;

/// How a run goes.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) shards: usize,
    pub(crate) steps: usize,
    pub(crate) plant: Option<Plant>,
    /// Whether what is said is compared with what is durable, or only with what comes of it.
    pub(crate) is_witnessed: bool,
    pub(crate) limits: Limits,
    pub(crate) segment_bytes: u64,
    pub(crate) durability: Durability,
    pub(crate) disk_bytes_max: u64,
    /// How many bytes a disk takes.
    pub(crate) capacity: usize,
    /// A log that is to be written is once in so many times.
    pub(crate) slowness: usize,
    /// A disk breaks once in so many writes.
    pub(crate) fault_odds: usize,
    /// The process ends once in so many steps.
    pub(crate) crash_odds: usize,
}

impl Plan {
    pub(crate) fn new(seed: u64, shards: usize, steps: usize) -> Self {
        let mut random = Seeded::new(seed ^ 0x51_4D_55_4C_41_54_45);
        let segment_bytes = *random.choose(&[2048, 4096, 16 * 1024]);
        let limits = Limits {
            session_expiry_max: EXPIRY_MAX,
            takeovers_per_minute_max: 1_000_000,
            receive_maximum: 8.try_into().unwrap(),
            in_flight_len_max: (*random.choose(&[1, 3, 4096])).try_into().unwrap(),
            queue_len_max: *random.choose(&[5, 10_000, 10_000, 10_000]),
            queue_cache_bytes_max: *random.choose(&[0, 1500, 64 << 20]),
            queue_qos0: random.below(2) == 0,
            ..Limits::default()
        };
        let is_tight = random.below(8) == 0;
        Self {
            seed,
            shards,
            steps,
            plant: None,
            is_witnessed: true,
            limits,
            segment_bytes,
            durability: match random.below(10) {
                0 => Durability::Os,
                _ => Durability::Sync,
            },
            disk_bytes_max: if is_tight {
                segment_bytes * 12
            } else {
                1 << 40
            },
            capacity: match random.below(16) {
                0 => usize::try_from(segment_bytes).unwrap() * 10,
                _ => usize::MAX,
            },
            slowness: *random.choose(&[1, 1, 10]),
            fault_odds: *random.choose(&[10, 100, usize::MAX]),
            crash_odds: *random.choose(&[40, 100, 300]),
        }
    }

    /// The same, with a mistake.
    pub(crate) fn with(self, plant: Plant, is_witnessed: bool) -> Self {
        Self {
            plant: Some(plant),
            is_witnessed,
            ..self
        }
    }
}
