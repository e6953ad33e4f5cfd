//! What a world is made of.

use landbridge_protocol::{record::Merge, time::Millis};
use landbridge_relay::engine::guards::Guards;

/// What a world is made of, and what may happen in it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Sites.
    pub sites: usize,
    /// Keys.
    pub keys: usize,
    /// Batches in flight on a link.
    pub depth: usize,
    /// Records of a batch.
    pub batch: usize,
    /// How records are merged.
    pub merge: Merge,
    /// Lifespan of entries; zero: they don't expire.
    pub lifespan: Millis,
    /// When others' changes are passed on.
    pub forward_after: Millis,
    /// Whether tombstones are forced out wherever that may be.
    pub forced: bool,
    /// The rules that hold.
    pub guards: Guards,
}

impl Scenario {
    /// So many sites, one key, `latest`.
    pub fn of(sites: usize) -> Self {
        Self {
            sites,
            keys: 1,
            depth: 1,
            batch: 1,
            merge: Merge::Latest,
            lifespan: Millis::ZERO,
            forward_after: Millis::ZERO,
            forced: false,
            guards: Guards::all(),
        }
    }

    /// Whether removals win.
    pub fn remove_wins(&self) -> bool {
        self.merge == Merge::RemoveWins
    }
}
