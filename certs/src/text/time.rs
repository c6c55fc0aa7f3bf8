//! Times as people and other programs read them (RFC 3339), to the second and in UTC.

use std::fmt;
use std::time::Duration;

use rustls_pki_types::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time, shown like `2026-11-22T07:14:18Z`.
#[derive(Clone, Copy, Debug)]
pub struct TimeText(pub UnixTime);

impl fmt::Display for TimeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let date = i64::try_from(seconds).ok().and_then(|seconds| {
            OffsetDateTime::from_unix_timestamp(seconds)
                .ok()?
                .format(&Rfc3339)
                .ok()
        });
        match date {
            Some(date) => f.write_str(&date),
            None => write!(f, "second {seconds}"),
        }
    }
}

/// Reads exactly what [`TimeText`] shows.
pub(crate) fn parse_time(text: &str) -> Option<UnixTime> {
    let date = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let seconds = u64::try_from(date.unix_timestamp()).ok()?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    (TimeText(time).to_string() == text).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn a_time_is_written_and_read_in_one_way() {
        let text = "2026-11-22T07:14:18Z";
        assert_eq!(TimeText(at(1_795_331_658)).to_string(), text);
        assert_eq!(parse_time(text), Some(at(1_795_331_658)));
        let other = [
            "2026-11-22T07:14:18.5Z",
            "2026-11-22T08:14:18+01:00",
            "2026-11-22",
            "",
        ];
        assert_eq!(other.map(parse_time), [None; 4]);
        assert_eq!(
            TimeText(at(u64::MAX)).to_string(),
            "second 18446744073709551615"
        );
    }
}
