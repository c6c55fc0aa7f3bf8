//! A TOML file read past its mistakes: every key is looked at, whatever was wrong before it.

use std::fmt::{self, Display};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something wrong with a file, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file.
    pub file: String,
    /// Its line, counted from 1.
    pub line: usize,
    /// The key, with the keys of the tables around it; empty for the file as a whole.
    pub key: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Mistake {}

/// What was found to be wrong so far.
#[derive(Debug)]
pub(super) struct Report<'t> {
    file: &'t str,
    text: &'t str,
    mistakes: Vec<Mistake>,
}

/// A table, less what was taken from it.
#[derive(Debug)]
pub(super) struct Table<'t> {
    entries: DeTable<'t>,
    at: Range<usize>,
    path: String,
    asked: Vec<&'static str>,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        let mistakes = Vec::new();
        Self {
            file,
            text,
            mistakes,
        }
    }

    /// The whole text; nothing where it is not TOML.
    pub(super) fn root(&mut self) -> Option<Table<'t>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let what = format!("not TOML: {}", error.message());
            self.note(&error.span().unwrap_or_default(), String::new(), what);
        }
        let at = root.span();
        errors
            .is_empty()
            .then(|| Table::new(root.into_inner(), at, String::new()))
    }

    pub(super) fn note(&mut self, at: &Range<usize>, key: String, what: impl Display) {
        let before = self.text.bytes().take(at.start);
        let mistake = Mistake {
            file: self.file.to_owned(),
            line: 1 + before.filter(|byte| *byte == b'\n').count(),
            key,
            what: what.to_string(),
        };
        // The parser stumbles again over what it has just stumbled over.
        let again = |other: &Mistake| other.line == mistake.line && other.key == mistake.key;
        if !self.mistakes.iter().any(again) {
            self.mistakes.push(mistake);
        }
    }

    /// What was made of the text, if nothing was wrong with it.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, Vec<Mistake>> {
        match value {
            Some(value) if self.mistakes.is_empty() => Ok(value),
            _ => {
                self.mistakes.sort();
                Err(self.mistakes)
            }
        }
    }
}

impl<'t> Table<'t> {
    fn new(entries: DeTable<'t>, at: Range<usize>, path: String) -> Self {
        let asked = Vec::new();
        Self {
            entries,
            at,
            path,
            asked,
        }
    }

    /// The key with those around it.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.entries.remove(key)
    }

    /// Notes what is wrong with the table.
    pub(super) fn note(&self, report: &mut Report<'_>, key: &str, what: impl Display) {
        report.note(&self.at, self.key(key), what);
    }

    /// What `read` makes of a value; `right` says what it would take.
    fn value<T>(
        &mut self,
        report: &mut Report<'_>,
        (key, right): (&'static str, &dyn Display),
        read: impl FnOnce(&DeValue<'_>) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let read = read(value.get_ref());
        if read.is_none() {
            report.note(&value.span(), self.key(key), format!("must be {right}"));
        }
        read
    }

    pub(super) fn text(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<String> {
        let right = "text that is not empty";
        self.value(report, (key, &right), |value| {
            let text = value.as_str().filter(|text| !text.is_empty());
            text.map(str::to_owned)
        })
    }

    pub(super) fn duration(
        &mut self,
        report: &mut Report<'_>,
        (key, range): (&'static str, RangeInclusive<Duration>),
    ) -> Option<Duration> {
        let (least, most) = (range.start(), range.end());
        let right = format!("a time from {least:?} to {most:?}, such as \"500ms\", \"5s\", \"2m\"");
        self.value(report, (key, &right), |value| {
            let duration = value.as_str().and_then(duration);
            duration.filter(|duration| range.contains(duration))
        })
    }

    pub(super) fn number(
        &mut self,
        report: &mut Report<'_>,
        (key, range): (&'static str, RangeInclusive<u32>),
    ) -> Option<u32> {
        let right = format!("a whole number from {} to {}", range.start(), range.end());
        self.value(report, (key, &right), |value| {
            let number = value.as_integer()?;
            let number = u32::from_str_radix(number.as_str(), number.radix()).ok()?;
            range.contains(&number).then_some(number)
        })
    }

    /// One of these by its name.
    pub(super) fn choice<T: Copy>(
        &mut self,
        report: &mut Report<'_>,
        (key, all): (&'static str, &[(&str, T)]),
    ) -> Option<T> {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        let right = format!("one of {}", names.join(", "));
        self.value(report, (key, &right), |value| {
            let name = value.as_str()?;
            let (_, choice) = all.iter().find(|(other, _)| *other == name)?;
            Some(*choice)
        })
    }

    /// Each one of these names.
    pub(super) fn names(
        &mut self,
        report: &mut Report<'_>,
        (key, all): (&'static str, &[&str]),
    ) -> Vec<String> {
        let right = format!("a list of any of {}", all.join(", "));
        let names = self.value(report, (key, &right), |value| {
            let name = |value: &Spanned<DeValue<'_>>| {
                let name = value.get_ref().as_str()?;
                all.contains(&name).then(|| name.to_owned())
            };
            value.as_array()?.iter().map(name).collect()
        });
        names.unwrap_or_default()
    }

    pub(super) fn table(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<Self> {
        let value = self.take(key)?;
        let (at, path) = (value.span(), self.key(key));
        if let DeValue::Table(entries) = value.into_inner() {
            return Some(Self::new(entries, at, path));
        }
        report.note(&at, path, "must be a table");
        None
    }

    /// The tables of a list.
    pub(super) fn tables(&mut self, report: &mut Report<'_>, key: &'static str) -> Vec<Self> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let (at, path) = (value.span(), self.key(key));
        let DeValue::Array(items) = value.into_inner() else {
            report.note(&at, path, format!("must be tables, each after [[{key}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (number, item) in items.into_iter().enumerate() {
            let (at, path) = (item.span(), format!("{path}[{number}]"));
            match item.into_inner() {
                DeValue::Table(entries) => tables.push(Self::new(entries, at, path)),
                _ => report.note(&at, path, format!("must be a table after [[{key}]]")),
            }
        }
        tables
    }

    /// Notes that a key must be there.
    pub(super) fn needed<T>(
        &self,
        report: &mut Report<'_>,
        (key, value): (&'static str, Option<T>),
    ) -> Option<T> {
        let path = self.key(key);
        let is_noted = report.mistakes.iter().any(|mistake| mistake.key == path);
        if value.is_none() && !is_noted {
            report.note(&self.at, path, "is missing");
        }
        value
    }

    /// Whatever was not asked for does not exist.
    pub(super) fn end(self, report: &mut Report<'_>) {
        let known = format!("there is no such key; there are {}", self.asked.join(", "));
        for (key, _) in &self.entries {
            report.note(&key.span(), self.key(key.get_ref()), &known);
        }
    }
}

/// A whole number and its unit.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}
