//! A mistake of the operator in a file: where it stands and what would be right.
//!
//! Reading goes on past a mistake, so that all are told at once; a file with one is not used.

use std::fmt::{self, Write as _};

/// One mistake in a file that an operator wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as its reader was told.
    pub file: String,
    /// The line, counted from 1, where the mistake has one.
    pub line: Option<usize>,
    /// The key with the tables around it, `listener.address`; empty where there is none.
    pub key: String,
    /// What is wrong and what would be right.
    pub what: String,
}

impl std::error::Error for Mistake {}

impl fmt::Display for Mistake {
    /// One line: what stands in the file cannot end it or colour it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, &self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            f.write_str(": ")?;
            write_line(f, &self.key)?;
        }
        f.write_str(": ")?;
        write_line(f, &self.what)
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() {
            write!(f, "{}", c.escape_default())?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_says_where_it_is_on_one_line() {
        let mut mistake = Mistake {
            file: "policy.toml".into(),
            line: Some(3),
            key: "rule.publish".into(),
            what: "\"a\u{1b}[31m\n\" is not a topic filter".into(),
        };
        assert_eq!(
            mistake.to_string(),
            "policy.toml:3: rule.publish: \"a\\u{1b}[31m\\n\" is not a topic filter"
        );
        mistake.line = None;
        mistake.key.clear();
        mistake.what = "no rules".into();
        assert_eq!(mistake.to_string(), "policy.toml: no rules");
    }
}
