//! The chain: each line carries the SHA-256 of itself and of the link before it.
//!
//! A line is an object of JSON whose last field is its link; what is hashed is the link before, as
//! it is written, and all of the line in front of its own.

use aws_lc_rs::digest::{Context, SHA256};
use certs::Hex;

/// What stands between a line and its link.
const SEAM: &str = ",\"chain\":\"";
const END: &str = "\"}";
/// Hex digits of a link.
const LINK_LEN: usize = 64;

/// The last link, in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link(Box<str>);

impl Link {
    /// What a first line of all follows.
    pub(super) fn none() -> Self {
        Self("0".repeat(LINK_LEN).into())
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_hex = |octet: u8| octet.is_ascii_digit() || (b'a'..=b'f').contains(&octet);
        let is_link = text.len() == LINK_LEN && text.bytes().all(is_hex);
        is_link.then(|| Self(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The link of what is written of a line in front of it.
    fn next(&self, body: &str) -> Self {
        let mut digest = Context::new(&SHA256);
        digest.update(self.0.as_bytes());
        digest.update(body.as_bytes());
        Self(Hex(digest.finish().as_ref()).to_string().into())
    }

    /// Makes a line of an object, without its end of line, and goes on to its link.
    pub(super) fn append(&mut self, object: &str) -> String {
        let body = object.strip_suffix('}').unwrap_or(object);
        *self = self.next(body);
        [body, SEAM, self.as_str(), END].concat()
    }

    /// The link of `line`, if that follows this one.
    pub(super) fn follow(&self, line: &str) -> Option<Self> {
        let (body, written) = line.strip_suffix(END)?.rsplit_once(SEAM)?;
        let next = self.next(body);
        (next.as_str() == written).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_follows_the_one_before_it_and_no_other() {
        let mut link = Link::none();
        let start = link.clone();
        let first = link.append(r#"{"a":1}"#);
        let after_first = link.clone();
        let second = link.append(r#"{"a":",\"chain\":\""}"#);
        assert!(
            serde_json::from_str::<serde_json::Value>(&second).is_ok(),
            "{second}"
        );
        assert_eq!(start.follow(&first), Some(after_first.clone()));
        assert_eq!(after_first.follow(&second), Some(link.clone()));
        assert_eq!(start.follow(&second), None);
        assert_eq!(link.follow(&first), None);
    }

    #[test]
    fn the_first_link_is_what_sha256sum_says() {
        // { printf '0%.0s' {1..64}; printf '{"a":1'; } | sha256sum
        let mut link = Link::none();
        link.append(r#"{"a":1}"#);
        assert_eq!(
            link.as_str(),
            "a6fc8d7dbf738917ee8344e1cd5486b01255b25fe5de4df9be7af29689f6a1aa"
        );
    }
}
