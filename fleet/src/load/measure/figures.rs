//! The figures of a run, by name.
//!
//! A figure that could not be had is absent, never 0.

use super::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a number says. A *unit* is a delivery, or a connection where connections are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Units a second.
    PerSecond,
    /// Processor time of the broker for each unit, in microseconds: as many seconds a million.
    BrokerCpuUs,
    /// Processors that the broker kept busy.
    BrokerCores,
    /// The same of the generator, in microseconds a unit.
    GeneratorCpuUs,
    /// Half of the units took no longer, in microseconds.
    P50Us,
    /// 99 of 100.
    P99Us,
    /// 999 of 1,000.
    P999Us,
    /// Bytes on the wire from the broker for each unit, encryption included.
    BytesFromBroker,
    /// Bytes on the wire to the broker for each unit.
    BytesToBroker,
    /// System calls of the broker for each unit.
    SystemCalls,
    /// How often a thread of the broker went to sleep, for each unit.
    Sleeps,
    /// Memory of the broker at the end, in bytes.
    Resident,
    /// What a connection added to it, in bytes.
    ResidentPerConnection,
    /// What a message that waits added to it, in bytes.
    ResidentPerMessage,
    /// Messages a second that a client took that had been away.
    DrainedPerSecond,
    /// Processor time of the broker for each of them, in microseconds.
    DrainCpuUs,
    /// How many they were.
    Drained,
    /// Retained messages a second that came to who asked for them.
    RetainedPerSecond,
    /// Connections that were kept.
    Connections,
    /// Processor time of the broker in milliseconds a second, with nothing to do but answer pings.
    IdleCpuMs,
    /// How many units were measured.
    Units,
    /// For how long, in seconds.
    Seconds,
}

impl Figure {
    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::PerSecond => "per second",
            Self::BrokerCpuUs => "broker CPU, s per million",
            Self::BrokerCores => "broker, cores busy",
            Self::GeneratorCpuUs => "generator CPU, s per million",
            Self::P50Us => "p50, µs",
            Self::P99Us => "p99, µs",
            Self::P999Us => "p99.9, µs",
            Self::BytesFromBroker => "bytes from the broker, each",
            Self::BytesToBroker => "bytes to the broker, each",
            Self::SystemCalls => "system calls of the broker, each",
            Self::Sleeps => "sleeps of broker threads, each",
            Self::Resident => "broker memory, bytes",
            Self::ResidentPerConnection => "broker memory a connection, bytes",
            Self::ResidentPerMessage => "broker memory a message, bytes",
            Self::DrainedPerSecond => "drained, per second",
            Self::DrainCpuUs => "drain CPU, s per million",
            Self::Drained => "drained",
            Self::RetainedPerSecond => "retained messages, per second",
            Self::Connections => "connections",
            Self::IdleCpuMs => "broker CPU at rest, ms per s",
            Self::Units => "measured",
            Self::Seconds => "measured for, s",
        }
    }
}

/// The figures of one run, or the medians of several.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Figures(BTreeMap<Figure, f64>);

impl Figures {
    /// A figure, if it could be had.
    pub fn value(&self, figure: Figure) -> Option<f64> {
        self.0.get(&figure).copied()
    }

    /// All of them, the important ones first.
    pub fn iter(&self) -> impl Iterator<Item = (Figure, f64)> {
        self.0.iter().map(|(figure, value)| (*figure, *value))
    }

    pub(crate) fn set(&mut self, figure: Figure, value: f64) {
        if value.is_finite() {
            self.0.insert(figure, value);
        }
    }

    pub(crate) fn set_latency(&mut self, latency: &Histogram) {
        for (figure, per_mille) in [
            (Figure::P50Us, 500),
            (Figure::P99Us, 990),
            (Figure::P999Us, 999),
        ] {
            if let Some(duration) = latency.quantile(per_mille) {
                self.set(figure, duration.as_secs_f64() * 1e6);
            }
        }
    }

    /// The median of each figure over the runs that have it.
    pub(crate) fn medians(runs: &[Self]) -> Self {
        let mut values: BTreeMap<Figure, Vec<f64>> = BTreeMap::new();
        for (figure, value) in runs.iter().flat_map(Self::iter) {
            values.entry(figure).or_default().push(value);
        }
        let medians = values.into_iter().filter_map(|(figure, mut values)| {
            values.sort_by(f64::total_cmp);
            let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
            Some((figure, f64::midpoint(*values.get(low)?, *values.get(high)?)))
        });
        Self(medians.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        for (values, median) in [(&[3.0, 1.0, 2.0][..], 2.0), (&[4.0, 1.0, 2.0, 9.0], 3.0)] {
            let runs: Vec<_> = values
                .iter()
                .map(|value| {
                    let mut figures = Figures::default();
                    figures.set(Figure::PerSecond, *value);
                    figures
                })
                .collect();
            let medians = Figures::medians(&runs);
            assert_eq!(medians.value(Figure::PerSecond), Some(median));
            assert_eq!(medians.value(Figure::BrokerCpuUs), None);
        }
    }

    #[test]
    fn what_cannot_be_divided_is_absent() {
        let mut figures = Figures::default();
        figures.set(Figure::BrokerCpuUs, 1.0 / 0.0);
        assert_eq!(figures, Figures::default());
    }
}
