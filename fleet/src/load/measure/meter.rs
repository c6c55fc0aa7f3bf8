//! Two looks at everything that is counted, and the figures between them.

use super::{Figure, Figures, SystemCallCount, Usage};
use crate::load::LoadError;
use crate::load::client::Volume;
use crate::load::plan::{SystemCalls, Target};
use std::sync::Arc;
use std::time::Instant;

/// Where to look.
#[derive(Debug)]
pub(crate) struct Meter {
    pid: Option<u32>,
    volume: Arc<Volume>,
    system_calls: SystemCalls,
    began: Option<(Reading, Option<SystemCallCount>)>,
}

/// One look.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    units: u64,
    broker: Option<Usage>,
    own: Usage,
    volume: (u64, u64),
}

impl Meter {
    pub(crate) fn new(target: &Target, volume: &Arc<Volume>) -> Self {
        let volume = Arc::clone(volume);
        Self {
            pid: target.pid,
            volume,
            system_calls: target.system_calls,
            began: None,
        }
    }

    /// The span begins, when so many units are done.
    pub(crate) fn begin(&mut self, units: u64) -> Result<(), LoadError> {
        let reading = self.read(units)?;
        let calls = match (self.system_calls, self.pid) {
            (SystemCalls::Count, Some(pid)) => Some(SystemCallCount::begin(pid)?),
            _ => None,
        };
        self.began = Some((reading, calls));
        Ok(())
    }

    /// The span ends; the figures of what was done in it.
    pub(crate) async fn end(&mut self, units: u64) -> Result<Figures, LoadError> {
        let after = self.read(units)?;
        let Some((before, calls)) = self.began.take() else {
            return Ok(Figures::default());
        };
        let mut figures = after.since(&before);
        if let Some(calls) = calls {
            let calls = float(calls.end().await?);
            figures.set(Figure::SystemCalls, calls / float(units - before.units));
        }
        Ok(figures)
    }

    fn read(&self, units: u64) -> Result<Reading, LoadError> {
        Ok(Reading {
            at: Instant::now(),
            units,
            broker: self.pid.map(Usage::of).transpose()?,
            own: Usage::own()?,
            volume: self.volume.read(),
        })
    }
}

impl Reading {
    /// What was done since `before`, and what each unit of it cost.
    fn since(&self, before: &Self) -> Figures {
        let mut figures = Figures::default();
        let seconds = (self.at - before.at).as_secs_f64();
        let units = float(self.units - before.units);
        figures.set(Figure::Units, units);
        figures.set(Figure::Seconds, seconds);
        figures.set(Figure::PerSecond, units / seconds);
        let own = self.own.cpu.saturating_sub(before.own.cpu).as_secs_f64();
        figures.set(Figure::GeneratorCpuUs, own * 1e6 / units);
        if let (Some(before), Some(after)) = (&before.broker, &self.broker) {
            let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            figures.set(Figure::BrokerCpuUs, cpu * 1e6 / units);
            figures.set(Figure::BrokerCores, cpu / seconds);
            figures.set(
                Figure::Sleeps,
                float(after.sleeps.saturating_sub(before.sleeps)) / units,
            );
            figures.set(Figure::Resident, float(after.resident));
        }
        let (received, sent) = self.volume;
        figures.set(
            Figure::BytesFromBroker,
            float(received - before.volume.0) / units,
        );
        figures.set(Figure::BytesToBroker, float(sent - before.volume.1) / units);
        figures
    }
}

/// A count as a number to calculate with; counts of a run stay far below 2^53.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
