//! Window: the days and hours in which a rule is in force, in UTC.
//!
//! `"mon-fri 08:00-18:00"`. A window that passes midnight belongs to the day on which it begins.

use crate::engine::time::Time;
use std::fmt;
use std::str::FromStr;

/// Hours on some days of the week.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Window {
    written: Box<str>,
    /// From Monday.
    days: [bool; 7],
    /// In minutes of the day. Where they are the same, the whole day.
    from: u16,
    to: u16,
}

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
const DAY_NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Window {
    /// Whether it is open at this time.
    pub(super) fn holds(&self, now: Time) -> bool {
        let (day, minute) = (now.millis() / DAY, now.millis() % DAY / MINUTE);
        let (from, to) = (u64::from(self.from), u64::from(self.to));
        if from < to {
            return self.is_on(day) && (from..to).contains(&minute);
        }
        // Six days on is the weekday of yesterday.
        self.is_on(day) && minute >= from || self.is_on(day + 6) && minute < to
    }

    /// A moment up to which nothing changes, behind `now`.
    pub(super) fn unchanged_until(&self, now: Time) -> Time {
        let midnight = now.millis() / DAY * DAY;
        let edges = [
            u64::from(self.from) * MINUTE,
            u64::from(self.to) * MINUTE,
            DAY,
        ];
        let next = edges
            .into_iter()
            .map(|edge| midnight + edge)
            .filter(|edge| *edge > now.millis())
            .min();
        Time::from_millis(next.unwrap_or(midnight + DAY))
    }

    /// `day` is counted from the first of January 1970, a Thursday.
    fn is_on(&self, day: u64) -> bool {
        let weekday = usize::try_from((day + 3) % 7);
        weekday.is_ok_and(|day| self.days.get(day).copied().unwrap_or(false))
    }
}

impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let invalid = || InvalidWindow(text.into());
        let mut window = Self {
            written: text.into(),
            days: [true; 7],
            from: 0,
            to: 0,
        };
        let mut words = text.split_ascii_whitespace();
        let mut word = words.next().ok_or_else(invalid)?;
        if !word.starts_with(|c: char| c.is_ascii_digit()) {
            window.days = days(word).ok_or_else(invalid)?;
            let Some(hours) = words.next() else {
                return Ok(window);
            };
            word = hours;
        }
        let (from, to) = word.split_once('-').ok_or_else(invalid)?;
        window.from = minute(from)
            .filter(|from| *from < 1440)
            .ok_or_else(invalid)?;
        window.to = minute(to).ok_or_else(invalid)? % 1440;
        let is_empty = from == to;
        if is_empty || words.next().is_some() {
            return Err(invalid());
        }
        Ok(window)
    }
}

/// `mon-fri`, `sat,sun`, `fri-mon,wed`.
fn days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (day(first)?, day(last)?);
        *days.get_mut(day)? = true;
        while day != last {
            day = (day + 1) % 7;
            *days.get_mut(day)? = true;
        }
    }
    Some(days)
}

fn day(name: &str) -> Option<usize> {
    DAY_NAMES
        .iter()
        .position(|known| known.eq_ignore_ascii_case(name))
}

/// `08:00`, up to `24:00`.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |digits: &str| {
        (digits.len() == 2)
            .then(|| digits.parse::<u16>().ok())
            .flatten()
    };
    let (hour, minute) = (two(hour)?, two(minute).filter(|minute| *minute < 60)?);
    Some(hour * 60 + minute).filter(|minute| *minute <= 1440)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} UTC", self.written)
    }
}

/// The text is no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: write days, hours or both, in UTC, as in \"mon-fri 08:00-18:00\" or \"sat,sun\"")]
pub(super) struct InvalidWindow(String);

#[cfg(test)]
mod tests {
    use super::*;

    /// A time in the week from Monday, the third of January 2022.
    fn time(day: u64, hour: u64, minute: u64) -> Time {
        let monday = 1_641_168_000_000;
        Time::from_millis(monday + day * DAY + (hour * 60 + minute) * MINUTE)
    }

    #[track_caller]
    fn check(window: &str, open: &[(u64, u64, u64)], shut: &[(u64, u64, u64)]) {
        let window: Window = window.parse().unwrap();
        for (day, hour, minute) in open {
            assert!(
                window.holds(time(*day, *hour, *minute)),
                "{window} {day} {hour}:{minute}"
            );
        }
        for (day, hour, minute) in shut {
            assert!(
                !window.holds(time(*day, *hour, *minute)),
                "{window} {day} {hour}:{minute}"
            );
        }
    }

    #[test]
    fn a_window_is_open_on_its_days_from_its_first_to_before_its_last_minute() {
        check(
            "mon-fri 08:00-18:00",
            &[(0, 8, 0), (4, 17, 59)],
            &[(0, 7, 59), (4, 18, 0), (5, 9, 0)],
        );
        check(
            "sat,sun",
            &[(5, 0, 0), (6, 23, 59)],
            &[(4, 23, 59), (7, 0, 0)],
        );
        check("08:00-09:00", &[(0, 8, 30), (6, 8, 30)], &[(2, 9, 0)]);
        check(
            "Fri-Mon 20:00-24:00",
            &[(4, 20, 0), (6, 23, 59), (0, 21, 0)],
            &[(1, 21, 0), (0, 0, 0)],
        );
    }

    #[test]
    fn what_passes_midnight_belongs_to_the_day_it_begins_on() {
        check(
            "fri 22:00-06:00",
            &[(4, 22, 0), (5, 5, 59)],
            &[(4, 5, 0), (5, 6, 0), (5, 22, 0)],
        );
        check(
            "sun 22:00-06:00",
            &[(6, 22, 0), (7, 5, 0)],
            &[(6, 5, 0), (7, 6, 0), (8, 5, 0)],
        );
    }

    #[test]
    fn nothing_changes_before_the_moment_it_says() {
        for text in [
            "mon-fri 08:00-18:00",
            "sat,sun",
            "fri 22:00-06:00",
            "00:01-00:02",
        ] {
            let window: Window = text.parse().unwrap();
            for minute in 0..8 * 24 * 60 {
                let now = time(0, 0, minute);
                let until = window.unchanged_until(now);
                assert!(until > now);
                let last = Time::from_millis(until.millis() - 1);
                assert_eq!(window.holds(now), window.holds(last), "{text} {minute}");
            }
        }
    }

    #[test]
    fn what_is_no_window_is_told() {
        for text in [
            "",
            "monday",
            "mon 8:00-9:00",
            "08:00",
            "08:00-08:00",
            "25:00-26:00",
            "24:00-01:00",
            "08:60-09:00",
            "mon-",
            "mon 08:00-09:00 x",
            "08:00-09:00 mon",
            "mon-fri-sun",
        ] {
            assert_eq!(
                Window::from_str(text),
                Err(InvalidWindow(text.into())),
                "{text:?}"
            );
        }
    }
}
