//! The sources that are judged: every `.rs` and `Cargo.toml` of the tree.
//!
//! A source knows which of its lines are there for tests only.

use crate::code;
use std::collections::BTreeSet;
use std::fs;
use std::iter;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

/// One file.
pub(crate) struct Source {
    /// Where it stands, from the root of the tree, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and literals blanked, line for line.
    pub(crate) code: String,
    /// All of it is for tests.
    pub(crate) is_test: bool,
}

impl Source {
    pub(crate) fn is_rust(&self) -> bool {
        is_rust(&self.path)
    }

    /// The folder it stands in, and its name.
    pub(crate) fn place(&self) -> (&str, &str) {
        self.path.rsplit_once('/').unwrap_or(("", &self.path))
    }

    /// The lines of the items that are for tests only, counted from 0.
    pub(crate) fn test_lines(&self) -> Vec<Range<usize>> {
        if self.is_test {
            return iter::once(0..self.text.lines().count()).collect();
        }
        code::test_items(&self.code)
            .into_iter()
            .map(|item| self.lines_of(item))
            .collect()
    }

    /// The code without what is for tests only, line for line.
    pub(crate) fn own_code(&self) -> String {
        let tests = self.test_lines();
        let is_own = |line: &usize| !tests.iter().any(|lines| lines.contains(line));
        let own = |(line, text)| if is_own(&line) { text } else { "" };
        self.code
            .lines()
            .enumerate()
            .map(own)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn lines_of(&self, bytes: Range<usize>) -> Range<usize> {
        let line = |end: usize| self.code[..end].matches('\n').count();
        line(bytes.start)..line(bytes.end) + 1
    }
}

/// The sources of these paths and texts.
pub(crate) fn sources<'t>(texts: impl Iterator<Item = (&'t str, &'t str)>) -> Vec<Source> {
    let mut sources: Vec<Source> = texts
        .map(|(path, text)| Source {
            path: path.to_owned(),
            text: text.to_owned(),
            code: if is_rust(path) {
                code::of(text)
            } else {
                String::new()
            },
            is_test: path.contains("tests/") || path.contains("/fuzz/"),
        })
        .collect();
    let test_modules: BTreeSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let module = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        source.is_test |= test_modules.iter().any(|test| {
            module
                .strip_prefix(test)
                .is_some_and(|rest| !rest.starts_with(is_word))
        });
    }
    sources
}

/// The modules that `source` declares for tests only, as paths without `.rs`.
fn test_modules(source: &Source) -> Vec<String> {
    let (folder, name) = source.place();
    let folder = match name {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        other => format!("{folder}/{}", other.trim_end_matches(".rs")),
    };
    let declared = |item: Range<usize>| {
        let item = source.code[item].strip_suffix(';')?;
        let (_, module) = item.rsplit_once("mod ")?;
        Some(format!("{folder}/{module}"))
    };
    code::test_items(&source.code)
        .into_iter()
        .filter_map(declared)
        .collect()
}

fn is_rust(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "rs")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Our own tree.
pub(crate) fn tree() -> &'static [Source] {
    static TREE: LazyLock<Vec<Source>> = LazyLock::new(read_tree);
    &TREE
}

fn read_tree() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut texts = Vec::new();
    read_folder(root, "", &mut texts);
    texts.sort();
    sources(texts.iter().map(|(path, text)| (&**path, &**text)))
}

fn read_folder(root: &Path, folder: &str, texts: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if folder.is_empty() {
            name.clone()
        } else {
            format!("{folder}/{name}")
        };
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !name.starts_with('.') && name != "target" {
            read_folder(root, &path, texts);
        } else if kind.is_file() && (is_rust(&name) || name == "Cargo.toml") {
            texts.push((path, fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

#[test]
fn the_tree_is_read() {
    let tree = tree();
    for path in [
        "broker/src/engine/policy/mod.rs",
        "certs/Cargo.toml",
        "cli/src/main.rs",
        "protocol/src/lib.rs",
        "tests/tests/tidy/main.rs",
    ] {
        assert!(
            tree.iter().any(|source| source.path == path),
            "{path} was not read"
        );
    }
    assert!(tree.iter().all(|source| !source.path.contains("target/")));
}

#[test]
fn what_is_for_tests_only_is_known() {
    let sources = sources(
        [
            (
                "a/src/lib.rs",
                "mod x;\n#[cfg(test)]\npub(crate) mod probe;\nfn f() {}\n",
            ),
            ("a/src/probe.rs", "fn g() {}\n"),
            ("a/src/probe/deep.rs", "fn g() {}\n"),
            ("a/src/probes.rs", "fn g() {}\n"),
            (
                "a/src/x.rs",
                "fn h() {}\n\n#[cfg(test)]\nmod tests {\n    fn i() {}\n}\nfn j() {}\n",
            ),
            (
                "a/src/x/mod.rs",
                "#[cfg(test)]\n#[rustfmt::skip]\nfn k() {\n}\n",
            ),
            ("tests/src/lib.rs", "fn l() {}\n"),
        ]
        .into_iter(),
    );
    let own: Vec<String> = sources
        .iter()
        .map(|source| source.own_code().replace('\n', "|"))
        .collect();
    assert_eq!(
        own,
        [
            "mod x;|||fn f() {}",
            "",
            "",
            "fn g() {}",
            "fn h() {}||||||fn j() {}",
            "|||",
            ""
        ]
    );
}
