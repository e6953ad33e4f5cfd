//! Spans of time as people write them: `90s`, `10m`, `12h`, `30d`.

use std::{str::FromStr, time::Duration};

/// A lifespan given on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifespan(pub(super) Duration);

impl FromStr for Lifespan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a time; write a whole number and ms, s, m, h or d, such as 10m");
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = text[..digits].parse().map_err(|_| bad())?;
        let unit_ms: u64 = match &text[digits..] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        let ms = number.checked_mul(unit_ms).filter(|ms| *ms > 0).ok_or_else(bad)?;
        Ok(Self(Duration::from_millis(ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_people_write() {
        let ms = |text: &str| text.parse::<Lifespan>().map(|l| l.0.as_millis());
        assert_eq!(ms("250ms"), Ok(250));
        assert_eq!(ms("90s"), Ok(90_000));
        assert_eq!(ms("10m"), Ok(600_000));
        assert_eq!(ms("31d"), Ok(2_678_400_000));
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        for bad in ["", "10", "s", "-1s", "0s", "1.5h", "10 m", "99999999999999999999d"] {
            assert!(bad.parse::<Lifespan>().unwrap_err().contains("such as 10m"), "{bad}");
        }
    }
}
