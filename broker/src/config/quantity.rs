//! Numbers, sizes and durations in the configuration file, each within its range.
//!
//! A quantity that was read is in its range; one that is not says what would be.

use super::section::Value;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

/// From `MIN` to `MAX`, in the base unit of `S`, kept as a `T`.
#[derive(Debug)]
pub(super) struct Quantity<T, S, const MIN: u64, const MAX: u64> {
    pub(super) value: T,
    scale: PhantomData<S>,
}

/// A whole number.
pub(super) type Count<T, const MIN: u64, const MAX: u64> = Quantity<T, Numbers, MIN, MAX>;
/// Bytes: a number, or a string with a unit.
pub(super) type Size<T, const MIN: u64, const MAX: u64> = Quantity<T, Bytes, MIN, MAX>;
/// Seconds: a string with a unit.
pub(super) type Seconds<T, const MIN: u64, const MAX: u64> = Quantity<T, WholeSeconds, MIN, MAX>;
/// Milliseconds: a string with a unit.
pub(super) type Millis<const MIN: u64, const MAX: u64> = Quantity<Duration, Milliseconds, MIN, MAX>;

impl<T, S, const MIN: u64, const MAX: u64> Quantity<T, S, MIN, MAX> {
    pub(super) fn new(value: T) -> Self {
        Self {
            value,
            scale: PhantomData,
        }
    }
}

/// How quantities of one sort are written.
pub(super) trait Scale {
    /// What such a quantity is called.
    const WHAT: &'static str;
    /// The units, the smallest first, each as a multiple of the base unit.
    const UNITS: &'static [(&'static str, u64)];
    /// Whether a plain number is one too, in the base unit.
    const PLAIN: bool;

    fn read(text: &str) -> Option<u64> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let same = |name: &str| name.trim_start() == unit.trim_start();
        let (_, factor) = Self::UNITS.iter().find(|(name, _)| same(name))?;
        number.parse::<u64>().ok()?.checked_mul(*factor)
    }

    /// In the largest unit that leaves no fraction.
    fn write(number: u64) -> String {
        let whole = |(_, factor): &&(&str, u64)| number > 0 && number.is_multiple_of(*factor);
        let unit = match Self::UNITS.iter().rev().find(whole) {
            None if Self::PLAIN => return number.to_string(),
            unit => unit.or(Self::UNITS.first()),
        };
        unit.map_or_else(String::new, |(name, factor)| {
            format!("\"{}{name}\"", number / factor)
        })
    }
}

#[derive(Debug)]
pub(super) enum Numbers {}

impl Scale for Numbers {
    const WHAT: &'static str = "a whole number";
    const UNITS: &'static [(&'static str, u64)] = &[];
    const PLAIN: bool = true;
}

#[derive(Debug)]
pub(super) enum Bytes {}

impl Scale for Bytes {
    const WHAT: &'static str = "a size in bytes, KiB, MiB or GiB";
    const UNITS: &'static [(&'static str, u64)] =
        &[(" KiB", 1 << 10), (" MiB", 1 << 20), (" GiB", 1 << 30)];
    const PLAIN: bool = true;
}

#[derive(Debug)]
pub(super) enum WholeSeconds {}

impl Scale for WholeSeconds {
    const WHAT: &'static str = "a duration in s, m, h or d";
    const UNITS: &'static [(&'static str, u64)] =
        &[("s", 1), ("m", 60), ("h", 3600), ("d", 24 * 3600)];
    const PLAIN: bool = false;
}

#[derive(Debug)]
pub(super) enum Milliseconds {}

impl Scale for Milliseconds {
    const WHAT: &'static str = "a duration in ms, s, m or h";
    const UNITS: &'static [(&'static str, u64)] =
        &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    const PLAIN: bool = false;
}

/// What a quantity is kept as.
pub(super) trait Number: Copy {
    fn of(number: u64) -> Option<Self>;
    fn number(self) -> u64;
}

impl Number for usize {
    fn of(number: u64) -> Option<Self> {
        number.try_into().ok()
    }

    fn number(self) -> u64 {
        self as u64
    }
}

impl Number for u64 {
    fn of(number: u64) -> Option<Self> {
        Some(number)
    }

    fn number(self) -> u64 {
        self
    }
}

impl Number for u16 {
    fn of(number: u64) -> Option<Self> {
        number.try_into().ok()
    }

    fn number(self) -> u64 {
        self.into()
    }
}

impl Number for u32 {
    fn of(number: u64) -> Option<Self> {
        number.try_into().ok()
    }

    fn number(self) -> u64 {
        self.into()
    }
}

impl Number for NonZeroU16 {
    fn of(number: u64) -> Option<Self> {
        u16::of(number).and_then(Self::new)
    }

    fn number(self) -> u64 {
        self.get().into()
    }
}

impl Number for NonZeroU32 {
    fn of(number: u64) -> Option<Self> {
        u32::of(number).and_then(Self::new)
    }

    fn number(self) -> u64 {
        self.get().into()
    }
}

impl Number for Duration {
    fn of(number: u64) -> Option<Self> {
        Some(Self::from_millis(number))
    }

    fn number(self) -> u64 {
        self.as_millis().try_into().unwrap_or(u64::MAX)
    }
}

