//! Moment: a time as a person writes it, in UTC.

use crate::engine::time::Time;
use std::fmt;
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

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.millis();
        let seconds = millis / 1000;
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}",
            seconds % 60
        )?;
        match millis % 1000 {
            0 => f.write_str("Z"),
            fraction => write!(f, ".{fraction:03}Z"),
        }
    }
}

/// The inverse of [`days`], by eras of 400 years.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    match month {
        0..10 => (year, month + 3, day),
        _ => (year + 1, month - 9, day),
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
    fn what_is_written_is_read_again() {
        for day in 0..200_000 {
            let moment = Moment(Time::from_millis(day * 86_400_000 + 3_723_000));
            let written = moment.to_string();
            assert!(written.ends_with("T01:02:03Z"), "{written}");
            assert_eq!(written.parse(), Ok(moment), "{written}");
        }
    }

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
