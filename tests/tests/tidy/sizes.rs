//! How large a file, a function, a folder and a line may be.
//!
//! Exceptions are listed with their size and may only shrink: one that is larger than its file
//! needs is a breach too.

use crate::source::Source;
use crate::{Breach, code, finds, holds};
use std::collections::BTreeMap;

/// Lines of a file, without those that are for tests only.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function, from its `fn` to its last brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Rust files in one folder.
const FOLDER_FILES_MAX: usize = 14;
/// Characters of a line.
const LINE_WIDTH_MAX: usize = 100;

/// Files that are longer, with their lines.
const LONG_FILES: &[(&str, usize)] = &[];

/// Folders that hold more, with how many.
const FULL_FOLDERS: &[(&str, usize)] = &[("broker/src/engine", 23)];

fn files_are_short(sources: &[Source]) -> Vec<Breach> {
    let rust = sources.iter().filter(|source| source.is_rust());
    let sized = rust.map(|source| (source.path.as_str(), own_lines(source), source));
    let what = "lines without tests; divide it by what its parts are about";
    too_large(sized, FILE_LINES_MAX, LONG_FILES, what)
}

/// A file of a test target is read as well: its lines are its own.
fn own_lines(source: &Source) -> usize {
    let tests: usize = source.test_lines().iter().map(ExactSizeIterator::len).sum();
    let all = source.text.lines().count();
    if source.is_test { all } else { all - tests }
}

fn folders_are_small(sources: &[Source]) -> Vec<Breach> {
    let mut folders: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        folders.entry(source.place().0).or_default().push(source);
    }
    let sized = folders
        .iter()
        .map(|(folder, files)| (*folder, files.len(), files[0]));
    let what = "Rust files in one folder; group those that belong together";
    too_large(sized, FOLDER_FILES_MAX, FULL_FOLDERS, what)
}

/// Those that are larger than `max` or than their exception, and exceptions not needed.
fn too_large<'s>(
    sized: impl Iterator<Item = (&'s str, usize, &'s Source)>,
    max: usize,
    exceptions: &[(&str, usize)],
    what: &str,
) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (path, size, source) in sized {
        let exception = exceptions.iter().find(|(excepted, _)| *excepted == path);
        let may = exception.map_or(max, |(_, size)| *size);
        let what = match exception {
            _ if size > may => format!("{size} {what}; at most {may}"),
            Some(_) if size <= max => "is no longer an exception; take it off the list".to_owned(),
            Some(_) if size < may => format!("an exception only shrinks; list it with {size}"),
            _ => continue,
        };
        breaches.push(Breach {
            path: path.to_owned(),
            ..Breach::new(source, 0, what)
        });
    }
    breaches
}

fn functions_are_short(sources: &[Source]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        for function in code::functions(&source.code) {
            if function.len > FUNCTION_LINES_MAX {
                let what = format!(
                    "{} has {} lines; at most {FUNCTION_LINES_MAX}, better 25: name its steps",
                    function.name, function.len
                );
                breaches.push(Breach::new(source, function.line, what));
            }
        }
    }
    breaches
}

fn lines_are_short(sources: &[Source]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        for (number, line) in source.text.lines().enumerate() {
            let width = line.chars().count();
            if width > LINE_WIDTH_MAX {
                let what = format!("{width} columns; at most {LINE_WIDTH_MAX}: break the line");
                breaches.push(Breach::new(source, number + 1, what));
            }
        }
    }
    breaches
}

#[test]
fn a_file_is_short() {
    holds(files_are_short);
    let lines = |count: usize| "fn f() {}\n".repeat(count);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(600));
    finds(
        files_are_short,
        &[
            ("a/src/fits.rs", &(lines(500) + &tests)),
            ("a/src/long.rs", &(lines(501) + &tests)),
            ("tests/tests/long.rs", &lines(501)),
            ("a/Cargo.toml", &lines(501)),
        ],
        &["a/src/long.rs:0", "tests/tests/long.rs:0"],
    );
}

#[test]
fn a_folder_is_small() {
    holds(folders_are_small);
    let files = |folder: &str, count: usize| -> Vec<String> {
        (0..count)
            .map(|number| format!("{folder}/{number}.rs"))
            .collect()
    };
    let paths = [files("a/src", 14), files("a/src/b", 15)].concat();
    let sources: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
    finds(folders_are_small, &sources, &["a/src/b:0"]);
}

#[test]
fn an_exception_only_shrinks() {
    let sources = crate::source::sources([("a.rs", "")].into_iter());
    let found = |size: usize| {
        let sized = [("a.rs", size, &sources[0])].into_iter();
        let breaches = too_large(sized, 10, &[("a.rs", 20)], "lines");
        breaches.first().map(|breach| breach.what.clone())
    };
    assert_eq!(found(21).as_deref(), Some("21 lines; at most 20"));
    assert_eq!(found(20), None);
    assert_eq!(
        found(19).as_deref(),
        Some("an exception only shrinks; list it with 19")
    );
    assert_eq!(
        found(10).as_deref(),
        Some("is no longer an exception; take it off the list")
    );
}

#[test]
fn every_exception_is_there() {
    let tree = crate::source::tree();
    for (path, _) in LONG_FILES {
        assert!(
            tree.iter().any(|source| source.path == *path),
            "{path} is gone; take it off"
        );
    }
    for (folder, _) in FULL_FOLDERS {
        assert!(
            tree.iter().any(|source| source.place().0 == *folder),
            "{folder} is gone; take it off"
        );
    }
}

#[test]
fn a_function_is_short() {
    holds(functions_are_short);
    let function = |lines: usize| format!("fn f() {{\n{}}}\n", "    x();\n".repeat(lines - 2));
    finds(
        functions_are_short,
        &[
            ("a/src/fits.rs", &function(70)),
            ("a/src/long.rs", &("\n".to_owned() + &function(71))),
        ],
        &["a/src/long.rs:2"],
    );
}

#[test]
fn a_line_is_short() {
    holds(lines_are_short);
    let (fits, long) = ("é".repeat(100), "x".repeat(101));
    let text = format!("// {}\n{fits}\n{long}\n", "x".repeat(97));
    finds(lines_are_short, &[("a/src/x.rs", &text)], &["a/src/x.rs:3"]);
}
