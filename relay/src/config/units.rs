//! Values with units as they are written in a configuration: `"10s"`, `"1MiB"`.

use std::{fmt, time::Duration};

use landbridge_protocol::time::Millis;

/// A number of bytes, written as an integer or as text with a unit: `65536`, `"64KiB"`, `"1MiB"`, `"2GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// That many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// That many times 1024 bytes.
    pub const fn kib(count: u64) -> Self {
        Self(count * 1024)
    }

    /// That many times 1024² bytes.
    pub const fn mib(count: u64) -> Self {
        Self(count * 1024 * 1024)
    }

    /// How many bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// How many bytes, as lengths are counted in memory; the greatest length where it is more than that.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A setting that can be switched off, by `"off"`; off is beyond every value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrOff<T> {
    /// It has this value.
    On(T),
    /// It is switched off.
    Off,
}

impl<T> OrOff<T> {
    /// The value; `None` where it is off.
    pub fn on(self) -> Option<T> {
        match self {
            OrOff::On(value) => Some(value),
            OrOff::Off => None,
        }
    }
}

const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const SPANS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_greatest_unit(self.0, &SIZES))
    }
}

/// Parses `"64KiB"` and the like.
pub fn parse_size(text: &str) -> Result<ByteSize, String> {
    parse(text, &SIZES).map(ByteSize).ok_or_else(|| {
        format!("{text:?} is no number of bytes; write a whole number and B, KiB, MiB or GiB, such as \"64KiB\"")
    })
}

/// Parses `"500ms"`, `"10s"`, `"2m"`, `"12h"`, `"30d"`.
pub fn parse_span(text: &str) -> Result<Millis, String> {
    parse(text, &SPANS).map(Millis::new).ok_or_else(|| {
        format!("{text:?} is no span of time; write a whole number and ms, s, m, h or d, such as \"10s\"")
    })
}

/// A span as a configuration has it, in the greatest unit that holds it whole.
pub fn show_span(span: Millis) -> String {
    in_greatest_unit(span.get(), &SPANS)
}

/// As [`show_span`], of the standard library's type.
pub fn show_duration(span: Duration) -> String {
    show_span(span.into())
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn in_greatest_unit(value: u64, units: &[(&str, u64)]) -> String {
    let smallest = units.last().expect("the tables of units are not empty");
    let (name, factor) =
        units.iter().find(|(_, factor)| value > 0 && value.is_multiple_of(*factor)).unwrap_or(smallest);
    format!("{}{name}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_as_they_are_shown() {
        for text in ["0ms", "1ms", "999ms", "10s", "90s", "2m", "36h", "31d"] {
            assert_eq!(show_span(parse_span(text).unwrap()), text);
        }
        for text in ["0B", "1000B", "64KiB", "1MiB", "3GiB"] {
            assert_eq!(parse_size(text).unwrap().to_string(), text);
        }
        assert_eq!(show_span(parse_span("24h").unwrap()), "1d");
        assert_eq!(parse_span("10 s").unwrap(), Millis::from_secs(10));
    }

    #[test]
    fn what_has_no_unit_or_does_not_fit_is_refused() {
        for text in ["", "10", "s", "-1s", "1.5s", "10 minutes", "99999999999999999999d", "213503982335d"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        for text in ["10", "KiB", "1MB", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
