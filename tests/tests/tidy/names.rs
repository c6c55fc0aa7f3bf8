//! Names that say nothing: files into which anything would fit.

use crate::source::Source;
use crate::{Breach, finds, holds};

const EMPTY_NAMES: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "types", "util", "utils",
];

fn files_are_named_for_what_they_hold(sources: &[Source]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in sources {
        let parts = source
            .path
            .split('/')
            .map(|part| part.trim_end_matches(".rs"));
        if let Some(name) = parts.into_iter().find(|part| EMPTY_NAMES.contains(part)) {
            let what = format!("{name} says nothing; name it for what it holds");
            breaches.push(Breach::new(source, 0, what));
        }
    }
    breaches
}

#[test]
fn a_file_is_named_for_what_it_holds() {
    holds(files_are_named_for_what_they_hold);
    finds(
        files_are_named_for_what_they_hold,
        &[
            ("a/src/utils.rs", ""),
            ("a/src/common/mod.rs", ""),
            ("a/src/session_manager.rs", ""),
            ("a/src/types_of_bread.rs", ""),
        ],
        &["a/src/utils.rs:0", "a/src/common/mod.rs:0"],
    );
}
