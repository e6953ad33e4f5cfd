//! What orders two writes: a hybrid logical [`Clock`] and the [`Origin`] that issued it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{name::SiteName, time::Timestamp};

/// Bits of a [`Clock`] that count writes within one millisecond.
pub const CLOCK_COUNTER_BITS: u32 = 16;

/// A hybrid logical clock: 48 bits of unix milliseconds, 16 bits of counter. Zero stands before every write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clock(u64);

impl Clock {
    /// Before every write.
    pub const ZERO: Clock = Clock(0);
    /// After every write.
    pub const MAX: Clock = Clock(u64::MAX);

    /// The clock of these 64 bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Milliseconds above, counter below.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The first clock of a wall-clock millisecond. Times beyond 48 bits (the year 10889) give the last one.
    pub const fn at(wall: Timestamp) -> Self {
        let ms = wall.as_millis();
        if ms >> (64 - CLOCK_COUNTER_BITS) != 0 { Self::MAX } else { Self(ms << CLOCK_COUNTER_BITS) }
    }

    /// The wall-clock millisecond that this clock was issued in, or moved past.
    pub const fn wall(self) -> Timestamp {
        Timestamp::from_millis(self.0 >> CLOCK_COUNTER_BITS)
    }

    /// The clock that a relay issues next: past this one, and not behind the wall clock. `None` at the end of time.
    pub fn next(self, now: Timestamp) -> Option<Self> {
        Some(Self(self.0.checked_add(1)?).max(Self::at(now)))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One run of one site's store: the random number drawn at its start. Neither a wiped disk nor a rolled-back machine
/// can issue a version twice, as each start is an origin of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who issued a version: a site, and which run of its store. Ordered by site, then run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The site.
    pub site: SiteName,
    /// The run of its store.
    pub run: RunId,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:?}", self.site, self.run)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What orders two records of one key, totally: by clock, then site, then run. Its text form is `CLOCK@SITE/RUN`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// When, by the origin's hybrid clock.
    pub clock: Clock,
    /// Who.
    pub origin: Origin,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.clock.0, self.origin)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version: one reads CLOCK@SITE/RUN, as printed by `get --json` and `watch`")]
pub struct VersionError(String);

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let parse = || {
            let (clock, origin) = text.split_once('@')?;
            let (site, run) = origin.split_once('/')?;
            let run = RunId(u64::from_str_radix(run, 16).ok()?);
            Some(Self { clock: Clock(clock.parse().ok()?), origin: Origin { site: SiteName::new(site).ok()?, run } })
        };
        parse().ok_or_else(|| VersionError(text.chars().take(80).collect()))
    }
}
