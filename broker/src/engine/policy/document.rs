//! A TOML document that an operator wrote, read past its mistakes.
//!
//! serde stops at the first mistake. Here the entry that holds it is left out and reading starts
//! again, so that one run names all of them; a value comes out only where there was none.

use super::Mistake;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Who has made this many mistakes does not read on; each costs one more reading.
const MISTAKES_MAX: usize = 100;

/// A document under reading, with what was found to be wrong in it.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    file: &'t str,
    text: &'t str,
    mistakes: Vec<Mistake>,
    left_out: Vec<LeftOut>,
}

/// An entry that was left out because of a mistake in it: it is wrong, but it is not missing.
#[derive(Debug)]
struct LeftOut {
    /// Where the table of the entry begins in the text.
    table: Range<usize>,
    /// The key, with the keys of the tables around it before it.
    path: Vec<String>,
}

impl<'t> Document<'t> {
    /// A document of this text, which stands in `file`.
    pub(crate) fn new(file: &'t str, text: &'t str) -> Self {
        Self {
            file,
            text,
            mistakes: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// All of the text that can be read as a `T`; nothing where the text is not TOML.
    pub(crate) fn read<T: Deserialize<'t>>(&mut self) -> Option<T> {
        let (mut root, errors) = DeTable::parse_recoverable(self.text);
        if !errors.is_empty() {
            self.not_toml(&errors);
            return None;
        }
        while self.mistakes.len() < MISTAKES_MAX {
            let error = match T::deserialize(toml::Deserializer::from(root.clone())) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let at = error.span().unwrap_or_default();
            let table = root.span();
            let Some(left_out) = leave_out(root.get_mut(), &table, &at) else {
                self.mistake(&at, "", error.message());
                return None;
            };
            self.mistake(&at, &left_out.path.join("."), error.message());
            self.left_out.push(left_out);
        }
        None
    }

    /// Notes that what stands at `at`, under `key`, is wrong.
    pub(crate) fn mistake(&mut self, at: &Range<usize>, key: &str, what: impl Display) {
        let line = self.line(at);
        self.mistakes.push(Mistake {
            line: Some(line),
            ..self.of_all(key, what)
        });
    }

    /// Notes what is wrong with the document as a whole.
    pub(crate) fn mistake_of_all(&mut self, key: &str, what: impl Display) {
        self.mistakes.push(self.of_all(key, what));
    }

    /// Whether `key` stands in `table`, but was left out because of a mistake already noted.
    pub(crate) fn is_left_out(&self, table: &Range<usize>, key: &str) -> bool {
        self.left_out
            .iter()
            .any(|entry| entry.table == *table && entry.path.last().is_some_and(|last| last == key))
    }

    /// Whether something is wrong with what stands under `key`, or within it.
    pub(crate) fn is_wrong(&self, key: &str) -> bool {
        self.mistakes.iter().any(|mistake| {
            mistake
                .key
                .strip_prefix(key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// The line of `at`, counted from 1.
    pub(crate) fn line(&self, at: &Range<usize>) -> usize {
        1 + self
            .text
            .bytes()
            .take(at.start)
            .filter(|byte| *byte == b'\n')
            .count()
    }

    /// The value that was made of the document, if nothing was wrong.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<T, Vec<Mistake>> {
        match value {
            Some(value) if self.mistakes.is_empty() => Ok(value),
            _ => {
                self.mistakes.sort_by_key(|mistake| mistake.line);
                Err(self.mistakes)
            }
        }
    }

    /// One mistake a line: the parser stumbles again over what it has just stumbled over.
    fn not_toml(&mut self, errors: &[toml::de::Error]) {
        let mut lines = BTreeSet::new();
        for error in errors {
            let at = error.span().unwrap_or_default();
            if lines.insert(self.line(&at)) {
                self.mistake(&at, "", format_args!("not TOML: {}", error.message()));
            }
        }
    }

    fn of_all(&self, key: &str, what: impl Display) -> Mistake {
        Mistake {
            file: self.file.to_owned(),
            line: None,
            key: key.to_owned(),
            what: what.to_string(),
        }
    }
}

/// Leaves out the outermost entry whose key or value stands at `wrong`.
fn leave_out(
    table: &mut DeTable<'_>,
    span: &Range<usize>,
    wrong: &Range<usize>,
) -> Option<LeftOut> {
    let found = table
        .iter()
        .find(|(key, value)| key.span() == *wrong || is_no_more_than(value, wrong))
        .map(|(key, _)| key.get_ref().to_string());
    if let Some(key) = found {
        table.remove(key.as_str());
        return Some(LeftOut {
            table: span.clone(),
            path: vec![key],
        });
    }
    table.iter_mut().find_map(|(key, value)| {
        let mut left_out = leave_out_within(value, span, wrong)?;
        left_out.path.insert(0, key.get_ref().to_string());
        Some(left_out)
    })
}

/// Whether nothing is left of `value` without what stands at `wrong`.
fn is_no_more_than(value: &Spanned<DeValue<'_>>, wrong: &Range<usize>) -> bool {
    value.span() == *wrong
        || value
            .get_ref()
            .as_array()
            .is_some_and(|items| items.len() == 1 && items.iter().all(|item| item.span() == *wrong))
}

fn leave_out_within(
    value: &mut Spanned<DeValue<'_>>,
    table: &Range<usize>,
    wrong: &Range<usize>,
) -> Option<LeftOut> {
    let span = value.span();
    match value.get_mut() {
        DeValue::Table(inner) => leave_out(inner, &span, wrong),
        DeValue::Array(items) => {
            if items.iter().any(|item| item.span() == *wrong) {
                let all = std::mem::replace(items, DeArray::new());
                *items = all
                    .into_iter()
                    .filter(|item| item.span() != *wrong)
                    .collect();
                return Some(LeftOut {
                    table: table.clone(),
                    path: Vec::new(),
                });
            }
            items
                .iter_mut()
                .find_map(|item| leave_out_within(item, table, wrong))
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::{List, Tables, table};

    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Farm {
        name: String,
        animal: Tables<Animal>,
        #[serde(deserialize_with = "table")]
        barn: Barn,
    }

    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Animal {
        legs: u8,
        ages: List<u8>,
    }

    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Barn {
        door: bool,
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let mut document = Document::new("farm.toml", text);
        let farm = document.read::<Farm>();
        let mistakes = match document.finish(farm) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.iter().map(Mistake::to_string).collect(),
        };
        assert_eq!(mistakes, expected, "{text}");
    }

    #[test]
    fn a_document_without_mistakes_is_a_value() {
        check("", &[]);
        check(
            "name = 'x'\n[[animal]]\nlegs = 4\nages = ['1', '2']\n[barn]\ndoor = true",
            &[],
        );
        check("animal = [{ ages = '1' }]\nbarn.door = false", &[]);
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_key() {
        check(
            "nam = 'x'\n[[animal]]\nlegs = 400\nages = [\n  '1',\n  'x',\n  3,\n]\n\
             [[animal]]\nlegs = 4\nlegs_ = 4\nages = []\n[barn]\ndoor = 'open'\n",
            &[
                "farm.toml:1: nam: unknown field `nam`, expected one of `name`, `animal`, `barn`",
                "farm.toml:3: animal.legs: invalid value: integer `400`, expected u8",
                "farm.toml:6: animal.ages: invalid digit found in string",
                "farm.toml:7: animal.ages: invalid type: integer `3`, expected a string",
                "farm.toml:11: animal.legs_: unknown field `legs_`, expected `legs` or `ages`",
                "farm.toml:12: animal.ages: an empty list; fill it or leave the key out",
                "farm.toml:14: barn.door: invalid type: string \"open\", expected a boolean",
            ],
        );
    }

    #[test]
    fn a_list_whose_only_string_is_wrong_is_not_called_empty_too() {
        check(
            "[[animal]]\nages = ['x']",
            &["farm.toml:2: animal.ages: invalid digit found in string"],
        );
        check(
            "[[animal]]\nages = 'x'",
            &["farm.toml:2: animal.ages: invalid digit found in string"],
        );
    }

    #[test]
    fn a_table_in_the_wrong_form_is_told_which_is_right() {
        let form = "expected tables, each below the key in double brackets, `[[…]]`";
        check(
            "[animal]\nlegs = 4",
            &[&format!("farm.toml:1: animal: invalid type: map, {form}")],
        );
        check(
            "animal = 4",
            &[&format!(
                "farm.toml:1: animal: invalid type: integer `4`, {form}"
            )],
        );
        check(
            "animal = [[4]]\n[[barn]]",
            &[
                "farm.toml:1: animal: invalid type: sequence, \
                 expected a table, below its key in brackets, `[…]`",
                "farm.toml:2: barn: invalid type: sequence, \
                 expected a table, below its key in brackets, `[…]`",
            ],
        );
    }

    #[test]
    fn what_is_not_toml_is_told_once_a_line() {
        check(
            "name = 'x'\nname = 'y'",
            &["farm.toml:2: not TOML: duplicate key"],
        );
        check(
            "name = = 'x'\n[[animal\n",
            &[
                "farm.toml:1: not TOML: extra `=`, expected nothing",
                "farm.toml:2: not TOML: unclosed array table, expected `]]`",
            ],
        );
    }

    #[test]
    fn reading_ends_at_the_maximum_of_mistakes() {
        let lines: Vec<String> = (0..1000).map(|n| format!("x{n} = 1")).collect();
        let lines = lines.join("\n");
        let mut document = Document::new("farm.toml", &lines);
        assert!(document.read::<Farm>().is_none());
        assert_eq!(
            document.finish::<Farm>(None).err().map(|all| all.len()),
            Some(MISTAKES_MAX)
        );
    }
}
