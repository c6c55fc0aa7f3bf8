//! What became of a fleet: whether all that must hold has held.
//!
//! The ledger notes what was said, acknowledged and heard while it happens; the [`Verdict`] is
//! made of it afterwards. Both get their time as an argument.

mod check;
mod junit;
mod law;
mod ledger;
mod marks;
mod rotation;
#[cfg(test)]
mod tests;

pub(crate) use ledger::{Attempt, Ledger, Way};
pub(crate) use rotation::Cause;

use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What must hold for a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invariant {
    /// What was acknowledged at QoS 1 or 2 is heard.
    AcknowledgedArrives,
    /// What was said at QoS 2 is heard at most once.
    ExactlyOnce,
    /// No device hears what is another's, and no message comes under another's topic.
    NoLeak,
    /// Who is revoked is gone in time.
    RevokedIsCut,
    /// Who must not come in does not: revoked, expired, curious.
    StrangersStayOut,
    /// Who lost his connection comes back after full jitter.
    ReconnectLaw,
    /// Who comes with a new certificate is let in.
    RenewalWorks,
    /// Nobody is sent away who may be there: none for his certificate, and none at all while
    /// authorities are followed by others.
    NobodyIsSentAway,
    /// Who comes back finds his session.
    SessionsAreKept,
    /// In the end everyone is there who may be.
    EveryoneIsBack,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::AcknowledgedArrives,
        Self::ExactlyOnce,
        Self::NoLeak,
        Self::RevokedIsCut,
        Self::StrangersStayOut,
        Self::ReconnectLaw,
        Self::RenewalWorks,
        Self::NobodyIsSentAway,
        Self::SessionsAreKept,
        Self::EveryoneIsBack,
    ];

    /// As in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AcknowledgedArrives => "acknowledged-arrives",
            Self::ExactlyOnce => "exactly-once",
            Self::NoLeak => "no-leak",
            Self::RevokedIsCut => "revoked-is-cut",
            Self::StrangersStayOut => "strangers-stay-out",
            Self::ReconnectLaw => "reconnect-law",
            Self::RenewalWorks => "renewal-works",
            Self::NobodyIsSentAway => "nobody-is-sent-away",
            Self::SessionsAreKept => "sessions-are-kept",
            Self::EveryoneIsBack => "everyone-is-back",
        }
    }
}

/// Whether an invariant has held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It has.
    Held,
    /// It has not.
    Broken,
    /// Nothing happened that it is about.
    NotTried,
    /// The scenario does not ask for it.
    LeftOut,
}

/// What was found about one invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub invariant: Invariant,
    /// Whether it has held.
    pub outcome: Outcome,
    /// What was counted, in a sentence.
    pub found: String,
    /// Some of what broke it.
    pub examples: Vec<String>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub connected: u64,
    pub connections: u64,
    pub said: u64,
    pub acknowledged: u64,
    pub heard: u64,
    pub refused: u64,
    pub resumed: u64,
}

/// What became of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What was to happen.
    pub scenario: String,
    /// How many devices there were.
    pub devices: u32,
    /// With this one, the same happens again.
    pub seed: u64,
    /// How long it took.
    pub milliseconds: u64,
    /// How long it took before that to make or read each key and certificate.
    pub identities_milliseconds: u64,
    /// What was counted.
    pub counts: Counts,
    /// Each invariant.
    pub checks: Vec<Check>,
    /// Events of the scenario that could not be made to happen here.
    pub not_done: Vec<&'static str>,
    /// Messages that our broker dropped because a queue was full, since it was last started.
    pub dropped: Option<u64>,
    /// Memory of the process with all devices there, in bytes; the broker is in it, if it is ours.
    pub resident: Option<u64>,
    /// What of that each device takes, where the broker is not in it, in bytes.
    pub resident_each: Option<u64>,
}

impl Verdict {
    /// Whether all that must hold has held.
    pub fn holds(&self) -> bool {
        let broken = |check: &Check| check.outcome == Outcome::Broken;
        !self.checks.iter().any(broken)
    }

    /// For machines that show tests: one test case for each invariant.
    pub fn junit(&self) -> String {
        junit::write(self)
    }

    /// How long it took.
    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }
}

impl Verdict {
    fn write_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_millis(self.identities_milliseconds).as_secs_f64();
        write!(f, "identities in {seconds:.1} s")?;
        if let Some(each) = self.resident_each {
            let (whole, tenths) = (each / 1000, each % 1000 / 100);
            write!(f, "; {whole}.{tenths} kB of memory a device")?;
        }
        if let Some(dropped) = self.dropped.filter(|dropped| *dropped > 0) {
            write!(f, "; the broker dropped {dropped} at full queues")?;
        }
        f.write_str("\n\n")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, devices, seed) = (&self.scenario, self.devices, self.seed);
        let seconds = self.elapsed().as_secs_f64();
        writeln!(f, "{name}: {devices} devices, seed {seed}, {seconds:.1} s")?;
        let counts = &self.counts;
        writeln!(
            f,
            "{} connections ({} resumed, {} refused); {} said, {} acknowledged, {} heard",
            counts.connections,
            counts.resumed,
            counts.refused,
            counts.said,
            counts.acknowledged,
            counts.heard
        )?;
        self.write_costs(f)?;
        for check in &self.checks {
            let word = match check.outcome {
                Outcome::Held => "held",
                Outcome::Broken => "BROKEN",
                Outcome::NotTried => "not tried",
                Outcome::LeftOut => "left out",
            };
            let name = check.invariant.name();
            writeln!(f, "  {name:<22}{word:<11}{}", check.found)?;
            for example in &check.examples {
                writeln!(f, "  {:<33}{example}", "")?;
            }
        }
        if !self.not_done.is_empty() {
            writeln!(f, "\nnot done here: {}", self.not_done.join(", "))?;
        }
        Ok(())
    }
}
