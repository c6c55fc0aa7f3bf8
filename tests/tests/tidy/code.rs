//! Rust as far as the rules need it: what is code, which paths it names, where functions end.
//!
//! Comments and literals are blanked first, so that nothing is found in what only speaks of it.

use std::ops::Range;

/// The code of `text`: comments and literals are spaces, lines and columns stay.
pub(crate) fn of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let blank = not_code_len(rest);
        let len = blank.max(first.len_utf8());
        let (piece, after) = rest.split_at(len);
        if blank == 0 {
            code += piece;
        } else {
            code.extend(
                piece
                    .bytes()
                    .map(|byte| if byte == b'\n' { '\n' } else { ' ' }),
            );
        }
        rest = after;
    }
    code
}

/// How long the comment or literal is that `text` begins with.
fn not_code_len(text: &str) -> usize {
    let up_to = |end: &str, from: usize| {
        text[from..]
            .find(end)
            .map_or(text.len(), |at| from + at + end.len())
    };
    let hashes = text
        .strip_prefix('r')
        .map_or(0, |rest| rest.len() - rest.trim_start_matches('#').len());
    match text.as_bytes() {
        [b'/', b'/', ..] => text.find('\n').unwrap_or(text.len()),
        [b'/', b'*', ..] => block_comment_len(text),
        [b'"', ..] => string_len(text),
        [b'r', ..] if text[1 + hashes..].starts_with('"') => {
            up_to(&format!("\"{}", "#".repeat(hashes)), hashes + 2)
        }
        [b'\'', b'\\', ..] => up_to("'", 3),
        [b'\'', ..] if is_char(text) => up_to("'", 1),
        _ => 0,
    }
}

/// A character between quotes; with one quote only it is a lifetime.
fn is_char(text: &str) -> bool {
    text.chars().nth(2) == Some('\'')
}

fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

fn block_comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(pair) = text.as_bytes().get(at..at + 2) {
        at += match pair {
            b"/*" | b"*/" => 2,
            _ => 1,
        };
        match pair {
            b"/*" => depth += 1,
            b"*/" if depth == 1 => return at,
            b"*/" => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The items of `code` that are compiled for tests only, with their attributes.
pub(crate) fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items = Vec::new();
    let mut from = 0;
    while let Some(at) = code[from..].find("#[cfg(test)]") {
        let start = from + at;
        let end = item_end(code, start);
        items.push(start..end);
        from = end;
    }
    items
}

/// The end of the item at `start`: its `;`, or the brace that closes its body.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[start..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(c, ';' | '}') {
            return start + at + 1;
        }
    }
    code.len()
}

/// A function: its name, the line of its `fn`, and how many lines there are to its last brace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) len: usize,
}

/// The functions of `code` that have a body, those within others too.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let starts = code.match_indices("fn ").map(|(at, _)| at);
    starts.filter_map(|start| function(code, start)).collect()
}

fn function(code: &str, start: usize) -> Option<Function> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let name: String = code[start + 3..]
        .chars()
        .take_while(|c| is_word(*c))
        .collect();
    // `fn (…)` is a type, and `often ` is a word.
    if name.is_empty() || code[..start].ends_with(is_word) {
        return None;
    }
    let end = item_end(code, start);
    let body = code[start..end].ends_with('}');
    let line = code[..start].matches('\n').count() + 1;
    let len = code[start..end].matches('\n').count() + 1;
    body.then_some(Function { name, line, len })
}

/// A path as in `std::fs::read`, and the line it stands in, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

impl Path {
    /// Whether these segments, written with `::`, stand in it side by side.
    pub(crate) fn has(&self, segments: &str) -> bool {
        let wanted: Vec<&str> = segments.split("::").collect();
        self.segments
            .windows(wanted.len())
            .any(|some| some.iter().eq(&wanted))
    }
}

/// All paths that `code` names. A group, `a::{b, c}`, is each of its paths.
pub(crate) fn paths(code: &str) -> Vec<Path> {
    let mut reader = PathReader {
        tokens: tokens(code),
        next: 0,
        paths: Vec::new(),
    };
    while reader.next < reader.tokens.len() {
        reader.path(&[]);
    }
    reader.paths
}

struct PathReader<'c> {
    tokens: Vec<(usize, &'c str)>,
    next: usize,
    paths: Vec<Path>,
}

impl PathReader<'_> {
    /// Reads a path that goes on from `before`, or steps over a token that is none.
    fn path(&mut self, before: &[String]) {
        let mut segments = before.to_vec();
        let (line, first) = self.tokens[self.next];
        self.next += 1;
        if !is_name(first) {
            return;
        }
        segments.push(first.to_owned());
        while self.peek(0) == "::" {
            match self.peek(1) {
                "{" => return self.group(&segments),
                name if is_name(name) => segments.push(name.to_owned()),
                _ => break,
            }
            self.next += 2;
        }
        self.paths.push(Path { line, segments });
    }

    fn group(&mut self, before: &[String]) {
        self.next += 2;
        while self.next < self.tokens.len() && self.peek(0) != "}" {
            self.path(before);
        }
        self.next += 1;
    }

    fn peek(&self, ahead: usize) -> &str {
        self.tokens
            .get(self.next + ahead)
            .map_or("", |(_, token)| token)
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and single other characters, each with its line.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            let len = if rest.starts_with("::") {
                2
            } else {
                word.max(first.len_utf8())
            };
            let (token, after) = rest.split_at(len);
            tokens.push((number + 1, token));
            rest = after.trim_start();
        }
    }
    tokens
}

#[test]
fn comments_and_literals_are_no_code() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c\n */ d */ e", "a          \n         e"),
        ("a /*/ b */ c", "a          c"),
        (r#"a("b \" c", d)"#, "a(        , d)"),
        (r##"a(r#"b " c"#, d)"##, "a(          , d)"),
        ("a(r\"\\\", b)", "a(    , b)"),
        (
            "a('b', '\\'', '\\u{1f}', 'c')",
            "a(   ,     ,         ,    )",
        ),
        ("f::<'a>(b'x', &'a c)", "f::<'a>(b   , &'a c)"),
        ("'/' b \"//\" c", "    b      c"),
        ("\"é\" b", "     b"),
    ] {
        assert_eq!(of(text), code, "{text}");
        assert_eq!(of(text).matches('\n').count(), text.matches('\n').count());
    }
}

#[test]
fn a_function_ends_with_its_brace() {
    let text = "fn a() {\n    if x { y }\n    fn b() {\n    }\n}\ntrait T { fn c(&self); }\n\
                type F = fn (u8);\nasync fn d<T>(x: [u8; 2]) -> T where T: X {}\n";
    let function = |name: &str, line, len| Function {
        name: name.to_owned(),
        line,
        len,
    };
    assert_eq!(
        functions(text),
        [
            function("a", 1, 5),
            function("b", 3, 2),
            function("d", 8, 1)
        ]
    );
}

#[test]
fn a_group_is_each_of_its_paths() {
    let code = "use a::{b::{c, d as e}, self};\nf::<g::h>(i);\nlet x: super::k = l { m };";
    let paths: Vec<String> = paths(code)
        .iter()
        .map(|path| format!("{} {}", path.line, path.segments.join("::")))
        .collect();
    assert_eq!(
        paths,
        [
            "1 use",
            "1 a::b::c",
            "1 a::b::d",
            "1 a::b::as",
            "1 a::b::e",
            "1 a::self",
            "2 f",
            "2 g::h",
            "2 i",
            "3 let",
            "3 x",
            "3 super::k",
            "3 l",
            "3 m",
        ]
    );
}
