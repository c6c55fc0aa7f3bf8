//! Lists of devices, as operators have them: CSV with a header, or a JSON object a line.
//!
//! A list is read whole before anything is done with it: either every row is good, or every mistake
//! is named by line and column. Nothing is trimmed, guessed or left out.

mod csv;
mod jsonl;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use certs::{DeviceId, LABELS_MAX, check_name, check_value};
use thiserror::Error;

use crate::error::CommandError;
use crate::files;

/// A list for a million devices fits; a larger one is a mistake or an attack.
const ROSTER_LEN_MAX: usize = 256 * 1024 * 1024;

/// The column that names the device.
const ID_COLUMN: &str = "device_id";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// So many octets of a foreign name are quoted.
const QUOTED_LEN_MAX: usize = 40;

/// A list in which every row is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roster {
    /// Its rows, at least one.
    pub(crate) entries: Vec<Entry>,
    /// SHA-256 of the file.
    pub(crate) sha256: [u8; 32],
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The line of the file on which it begins, counted from 1.
    pub(crate) line: u64,
    pub(crate) id: DeviceId,
    pub(crate) attributes: BTreeMap<Box<str>, Box<str>>,
}

/// What is wrong in a list, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}{}: {what}", in_column(.column.as_deref()))]
pub struct Mistake {
    /// The line, counted from 1.
    pub line: u64,
    /// The column, when it is one column's.
    pub column: Option<Box<str>>,
    /// What is wrong.
    pub what: Box<str>,
}

impl Mistake {
    pub(crate) fn new(line: u64, column: Option<&str>, what: impl fmt::Display) -> Self {
        Self {
            line,
            column: column.map(|column| quoted(column).into()),
            what: what.to_string().into(),
        }
    }

    pub(crate) fn of_id(line: u64, what: impl fmt::Display) -> Self {
        Self::new(line, Some(ID_COLUMN), what)
    }
}

impl Roster {
    /// Reads the list in the file `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, CommandError> {
        let octets = files::read_up_to(path, ROSTER_LEN_MAX)?;
        Self::read(&octets).map_err(|mistakes| CommandError::Roster {
            path: path.into(),
            mistakes,
        })
    }

    /// Reads a list: JSON when it begins with a brace, which no CSV of ours does.
    fn read(octets: &[u8]) -> Result<Self, Vec<Mistake>> {
        let text = octets.strip_prefix(BYTE_ORDER_MARK).unwrap_or(octets);
        if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
            let what = "the list is in UTF-16; save it as UTF-8";
            return Err(vec![Mistake::new(1, None, what)]);
        }
        let first = text.iter().find(|octet| !octet.is_ascii_whitespace());
        let mut reading = Reading::default();
        match first {
            Some(b'{') => jsonl::read(text, &mut reading),
            Some(_) | None => csv::read(text, &mut reading),
        }
        let entries = reading.finish()?;
        let sha256 = certs::sha256(octets);
        Ok(Self { entries, sha256 })
    }
}

/// What was read so far.
#[derive(Debug, Default)]
struct Reading {
    entries: Vec<Entry>,
    mistakes: Vec<Mistake>,
    /// On which line each id is, in lower case, and how it is spelled there.
    ids: HashMap<String, (u64, DeviceId)>,
}

impl Reading {
    fn mistake(&mut self, line: u64, column: Option<&str>, what: impl fmt::Display) {
        self.mistakes.push(Mistake::new(line, column, what));
    }

    /// Takes one row, of which each name was checked.
    fn take(&mut self, line: u64, id: Option<&str>, values: &[(&str, &str)]) {
        let before = self.mistakes.len();
        let id = self.take_id(line, id);
        for (name, value) in values {
            if let Err(why) = check_value(value) {
                self.mistake(line, Some(name), why);
            }
        }
        if values.len() > LABELS_MAX {
            let what = format!("{} attributes are too many", values.len());
            self.mistake(line, None, what);
        }
        match id {
            Some(id) if self.mistakes.len() == before => {
                let attributes = values.iter().map(|(n, v)| ((*n).into(), (*v).into()));
                let attributes = attributes.collect();
                self.entries.push(Entry {
                    line,
                    id,
                    attributes,
                });
            }
            Some(_) | None => {}
        }
    }

    fn take_id(&mut self, line: u64, id: Option<&str>) -> Option<DeviceId> {
        let Some(id) = id else {
            self.mistakes.push(Mistake::of_id(line, "is missing"));
            return None;
        };
        let id = DeviceId::parse(id)
            .map_err(|why| self.mistakes.push(Mistake::of_id(line, why)))
            .ok()?;
        let known = self.ids.get(&id.as_str().to_ascii_lowercase());
        if let Some((other, spelled)) = known {
            let what = if *spelled == id {
                format!("{id} is on line {other} already")
            } else {
                format!("{id} is {spelled} on line {other}; ids differ by more than case")
            };
            self.mistakes.push(Mistake::of_id(line, what));
            return None;
        }
        let key = id.as_str().to_ascii_lowercase();
        self.ids.insert(key, (line, id.clone()));
        Some(id)
    }

    /// Checks the name of an attribute.
    fn take_name(&mut self, line: u64, name: &str) -> bool {
        check_name(name)
            .map_err(|why| self.mistake(line, Some(name), why))
            .is_ok()
    }

    fn finish(mut self) -> Result<Vec<Entry>, Vec<Mistake>> {
        if self.entries.is_empty() && self.mistakes.is_empty() {
            self.mistake(1, None, "there is no device in the list");
        }
        if self.mistakes.is_empty() {
            Ok(self.entries)
        } else {
            Err(self.mistakes)
        }
    }
}

fn in_column(column: Option<&str>) -> String {
    let named = column.map(|column| format!(", column {column}"));
    named.unwrap_or_default()
}

/// A foreign name on one line, cut when it is long.
fn quoted(text: &str) -> String {
    let plain = check_name(text).is_ok();
    if plain {
        return text.to_owned();
    }
    let mut end = text.len().min(QUOTED_LEN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (cut, rest) = text.split_at(end);
    let more = if rest.is_empty() { "" } else { "…" };
    format!("\"{}{more}\"", cut.escape_debug())
}

#[cfg(test)]
mod tests;
