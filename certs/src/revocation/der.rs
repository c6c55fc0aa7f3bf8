//! DER, one value after the other (X.690 §8, §10.1): of definite and shortest length.
//!
//! A reader cannot run off the end, and what is left over is for its owner to refuse. Lists of
//! 100,000 entries are read with it, so it keeps nothing and copies nothing.

use time::{Date, Month, PrimitiveDateTime, Time};

use rustls_pki_types::UnixTime;
use std::time::Duration;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// `[n]`, of a constructed type or explicit.
pub(super) const fn constructed(n: u8) -> u8 {
    0xa0 | n
}

/// `[n]`, implicit, of a primitive type.
pub(super) const fn primitive(n: u8) -> u8 {
    0x80 | n
}

/// The octets do not follow the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// The content with its tag and length.
    pub(super) whole: &'a [u8],
}

/// The values that have not been read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a> {
    rest: &'a [u8],
}

impl<'a> Der<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The tag of the value that comes next.
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The value that comes next.
    pub(super) fn any(&mut self) -> Result<Value<'a>, Broken> {
        let (&tag, after_tag) = self.rest.split_first().ok_or(Broken)?;
        // A tag number of 31 and more takes several octets; nothing that we read has one.
        if tag & 0x1f == 0x1f {
            return Err(Broken);
        }
        let (len, after_len) = length(after_tag)?;
        let (content, rest) = after_len.split_at_checked(len).ok_or(Broken)?;
        let whole_len = self.rest.len() - rest.len();
        let whole = self.rest.get(..whole_len).ok_or(Broken)?;
        self.rest = rest;
        Ok(Value {
            tag,
            content,
            whole,
        })
    }

    /// The value that comes next, which must have `tag`.
    pub(super) fn value(&mut self, tag: u8) -> Result<Value<'a>, Broken> {
        if self.peek() == Some(tag) {
            self.any()
        } else {
            Err(Broken)
        }
    }

    /// The content of the value that comes next, which must have `tag`.
    pub(super) fn content(&mut self, tag: u8) -> Result<&'a [u8], Broken> {
        self.value(tag).map(|value| value.content)
    }

    /// As [`Self::content`], of a value that may be missing.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Broken> {
        if self.peek() == Some(tag) {
            self.content(tag).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A truth value that is false when it is missing.
    pub(super) fn flag(&mut self, tag: u8) -> Result<bool, Broken> {
        match self.optional(tag)? {
            None | Some([0]) => Ok(false),
            Some([0xff]) => Ok(true),
            Some(_) => Err(Broken),
        }
    }

    /// A time in either of the two forms (RFC 5280 §4.1.2.5).
    pub(super) fn time(&mut self) -> Result<UnixTime, Broken> {
        let value = self.any()?;
        time(value.tag, value.content)
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Broken> {
        if self.is_empty() { Ok(()) } else { Err(Broken) }
    }
}

/// Splits a definite length, written as short as it can be, from what follows it.
fn length(octets: &[u8]) -> Result<(usize, &[u8]), Broken> {
    let (&first, rest) = octets.split_first().ok_or(Broken)?;
    if first < 0x80 {
        return Ok((usize::from(first), rest));
    }
    let (digits, rest) = rest
        .split_at_checked(usize::from(first & 0x7f))
        .ok_or(Broken)?;
    let shortest = digits.first().is_some_and(|digit| *digit != 0) && digits != [0x00];
    if !shortest || digits.len() > 4 {
        return Err(Broken);
    }
    let len = digits
        .iter()
        .fold(0_usize, |len, digit| len << 8 | usize::from(*digit));
    if len < 0x80 {
        Err(Broken)
    } else {
        Ok((len, rest))
    }
}

/// Seconds are there, fractions are not, and the zone is `Z` (RFC 5280 §4.1.2.5.1, §4.1.2.5.2).
fn time(tag: u8, text: &[u8]) -> Result<UnixTime, Broken> {
    let (digits, zone) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or(Broken)?;
    if zone != b"Z" || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Broken);
    }
    let (pairs, rest) = digits.as_chunks::<2>();
    let mut pairs = pairs
        .iter()
        .map(|[tens, ones]| (tens - b'0') * 10 + (ones - b'0'));
    let mut pair = || pairs.next().ok_or(Broken);
    let year = match (tag, digits.len()) {
        (UTC_TIME, 12) => match i32::from(pair()?) {
            year @ 0..50 => 2000 + year,
            year => 1900 + year,
        },
        (GENERALIZED_TIME, 14) => i32::from(pair()?) * 100 + i32::from(pair()?),
        _ => return Err(Broken),
    };
    let month = Month::try_from(pair()?).map_err(|_| Broken)?;
    let date = Date::from_calendar_date(year, month, pair()?).map_err(|_| Broken)?;
    let time = Time::from_hms(pair()?, pair()?, pair()?).map_err(|_| Broken)?;
    let seconds = PrimitiveDateTime::new(date, time)
        .assume_utc()
        .unix_timestamp();
    debug_assert!(rest.is_empty(), "both forms have an even number of digits");
    // Times before 1970 are as good as 1970.
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(
        u64::try_from(seconds).unwrap_or(0),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_690_10_1_a_length_is_definite_and_as_short_as_it_can_be() {
        for (octets, expected) in [
            (&b"\x04\x01a"[..], Ok(&b"a"[..])),
            (b"\x04\x00", Ok(b"")),
            (b"\x04\x81\x01a", Err(Broken)),
            (b"\x04\x82\x00\x80", Err(Broken)),
            (b"\x04\x80a\x00\x00", Err(Broken)),
            (b"\x04\x85\x01\x00\x00\x00\x00", Err(Broken)),
            (b"\x04\x02a", Err(Broken)),
            (b"\x04", Err(Broken)),
            (b"", Err(Broken)),
            (b"\x05\x00", Err(Broken)),
        ] {
            assert_eq!(
                Der::new(octets).content(OCTET_STRING),
                expected,
                "{octets:?}"
            );
        }
        let long = [&b"\x04\x81\x80"[..], &[7; 0x80]].concat();
        let value = Der::new(&long).any().unwrap();
        assert_eq!((value.content, value.whole), (&long[3..], &long[..]));
        assert_eq!(Der::new(b"\x1f\x81\x01\x00").any(), Err(Broken));
    }

    #[test]
    fn rfc_5280_4_1_2_5_a_time_has_seconds_and_is_in_utc() {
        let read = |tag, text: &str| time(tag, text.as_bytes()).map(|time| time.as_secs());
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Ok(0)),
            (UTC_TIME, "491231235959Z", Ok(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Ok(0)),
            (GENERALIZED_TIME, "20500101000000Z", Ok(2_524_608_000)),
            (GENERALIZED_TIME, "20240229000000Z", Ok(1_709_164_800)),
            (GENERALIZED_TIME, "20250229000000Z", Err(Broken)),
            (GENERALIZED_TIME, "20250101000060Z", Err(Broken)),
            (GENERALIZED_TIME, "20250101000000.5Z", Err(Broken)),
            (GENERALIZED_TIME, "20250101000000", Err(Broken)),
            (GENERALIZED_TIME, "20250101000000+0100", Err(Broken)),
            (GENERALIZED_TIME, "700101000000Z", Err(Broken)),
            (UTC_TIME, "7001010000Z", Err(Broken)),
            (UTC_TIME, "", Err(Broken)),
            (INTEGER, "700101000000Z", Err(Broken)),
        ] {
            assert_eq!(read(tag, text), expected, "{text}");
        }
    }

    #[test]
    fn a_flag_is_true_false_or_broken() {
        for (octets, expected) in [
            (&b"\x01\x01\xff"[..], Ok(true)),
            (b"\x01\x01\x00", Ok(false)),
            (b"", Ok(false)),
            (b"\x02\x01\xff", Ok(false)),
            (b"\x01\x01\x01", Err(Broken)),
            (b"\x01\x02\xff\xff", Err(Broken)),
        ] {
            assert_eq!(Der::new(octets).flag(BOOLEAN), expected, "{octets:?}");
        }
    }
}
