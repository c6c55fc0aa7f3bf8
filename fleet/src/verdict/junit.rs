//! A verdict as `JUnit` XML, which every machine that runs tests can show.

use super::{Check, Outcome, Verdict};
use std::fmt::Write as _;

pub(super) fn write(verdict: &Verdict) -> String {
    let count = |outcomes: &[Outcome]| {
        let is_one = |check: &&Check| outcomes.contains(&check.outcome);
        verdict.checks.iter().filter(is_one).count()
    };
    let (name, seed) = (escaped(&verdict.scenario), verdict.seed);
    let seconds = verdict.elapsed().as_secs_f64();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string does not fail.
    let _ = writeln!(
        xml,
        "<testsuite name=\"fleet.{name}\" tests=\"{}\" failures=\"{}\" errors=\"0\" \
         skipped=\"{}\" time=\"{seconds:.3}\">",
        verdict.checks.len(),
        count(&[Outcome::Broken]),
        count(&[Outcome::NotTried, Outcome::LeftOut]),
    );
    let _ = writeln!(
        xml,
        "  <properties>\n    <property name=\"devices\" value=\"{}\"/>\n    \
         <property name=\"seed\" value=\"{seed}\"/>\n  </properties>",
        verdict.devices,
    );
    for check in &verdict.checks {
        case(&mut xml, &name, check);
    }
    xml.push_str("</testsuite>\n");
    xml
}

fn case(xml: &mut String, suite: &str, check: &Check) {
    let (name, found) = (check.invariant.name(), escaped(&check.found));
    let within = match check.outcome {
        Outcome::Held => format!("<system-out>{found}</system-out>"),
        Outcome::Broken => {
            let examples = escaped(&check.examples.join("\n"));
            format!("<failure message=\"{found}\">{examples}</failure>")
        }
        Outcome::NotTried | Outcome::LeftOut => format!("<skipped message=\"{found}\"/>"),
    };
    // Writing to a string does not fail.
    let _ = writeln!(
        xml,
        "  <testcase classname=\"fleet.{suite}\" name=\"{name}\">{within}</testcase>"
    );
}

/// What may stand in text and in an attribute; what XML cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            _ if character.is_control() => {}
            _ => escaped.push(character),
        }
    }
    escaped
}
