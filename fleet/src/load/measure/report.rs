//! What came of a load: the medians of its runs, as a table or as JSON.

use super::{Figure, Figures};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The outcome of a load in which nothing went wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was done.
    pub scenario: String,
    /// How, by the names of the command line.
    pub settings: BTreeMap<&'static str, String>,
    /// The median of each figure.
    pub median: Figures,
    /// Every run.
    pub runs: Vec<Figures>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.scenario)?;
        for (name, value) in &self.settings {
            writeln!(f, "  {name:<34}{value:>12}")?;
        }
        let runs = self.runs.len();
        let medians = if runs > 1 {
            format!("median of {runs}")
        } else {
            String::new()
        };
        writeln!(
            f,
            "\n  {:<34}{medians:>12}{:>12}{:>12}",
            "", "least", "most"
        )?;
        for (figure, median) in self.median.iter() {
            let values = || self.runs.iter().filter_map(|run| run.value(figure));
            let least = values().fold(f64::INFINITY, f64::min);
            let most = values().fold(f64::NEG_INFINITY, f64::max);
            let [median, least, most] = [median, least, most].map(|value| shown(figure, value));
            writeln!(
                f,
                "  {:<34}{median:>12}{least:>12}{most:>12}",
                figure.label()
            )?;
        }
        Ok(())
    }
}

/// A number with as many digits as mean something.
fn shown(figure: Figure, value: f64) -> String {
    match figure {
        Figure::Resident
        | Figure::ResidentPerConnection
        | Figure::ResidentPerMessage
        | Figure::Units
        | Figure::Drained
        | Figure::Connections => grouped(value),
        _ if value >= 1000.0 => grouped(value),
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// With a comma at every thousand.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_not_more_exact_than_they_are() {
        for (value, text) in [
            (1_234_567.8, "1,234,568"),
            (1000.0, "1,000"),
            (999.0, "999"),
            (12.34, "12.3"),
        ] {
            assert_eq!(shown(Figure::PerSecond, value), text);
        }
        assert_eq!(shown(Figure::BrokerCpuUs, 0.4567), "0.457");
    }

    #[test]
    fn the_table_has_a_line_for_each_figure_that_could_be_had() {
        let mut run = Figures::default();
        run.set(Figure::PerSecond, 12_345.0);
        let report = Report {
            scenario: "fan-in".into(),
            settings: BTreeMap::from([("qos", "1".into())]),
            median: run.clone(),
            runs: vec![run],
        };
        let table = report.to_string();
        assert!(
            table.contains("per second") && table.contains("12,345"),
            "{table}"
        );
        assert!(!table.contains("broker CPU"), "{table}");
    }
}
