//! What the checks know, and no relay does.

use landbridge_protocol::{record::Merge, vector::Vector, version::Version};
use landbridge_relay::engine::{
    guards::Guards,
    slot::{Rank, Slot, is_below},
};

/// A removal, or a clear.
#[derive(Debug, Clone)]
pub struct Removal {
    /// Of which key; `None`: of all.
    pub key: Option<usize>,
    /// What it left.
    pub tombstone: Slot,
    /// V of its site just before, and the lives that it ended.
    pub knew: Vector,
}

impl Removal {
    /// Whether an entry of the key that belongs to `life` must be gone once the removal is known: it was known to the
    /// removal or, `by_order`, is outdone by it.
    pub fn outdoes(&self, key: usize, life: &Version, slot: &Slot, merge: Merge, by_order: bool) -> bool {
        if self.key.is_some_and(|of| of != key) {
            return false;
        }
        let floor = &self.tombstone.version;
        let higher = match self.key {
            Some(_) => self.tombstone.rank(merge, Guards::all()) > slot.rank(merge, Guards::all()),
            None => is_below(merge, floor, &slot.version, &slot.birth),
        };
        self.knew.covers(life) || (by_order && higher)
    }
}

/// What has happened so far.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Puts.
    pub puts: usize,
    /// Removals and clears.
    pub removals: Vec<Removal>,
    /// The greatest expired entry of each key, in its order.
    pub ended: Vec<Option<Rank>>,
}

impl Known {
    /// How many keys were removed.
    pub fn removes(&self) -> usize {
        self.removals.iter().filter(|removal| removal.key.is_some()).count()
    }
}
