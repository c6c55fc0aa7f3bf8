//! The table of clauses: every numbered statement of MQTT 5.0 has its tests or its reason.
//!
//! `COUNTERSIGN_WRITE_DOCS=1 cargo test -p countersign-tests --test conformance clauses` writes it.

use countersign_tests::clauses;
use std::fs;
use std::path::Path;

#[test]
fn every_clause_is_covered_or_excused_and_the_table_is_fresh() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = clauses::read(include_str!("clauses.txt"));
    let tests = clauses::tests_below(&crate_dir.join("tests"));
    let mistakes = clauses::mistakes(&list, &tests);
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));

    let table = clauses::table(&list, &tests);
    let path = crate_dir.join("../docs/conformance-clauses.md");
    if std::env::var_os("COUNTERSIGN_WRITE_DOCS").is_some() {
        fs::write(&path, &table).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == table,
        "{} is stale: see this file's head",
        path.display()
    );
}
