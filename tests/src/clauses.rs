//! The clause table: which test covers which numbered statement of MQTT 5.0.
//!
//! A test covers the statement in its name (`mqtt_3_1_2_4_…` is `[MQTT-3.1.2-4]`) and those in its
//! doc comment. A statement has tests or an excuse, never both and never neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// A numbered statement.
pub struct Clause {
    /// `MQTT-3.1.2-4`.
    pub number: String,
    /// What it says, in our words.
    pub gist: String,
    /// Why no test covers it.
    pub excuse: Option<String>,
}

/// A test that bears a clause in its name.
pub struct Test {
    /// Its function.
    pub name: String,
    /// The statements of 5.0 it covers.
    pub clauses: BTreeSet<String>,
}

/// The list of statements: `number | gist` or `number | gist | excuse`, one a line.
pub fn read(list: &str) -> Vec<Clause> {
    let lines = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let clause = |line: &str| {
        let mut parts = line.split(" | ").map(str::to_owned);
        let mut part = || {
            parts
                .next()
                .unwrap_or_else(|| panic!("a part is missing in {line:?}"))
        };
        Clause {
            number: part(),
            gist: part(),
            excuse: parts.next(),
        }
    };
    lines.map(clause).collect()
}

/// The tests in the sources below `dir`, by name.
pub fn tests_below(dir: &Path) -> Vec<Test> {
    let mut tests = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            tests.extend(tests_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            tests.extend(tests_in(&fs::read_to_string(&path).unwrap()));
        }
    }
    tests
}

/// What is wrong between the statements and the tests.
pub fn mistakes(clauses: &[Clause], tests: &[Test]) -> Vec<String> {
    let covered = coverage(tests);
    let numbers: BTreeSet<&str> = clauses
        .iter()
        .map(|clause| clause.number.as_str())
        .collect();
    let unknown = covered
        .iter()
        .filter(|(number, _)| !numbers.contains(*number));
    let unknown = unknown.map(|(number, by)| format!("{number} is no clause: {}", by.join(", ")));
    let judged = clauses.iter().filter_map(|clause| {
        match (covered.contains_key(clause.number.as_str()), &clause.excuse) {
            (true, None) | (false, Some(_)) => None,
            (true, Some(_)) => Some(format!("{} is excused and covered", clause.number)),
            (false, None) => Some(format!("{} has neither a test nor a reason", clause.number)),
        }
    });
    unknown.chain(judged).collect()
}

/// The table, in Markdown.
pub fn table(clauses: &[Clause], tests: &[Test]) -> String {
    let covered = coverage(tests);
    let of_311 = tests
        .iter()
        .filter(|test| test.name.starts_with("mqtt311_"))
        .count();
    let excused = clauses
        .iter()
        .filter(|clause| clause.excuse.is_some())
        .count();
    let mut table = String::from(HEAD);
    writeln!(
        table,
        "{} statements: {} covered, {excused} not, for the reason given. {} tests bear a clause \
         in their name, {of_311} of them one of 3.1.1.\n\n\
         | Statement | What it says | Tests, or why there is none |\n|---|---|---|",
        clauses.len(),
        clauses.len() - excused,
        tests.len(),
    )
    .unwrap();
    for Clause {
        number,
        gist,
        excuse,
    } in clauses
    {
        let tests = covered.get(number.as_str()).into_iter().flatten();
        let tests: Vec<_> = tests.map(|name| format!("`{name}`")).collect();
        let last = excuse.as_deref().map_or_else(|| tests.join(", "), reason);
        writeln!(table, "| {number} | {gist} | {last} |").unwrap();
    }
    table.push_str("\n## MQTT 3.1.1\n\n");
    for test in tests
        .iter()
        .filter(|test| test.name.starts_with("mqtt311_"))
    {
        writeln!(table, "- `{}`", test.name).unwrap();
    }
    table
}

const HEAD: &str = "# Conformance, clause by clause\n\nMade by `tests/src/clauses.rs` from \
                    `tests/tests/conformance/clauses.txt` and the names of the tests; a test fails \
                    when this file is stale. Every test sends raw packets over mutual TLS.\n\n";

fn reason(excuse: &str) -> String {
    let rest = excuse.strip_prefix("client");
    rest.map_or_else(
        || format!("– {excuse}"),
        |rest| format!("– binds clients only{rest}"),
    )
}

fn coverage(tests: &[Test]) -> BTreeMap<&str, Vec<&str>> {
    let mut covered: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for test in tests {
        for number in &test.clauses {
            covered.entry(number).or_default().push(&test.name);
        }
    }
    covered
}

/// The tests in one source file that bear a clause in their name.
fn tests_in(source: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    let (mut clauses, mut is_test) = (BTreeSet::new(), false);
    for line in source.lines() {
        if let Some(comment) = line.strip_prefix("///") {
            clauses.extend(numbers_in(comment));
        } else if line == "#[test]" {
            is_test = true;
        } else if let Some(name) = line
            .strip_prefix("fn ")
            .and_then(|rest| rest.split('(').next())
        {
            let mut clauses = std::mem::take(&mut clauses);
            if std::mem::take(&mut is_test) && name.starts_with("mqtt") {
                clauses.extend(number_in_name(name));
                tests.push(Test {
                    name: name.to_owned(),
                    clauses,
                });
            }
        } else if !line.starts_with("#[") {
            clauses.clear();
        }
    }
    tests
}

fn numbers_in(comment: &str) -> impl Iterator<Item = String> {
    let parts = comment
        .split('[')
        .skip(1)
        .filter_map(|part| part.split(']').next());
    parts
        .filter(|part| part.starts_with("MQTT-"))
        .map(str::to_owned)
}

/// `mqtt_3_1_2_4_…` has the number `MQTT-3.1.2-4`; three figures name a section only.
fn number_in_name(name: &str) -> Option<String> {
    let figures: Vec<&str> = name
        .strip_prefix("mqtt_")?
        .split('_')
        .take_while(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    match figures[..] {
        [a, b, c, d] => Some(format!("MQTT-{a}.{b}.{c}-{d}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
/// [MQTT-1.5.4-1] and [MQTT-2.1.3-1]
#[test]
fn mqtt_3_1_2_4_a() {
}

#[test]
fn mqtt_3_1_2_section_only() {
/// [MQTT-9.9.9-9]
fn helper() {";

    #[test]
    fn a_test_covers_its_name_and_its_comment() {
        let tests = tests_in(SOURCE);
        let numbers: Vec<_> = tests.iter().flat_map(|test| &test.clauses).collect();
        assert_eq!(tests.len(), 2);
        assert_eq!(numbers, ["MQTT-1.5.4-1", "MQTT-2.1.3-1", "MQTT-3.1.2-4"]);
    }

    #[test]
    fn a_clause_has_tests_or_an_excuse() {
        let list = "MQTT-1.5.4-1 | a | b\nMQTT-2.1.3-1 | a\nMQTT-4.4.0-1 | a\nMQTT-4.4.0-2 | a | b";
        let mistakes = mistakes(&read(list), &tests_in(SOURCE));
        assert_eq!(
            mistakes,
            [
                "MQTT-3.1.2-4 is no clause: mqtt_3_1_2_4_a",
                "MQTT-1.5.4-1 is excused and covered",
                "MQTT-4.4.0-1 has neither a test nor a reason",
            ]
        );
    }
}
