//! What every file has, and what none has.

use crate::source::Source;
use crate::{Breach, code, finds, holds};

/// Put together here, so that this file does not hold it.
const REMINDERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

fn files_say_what_they_are(sources: &[Source]) -> Vec<Breach> {
    let what = "begin with `//!`: one sentence on what this is, then what must stay true in it";
    let silent = sources.iter().filter(|source| {
        let about = source.text.strip_prefix("//! ");
        source.is_rust() && about.is_none_or(|about| about.starts_with('\n'))
    });
    silent.map(|source| Breach::new(source, 1, what)).collect()
}

fn reminders_name_their_issue(sources: &[Source]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(reminder) = REMINDERS.iter().find(|word| reminds(line, word)) {
                let what = format!("{reminder} without an issue; do it, or write {reminder}(#12)");
                breaches.push(Breach::new(source, number + 1, what));
            }
        }
    }
    breaches
}

/// Whether `line` has `word`, as a word, and no number of an issue right behind it.
fn reminds(line: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let behind = &line[at + word.len()..];
        let issue = behind
            .strip_prefix("(#")
            .is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()));
        !issue && !line[..at].ends_with(is_word) && !behind.starts_with(is_word)
    })
}

fn nothing_is_unsafe(sources: &[Source]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        for path in code::paths(&source.code)
            .iter()
            .filter(|path| path.has("unsafe"))
        {
            let what = "unsafe; write it so that the compiler can check it";
            breaches.push(Breach::new(source, path.line, what));
        }
    }
    breaches
}

#[test]
fn every_file_begins_with_what_it_is() {
    holds(files_say_what_they_are);
    finds(
        files_say_what_they_are,
        &[
            ("a/src/said.rs", "//! A thing.\n"),
            ("a/src/silent.rs", "use x;\n//! A thing.\n"),
            ("a/src/empty.rs", ""),
            ("a/src/blank.rs", "//! \nuse x;\n"),
            ("a/src/outer.rs", "/// A thing.\nuse x;\n"),
            ("a/Cargo.toml", "[package]\n"),
        ],
        &[
            "a/src/silent.rs:1",
            "a/src/empty.rs:1",
            "a/src/blank.rs:1",
            "a/src/outer.rs:1",
        ],
    );
}

#[test]
fn a_reminder_names_its_issue() {
    holds(reminders_name_their_issue);
    let [first, second, _] = REMINDERS else {
        panic!("three words")
    };
    let text = format!(
        "// {first}(#12): later\n// {first}: later\n// {second} (soon)\n// a{first} {first}S\n\
         // {first}(#soon)\n"
    );
    finds(
        reminders_name_their_issue,
        &[("a/src/x.rs", &text)],
        &["a/src/x.rs:2", "a/src/x.rs:3", "a/src/x.rs:5"],
    );
}

#[test]
fn the_compiler_checks_everything() {
    holds(nothing_is_unsafe);
    let text = "#![forbid(unsafe_code)]\n// unsafe\nfn f() {\n    unsafe { g(\"unsafe\") }\n}\n";
    finds(
        nothing_is_unsafe,
        &[("a/src/x.rs", text)],
        &["a/src/x.rs:4"],
    );
}
