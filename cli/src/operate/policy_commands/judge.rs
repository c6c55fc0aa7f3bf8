//! `countersign policy test`: a policy judged by a table of expectations.
//!
//! For a person on stdout, and for other tools as `JUnit` XML.

use super::{read, read_policy};
use crate::failure::{FAILED, Failure, USAGE};
use broker::engine::policy::Policy;
use broker::engine::policy::explain::{Expectations, Outcome};
use clap::Args;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) const EXAMPLES: &str = "\
Example:
  countersign policy test policy-tests.toml --policy policy.toml --junit policy.xml";

/// What to test.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The expectations.
    file: PathBuf,
    /// The policy; by default the one that the expectations name.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Write a test report in XML, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub(super) fn run(args: &TestArgs) -> Result<(), Failure> {
    let name = args.file.display().to_string();
    let expectations = Expectations::parse(&name, &read(&args.file)?)
        .map_err(|mistakes| Failure::mistakes(USAGE, &mistakes))?;
    let policy = load(args, &expectations)?;
    let outcomes = expectations.judge(&policy);
    if let Some(file) = &args.junit {
        let what = || format!("writing {}", file.display());
        fs::write(file, junit(&name, &outcomes))
            .map_err(|error| Failure::new(FAILED, what()).because(&error))?;
    }
    let failed: Vec<&Outcome> = outcomes.iter().filter(|it| !it.is_met).collect();
    for outcome in &failed {
        println!(
            "{name}:{}: {}: {}",
            outcome.line, outcome.name, outcome.decision
        );
    }
    let len = outcomes.len();
    if failed.is_empty() {
        println!("{name}: {len} expectations met");
        return Ok(());
    }
    let words = format!("{} of {len} expectations not met", failed.len());
    Err(Failure::new(FAILED, words))
}

fn load(args: &TestArgs, expectations: &Expectations) -> Result<Policy, Failure> {
    if let Some(file) = &args.policy {
        return read_policy(file);
    }
    let Some(named) = expectations.policy_file() else {
        let words = "name the policy: `policy = \"…\"` in the expectations, or --policy";
        return Err(Failure::new(USAGE, words));
    };
    let folder = args.file.parent().unwrap_or_else(|| Path::new(""));
    read_policy(&folder.join(named))
}

fn junit(suite: &str, outcomes: &[Outcome]) -> String {
    let failures = outcomes.iter().filter(|outcome| !outcome.is_met).count();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string does not fail.
    let _ = writeln!(
        xml,
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\">",
        escaped(suite),
        outcomes.len()
    );
    for outcome in outcomes {
        let _ = write!(
            xml,
            "  <testcase name=\"{}\" file=\"{}\" line=\"{}\"",
            escaped(&outcome.name),
            escaped(suite),
            outcome.line
        );
        let why = escaped(&outcome.decision.to_string());
        let _ = if outcome.is_met {
            writeln!(xml, "/>")
        } else {
            writeln!(xml, ">\n    <failure message=\"{why}\"/>\n  </testcase>")
        };
    }
    xml + "</testsuite>\n"
}

/// What XML gives a meaning to, and what may not stand in it.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_met_is_a_failure_in_junit() {
        let policy = Policy::parse("p.toml", "[[rule]]\npublish = 'a'").unwrap();
        let text = "[[test]]\nname = '<1>'\ndevice = 'd'\nallow_publish = ['a', 'b']\n";
        let outcomes = Expectations::parse("t.toml", text).unwrap().judge(&policy);
        let xml = junit("t.toml", &outcomes);
        assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
        let met = "<testcase name=\"&lt;1&gt;: d may publish a\" file=\"t.toml\" line=\"4\"/>";
        assert!(xml.contains(met), "{xml}");
        assert!(
            xml.contains("<failure message=\"denied: no rule permits it"),
            "{xml}"
        );
    }
}
