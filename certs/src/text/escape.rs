//! Foreign text on its way into a log line: printable, on one line, of bounded length.
//!
//! Nothing that a peer chose can end a log line, colour it, reverse it or flood it.

use std::fmt::Write as _;

/// Room for an ordinary distinguished name; the rest of a longer text tells nobody anything.
const ESCAPED_LEN_MAX: usize = 256;

/// `text` with control, formatting and quoting characters escaped, and cut with `…` when too long.
pub(crate) fn escaped(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() >= ESCAPED_LEN_MAX {
            line.push('…');
            break;
        }
        if c == '\'' {
            line.push(c);
        } else {
            // Writing to a string does not fail.
            let _ = write!(line, "{}", c.escape_debug());
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_log_line_is_escaped() {
        let cases = [
            ("CN=dev-1, O=Müller's", "CN=dev-1, O=Müller's"),
            ("a\nb\r\0", "a\\nb\\r\\0"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("\u{202e}\u{200f}\u{2066}", "\\u{202e}\\u{200f}\\u{2066}"),
            ("\u{2028}\u{85}", "\\u{2028}\\u{85}"),
            ("e\u{301}", "e\\u{301}"),
            ("\"", "\\\""),
        ];
        for (text, line) in cases {
            assert_eq!(escaped(text), line);
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let line = escaped(&"é".repeat(30_000));
        assert!(line.len() < ESCAPED_LEN_MAX + 8, "{}", line.len());
        assert!(line.ends_with('…'));
    }
}
