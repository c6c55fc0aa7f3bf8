//! Moment: a time as a person writes it, in UTC.

use crate::engine::time::Time;
use std::str::FromStr;

/// A time that was written as `2026-01-05T09:30:00Z`; seconds and the `Z` may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub Time);

impl FromStr for Moment {
    type Err = InvalidMoment;

    fn from_str(text: &str) -> Result<Self, InvalidMoment> {
        read(text)
            .map(Self)
            .ok_or_else(|| InvalidMoment(text.into()))
    }
}

fn read(text: &str) -> Option<Time> {
    let (date, time) = text.strip_suffix('Z').unwrap_or(text).split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let (hours, rest) = time.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
    let [hour, minute, second] = [hours, minutes, seconds].map(|number| number.parse().ok());
    let (hour, minute, second): (u64, u64, u64) = (hour?, minute?, second?);
    let days_of_month = match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_date = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of_month).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Time::from_millis(seconds * 1000))
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let numbers: Option<Vec<u64>> = text
        .split(separator)
        .map(|number| number.parse().ok())
        .collect();
    numbers?.try_into().ok()
}

/// Days since 1970. A year begins with March here, so that the leap day is its last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    // From the first of March of the year 0 to the beginning of 1970.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The text is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time in UTC as in \"2026-01-05T09:30:00Z\"")]
pub struct InvalidMoment(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_in_utc() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00", 951_825_600),
            ("2026-01-05T09:30:15Z", 1_767_605_415),
            ("2100-03-01T00:00:00", 4_107_542_400),
        ] {
            let moment = text.parse::<Moment>().unwrap();
            assert_eq!(moment, Moment(Time::from_millis(seconds * 1000)), "{text}");
        }
        for text in [
            "",
            "2026-01-05",
            "2026-13-01T00:00",
            "2026-02-29T00:00",
            "2026-01-01T24:00",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }
}
