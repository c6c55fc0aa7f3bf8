//! What is to happen to a fleet: groups of devices and how they behave, events, and what must hold.
//!
//! A scenario exists only where nothing was wrong with its file. The [`Schedule`] that is made of
//! it is a pure function of the scenario, the number of devices and a seed.

mod chance;
mod event;
mod read;
mod ready;
mod schedule;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use chance::Chance;
pub use event::{Event, What, When};
pub use ready::{Ready, ready};
pub use schedule::{Action, BrokerStep, Change, Outage, Schedule, Script, Step};
pub use table::Mistake;

use protocol::packet::QoS;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// What is to happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// How long things go on happening.
    pub length: Duration,
    /// The devices come in over this time.
    pub ramp: Duration,
    /// How long, after that, what is under way may take to arrive.
    pub settle: Duration,
    /// How devices come back.
    pub reconnect: Backoff,
    /// The devices; shares are of all of them.
    pub groups: Vec<Group>,
    /// What befalls them.
    pub events: Vec<Event>,
    /// What must hold.
    pub invariants: Invariants,
}

/// Devices that behave alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What they are called together.
    pub name: String,
    /// How many of a hundred devices; those of all groups make 100.
    pub share: u32,
    /// Of all they say and hear.
    pub qos: QoS,
    /// Bytes of each message.
    pub payload: usize,
    /// They say something so often.
    pub telemetry: Option<Pace>,
    /// They are told something so often, and answer.
    pub commands: Option<Pace>,
    /// They are away between times.
    pub sleep: Option<Cycle>,
    /// They come from another address so often, and leave the connection they had as it is.
    pub roam: Option<Pace>,
}

/// Again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long from one to the next.
    pub every: Duration,
    /// How far one may be from its time, in percent of `every`.
    pub jitter: u32,
}

/// Awake and asleep in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Connected for so long,
    pub awake: Duration,
    /// and then away.
    pub asleep: Duration,
}

/// Full jitter: before attempt `n` a time drawn evenly from zero to `min(cap, base × 2ⁿ)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait before the first attempt.
    pub base: Duration,
    /// The longest wait before any attempt.
    pub cap: Duration,
}

impl Backoff {
    /// The longest wait before this attempt, counted from 0.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        self.base.saturating_mul(1 << attempt.min(31)).min(self.cap)
    }
}

/// What must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invariants {
    /// So soon a revoked device must be gone.
    pub revocation_max: Duration,
    /// By name, what this scenario does not ask for.
    pub left_out: BTreeSet<String>,
}

impl Default for Invariants {
    fn default() -> Self {
        Self {
            revocation_max: Duration::from_secs(1),
            left_out: BTreeSet::new(),
        }
    }
}

impl Scenario {
    /// Reads the text of `file`.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of its lines.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Vec<Mistake>> {
        read::scenario(&file.display().to_string(), text)
    }

    /// The same, over sooner or later: its moments move with its length.
    #[must_use]
    pub fn lasting(mut self, length: Duration) -> Self {
        let factor = length.as_secs_f64() / self.length.as_secs_f64().max(f64::EPSILON);
        let scale = |time: &mut Duration| *time = time.mul_f64(factor);
        scale(&mut self.length);
        scale(&mut self.ramp);
        for event in &mut self.events {
            event.scale(&scale);
        }
        self
    }
}
