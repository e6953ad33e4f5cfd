//! Positions in a relay's change log.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::version::RunId;

/// A place in a relay's change log. The first record has sequence 1; 0 stands before all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(u64);

impl Sequence {
    /// Before every record.
    pub const ZERO: Sequence = Sequence(0);

    /// The sequence of that number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after this; saturates, and no log gets there.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The one before this; zero stays zero.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How far a receiver has a sender's log: a pair, as a sender's own records go ahead of those that it passes on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Through {
    /// Through here it has the sender's own records.
    pub direct: Sequence,
    /// Through here it has all records.
    pub complete: Sequence,
}

/// A [`Through`] in the log of one run of the sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Cursor {
    /// The sender's run.
    pub run: RunId,
    /// How far.
    pub through: Through,
}
