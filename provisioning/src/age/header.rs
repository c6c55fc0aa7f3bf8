//! The header of a file: for each who may open it a stanza, and a tag over all of them.

use std::io::{BufRead, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::AgeError;

const INTRODUCTION: &str = "age-encryption.org/v1\n";
const COLUMNS: usize = 64;
/// A recipient with post-quantum keys needs 2 kB.
const HEADER_LEN_MAX: u64 = 64 * 1024;
const TAG_LEN: usize = 32;

/// What is said to one who may open the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stanza {
    pub(super) arguments: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl Stanza {
    /// Of which kind it is: the first argument.
    pub(super) fn kind(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }
}

/// A header as it was read.
pub(super) struct Header {
    pub(super) stanzas: Vec<Stanza>,
    /// What the tag is over.
    pub(super) text: Vec<u8>,
    pub(super) tag: Vec<u8>,
}

/// The header up to its tag.
pub(super) fn write(stanzas: &[Stanza]) -> String {
    let mut text = String::from(INTRODUCTION);
    for stanza in stanzas {
        text.push_str("-> ");
        text.push_str(&stanza.arguments.join(" "));
        let body = STANDARD_NO_PAD.encode(&stanza.body);
        let mut rest = body.as_str();
        // The last line is shorter than the others, and empty if need be.
        loop {
            text.push('\n');
            let (line, after) = rest.split_at(rest.len().min(COLUMNS));
            text.push_str(line);
            rest = after;
            if line.len() < COLUMNS {
                break;
            }
        }
        text.push('\n');
    }
    text.push_str("---");
    text
}

/// What follows the header that the tag is over.
pub(super) fn tag_text(tag: &[u8]) -> String {
    format!(" {}\n", STANDARD_NO_PAD.encode(tag))
}

/// Reads a header, and nothing behind it.
pub(super) fn read(file: &mut impl BufRead) -> Result<Header, AgeError> {
    let mut lines = Lines {
        file: file.take(HEADER_LEN_MAX),
        text: Vec::new(),
    };
    if lines.next()? != INTRODUCTION.trim_end() {
        return Err(AgeError::Form);
    }
    let mut stanzas = Vec::new();
    loop {
        let line = lines.next()?;
        if let Some(tag) = line.strip_prefix("--- ") {
            let tag = decode(tag)?;
            let end = lines.text.len() - (line.len() + 1) + "---".len();
            lines.text.truncate(end);
            let whole = tag.len() == TAG_LEN && !stanzas.is_empty();
            let text = lines.text;
            return whole
                .then_some(Header { stanzas, text, tag })
                .ok_or(AgeError::Form);
        }
        let arguments = line.strip_prefix("-> ").ok_or(AgeError::Form)?;
        let arguments: Vec<_> = arguments.split(' ').map(str::to_owned).collect();
        let is_word = |it: &String| !it.is_empty() && it.bytes().all(|it| it.is_ascii_graphic());
        if !arguments.iter().all(is_word) {
            return Err(AgeError::Form);
        }
        let body = lines.body()?;
        stanzas.push(Stanza { arguments, body });
    }
}

/// The lines of a header, and all that was read of them.
struct Lines<R> {
    file: R,
    text: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<String, AgeError> {
        let begin = self.text.len();
        self.file.read_until(b'\n', &mut self.text)?;
        let line = self.text.get(begin..).unwrap_or_default();
        let line = line.strip_suffix(b"\n").ok_or(AgeError::Form)?;
        String::from_utf8(line.to_vec()).map_err(|_| AgeError::Form)
    }

    fn body(&mut self) -> Result<Vec<u8>, AgeError> {
        let mut text = String::new();
        loop {
            let line = self.next()?;
            if line.len() > COLUMNS {
                return Err(AgeError::Form);
            }
            text.push_str(&line);
            if line.len() < COLUMNS {
                return decode(&text);
            }
        }
    }
}

pub(super) fn encode(octets: &[u8]) -> String {
    STANDARD_NO_PAD.encode(octets)
}

pub(super) fn decode(text: &str) -> Result<Vec<u8>, AgeError> {
    STANDARD_NO_PAD.decode(text).map_err(|_| AgeError::Form)
}
