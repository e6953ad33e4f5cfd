//! What the journal has and the storage engine does not: readers find it here. Each key once, as it is by now, so that what
//! was written and taken out again meanwhile never comes to the engine.
//!
//! ```text
//! change ─► taking ── turn ──► settling ── settled ──► gone from here, and in the engine
//! ```

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;

use super::journal::{Change, Part};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pending(RwLock<Layers>);

#[derive(Debug, Default)]
struct Layers {
    taking: Layer,
    settling: Arc<Layer>,
}

/// The newest of each key; `None`: it is gone.
type Newest = BTreeMap<u64, Option<Bytes>>;

/// Changes of a time, each key once.
#[derive(Debug, Default)]
pub(super) struct Layer {
    commits: Newest,
    notes: Newest,
}

/// What is known of a key: its bytes, or that it is gone.
pub(super) type Found = (u64, Option<Bytes>);

impl Layer {
    fn part(&self, part: Part) -> &Newest {
        match part {
            Part::Commits => &self.commits,
            Part::Notes => &self.notes,
        }
    }

    /// All of them.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change> {
        let of = |part| move |(key, bytes): (&u64, &Option<Bytes>)| Change { part, key: *key, bytes: bytes.clone() };
        self.commits.iter().map(of(Part::Commits)).chain(self.notes.iter().map(of(Part::Notes)))
    }
}

impl Pending {
    /// What comes next.
    pub(super) fn take(&self, Change { part, key, bytes }: Change) {
        let mut layers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let newest = match part {
            Part::Commits => &mut layers.taking.commits,
            Part::Notes => &mut layers.taking.notes,
        };
        newest.insert(key, bytes);
    }

    /// What was taken is to go to the engine; what was on its way before has arrived.
    pub(super) fn turn(&self) {
        let mut layers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        layers.settling = Arc::new(std::mem::take(&mut layers.taking));
    }

    /// What is on its way to the engine.
    pub(super) fn settling(&self) -> Arc<Layer> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).settling.clone()
    }

    /// It has arrived.
    pub(super) fn settled(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).settling = Arc::default();
    }

    /// The greatest key that is not after `at`.
    pub(super) fn covering(&self, part: Part, at: u64) -> Option<Found> {
        let layers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = |newest: &Newest| newest.range(..=at).next_back().map(|(key, bytes)| (*key, bytes.clone()));
        let (taking, settling) = (found(layers.taking.part(part)), found(layers.settling.part(part)));
        // Of two of one key the newer one counts.
        if settling.as_ref().map(|found| found.0) > taking.as_ref().map(|found| found.0) { settling } else { taking }
    }

    /// The least key that is after `after`.
    pub(super) fn following(&self, part: Part, after: Bound<u64>) -> Option<Found> {
        let layers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found =
            |newest: &Newest| newest.range((after, Bound::Unbounded)).next().map(|(key, bytes)| (*key, bytes.clone()));
        match (found(layers.taking.part(part)), found(layers.settling.part(part))) {
            (Some(taking), Some(settling)) if settling.0 < taking.0 => Some(settling),
            (None, settling) => settling,
            (taking, _) => taking,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Beside a map that is written at once: whatever was taken, turned and settled, reading both finds the same.
        #[test]
        fn with_what_has_arrived_it_is_all_that_was_taken(
            steps in prop::collection::vec((0..8u8, 0..12u64, any::<bool>()), 0..60),
            at in 0..13u64,
        ) {
            let (pending, mut arrived, mut all) = (Pending::default(), BTreeMap::new(), BTreeMap::new());
            for (number, (step, key, gone)) in steps.into_iter().enumerate() {
                match step {
                    0 => {
                        for change in pending.settling().changes() {
                            match change.bytes {
                                Some(bytes) => arrived.insert(change.key, bytes),
                                None => arrived.remove(&change.key),
                            };
                        }
                        pending.settled();
                        pending.turn();
                    }
                    _ => {
                        let bytes = (!gone).then(|| Bytes::from(number.to_string()));
                        match &bytes {
                            Some(bytes) => all.insert(key, bytes.clone()),
                            None => all.remove(&key),
                        };
                        pending.take(Change { part: Part::Commits, key, bytes });
                    }
                }
            }
            let known = |(key, bytes): (&u64, &Bytes)| (*key, bytes.clone());
            let covering = super::super::sled_log::covering(
                |at| Ok(pending.covering(Part::Commits, at)),
                |at| Ok(arrived.range(..=at).next_back().map(known)),
                at,
            );
            prop_assert_eq!(covering.unwrap(), all.range(..=at).next_back().map(known));
            let following = super::super::sled_log::following(
                |after| Ok(pending.following(Part::Commits, after)),
                |after| Ok(arrived.range((after, Bound::Unbounded)).next().map(known)),
                Bound::Excluded(at),
            );
            prop_assert_eq!(following.unwrap(), all.range(at + 1..).next().map(known));
            prop_assert_eq!(pending.following(Part::Notes, Bound::Unbounded), None);
        }
    }
}