impl<T: Number, S: Scale, const MIN: u64, const MAX: u64> Value for Quantity<T, S, MIN, MAX> {
    fn written(&self) -> Option<String> {
        Some(S::write(self.value.number()))
    }
}

impl<'de, T, S, const MIN: u64, const MAX: u64> Deserialize<'de> for Quantity<T, S, MIN, MAX>
where
    T: Number,
    S: Scale,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuantityVisitor(PhantomData))
    }
}

struct QuantityVisitor<T, S, const MIN: u64, const MAX: u64>(PhantomData<(T, S)>);

impl<T, S, const MIN: u64, const MAX: u64> Visitor<'_> for QuantityVisitor<T, S, MIN, MAX>
where
    T: Number,
    S: Scale,
{
    type Value = Quantity<T, S, MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, from {} to {}",
            S::WHAT,
            S::write(MIN),
            S::write(MAX)
        )
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let read = u64::try_from(number).ok().filter(|_| S::PLAIN);
        Self::within(read).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Self::within(S::read(text)).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl<T: Number, S, const MIN: u64, const MAX: u64> QuantityVisitor<T, S, MIN, MAX> {
    fn within(number: Option<u64>) -> Option<Quantity<T, S, MIN, MAX>> {
        number
            .filter(|number| (MIN..=MAX).contains(number))
            .and_then(T::of)
            .map(Quantity::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::value::{Error, I64Deserializer, StrDeserializer};

    type Workers = Count<u16, 1, 100>;
    type Buffer = Size<usize, 0, { 1 << 40 }>;
    type Age = Seconds<u32, 1, { 10 * 24 * 3600 }>;
    type Grace = Millis<0, 60_000>;

    #[track_caller]
    fn check_text<Q: for<'de> Deserialize<'de> + Value>(text: &str, expected: Result<&str, &str>) {
        let quantity = Q::deserialize(StrDeserializer::<Error>::new(text));
        check_quantity(quantity, expected);
    }

    #[track_caller]
    fn check_number<Q: for<'de> Deserialize<'de> + Value>(
        number: i64,
        expected: Result<&str, &str>,
    ) {
        check_quantity(
            Q::deserialize(I64Deserializer::<Error>::new(number)),
            expected,
        );
    }

    #[track_caller]
    fn check_quantity<Q: Value>(quantity: Result<Q, Error>, expected: Result<&str, &str>) {
        let written = quantity.map(|quantity| quantity.written().unwrap());
        assert_eq!(
            written.map_err(|error| error.to_string()),
            expected.map(str::to_owned).map_err(str::to_owned)
        );
    }

    #[test]
    fn a_count_is_a_plain_number_in_its_range() {
        let not =
            |what: &str| format!("invalid value: {what}, expected a whole number, from 1 to 100");
        check_number::<Workers>(1, Ok("1"));
        check_number::<Workers>(100, Ok("100"));
        check_number::<Workers>(0, Err(&not("integer `0`")));
        check_number::<Workers>(101, Err(&not("integer `101`")));
        check_number::<Workers>(-1, Err(&not("integer `-1`")));
        check_text::<Workers>("5", Err(&not("string \"5\"")));
    }

    #[test]
    fn a_size_is_a_number_or_has_a_unit() {
        check_number::<Buffer>(0, Ok("0"));
        check_number::<Buffer>(1000, Ok("1000"));
        check_number::<Buffer>(1 << 20, Ok("\"1 MiB\""));
        check_text::<Buffer>("1536 KiB", Ok("\"1536 KiB\""));
        check_text::<Buffer>("2048KiB", Ok("\"2 MiB\""));
        check_text::<Buffer>("1024 GiB", Ok("\"1024 GiB\""));
        for text in [
            "", "5", "MiB", "1 MB", "1.5 MiB", "-1 KiB", "1 KiB ", "1025 GiB",
        ] {
            let error = format!(
                "invalid value: string {text:?}, expected a size in bytes, KiB, MiB or GiB, \
                 from 0 to \"1024 GiB\""
            );
            check_text::<Buffer>(text, Err(&error));
        }
        let overflow = "18446744073709551615 GiB";
        assert_eq!(Bytes::read(overflow), None);
    }

    #[test]
    fn a_duration_has_a_unit() {
        check_text::<Age>("1s", Ok("\"1s\""));
        check_text::<Age>("90s", Ok("\"90s\""));
        check_text::<Age>("120 m", Ok("\"2h\""));
        check_text::<Age>("10d", Ok("\"10d\""));
        let error = "expected a duration in s, m, h or d, from \"1s\" to \"10d\"";
        check_text::<Age>(
            "1500ms",
            Err(&format!("invalid value: string \"1500ms\", {error}")),
        );
        check_text::<Age>(
            "11d",
            Err(&format!("invalid value: string \"11d\", {error}")),
        );
        check_number::<Age>(5, Err(&format!("invalid value: integer `5`, {error}")));
        check_text::<Grace>("0s", Ok("\"0ms\""));
        check_text::<Grace>("1500ms", Ok("\"1500ms\""));
        check_text::<Grace>("1m", Ok("\"1m\""));
    }
}
