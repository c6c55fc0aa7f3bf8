//! Lists in CSV (RFC 4180): a header, a column `device_id`, and a column for each attribute.
//!
//! An empty cell says nothing of its device.

use csv::{ByteRecord, ReaderBuilder};

use super::{ID_COLUMN, Reading};

pub(super) fn read(text: &[u8], reading: &mut Reading) {
    // Rows of another length are found here, where their line is known.
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(text);
    let header = match reader.byte_headers() {
        Ok(header) => header.clone(),
        Err(error) => return reading.mistake(1, None, error),
    };
    let mut lines = Lines {
        text,
        at: 0,
        line: 1,
    };
    let line = lines.of(&header);
    let Some(columns) = columns(line, &header, reading) else {
        return;
    };
    let mut record = ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => row((lines.of(&record), &record), &columns, reading),
            Ok(false) => return,
            Err(error) => return reading.mistake(1, None, error),
        }
    }
}

/// On which line of the text each record begins. The reader's own count is behind by one where
/// lines end in CRLF.
struct Lines<'a> {
    text: &'a [u8],
    /// Up to here the lines were counted.
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the next record.
    fn of(&mut self, record: &ByteRecord) -> u64 {
        let begin = record.position().map_or(0, csv::Position::byte);
        let begin = usize::try_from(begin).unwrap_or(self.text.len());
        // What ended the record before, and empty lines, come first.
        let ends = self.text.get(begin..).unwrap_or_default().iter();
        let ends = ends.take_while(|octet| matches!(octet, b'\r' | b'\n'));
        let begin = begin + ends.count();
        let passed = self.text.get(self.at..begin).unwrap_or_default();
        let newlines = passed.iter().filter(|octet| **octet == b'\n');
        self.line += newlines.map(|_| 1).sum::<u64>();
        self.at = begin;
        self.line
    }
}

/// The names of the columns; `None` when one has none that is good.
fn columns(line: u64, header: &ByteRecord, reading: &mut Reading) -> Option<Vec<String>> {
    let mut columns: Vec<String> = Vec::with_capacity(header.len());
    let before = reading.mistakes.len();
    for name in header {
        let Ok(name) = std::str::from_utf8(name) else {
            reading.mistake(line, None, "the name of a column is not in UTF-8");
            continue;
        };
        if columns.iter().any(|other| other == name) {
            reading.mistake(line, Some(name), "there are two columns of this name");
        } else if name == ID_COLUMN || reading.take_name(line, name) {
            columns.push(name.to_owned());
        }
    }
    if !columns.iter().any(|name| name == ID_COLUMN) {
        reading.mistake(line, None, format!("there is no column {ID_COLUMN}"));
    }
    (reading.mistakes.len() == before).then_some(columns)
}

fn row((line, record): (u64, &ByteRecord), columns: &[String], reading: &mut Reading) {
    if record.len() != columns.len() {
        let (found, expected) = (record.len(), columns.len());
        let what = format!("{found} cells stand under {expected} columns");
        return reading.mistake(line, None, what);
    }
    let (mut id, mut values) = (None, Vec::with_capacity(columns.len()));
    for (name, cell) in columns.iter().zip(record) {
        let Ok(cell) = std::str::from_utf8(cell) else {
            return reading.mistake(line, Some(name), "is not in UTF-8");
        };
        if name == ID_COLUMN {
            id = Some(cell);
        } else if !cell.is_empty() {
            values.push((name.as_str(), cell));
        }
    }
    reading.take(line, id, &values);
}
