//! What is held by the group so far: its changes and those of the groups ahead of it, on top of what is committed.

use std::collections::BTreeMap;

use landbridge_protocol::{
    name::CacheName,
    record::{Key, Merge},
    version::Version,
};

use super::{
    group::{CacheChange, Group},
    slot::{Slot, is_below},
};

impl Group<'_> {
    /// What is held of the keys after `after` through `through`, by the group so far, in order.
    pub(crate) fn range(&self, cache: &CacheName, after: Option<&Key>, through: Option<&Key>) -> Vec<(Key, Slot)> {
        let inside = |key: &Key| after.is_none_or(|after| key > after) && through.is_none_or(|through| key <= through);
        let committed = self.base.index.range(cache, after, through);
        self.on_top_of(committed, cache, |key, _| inside(key))
    }

    /// What a clear would take, by the group so far, in order.
    pub(crate) fn below(&self, cache: &CacheName, floor: &Version) -> Vec<(Key, Slot)> {
        let merge = self.merge_of(cache).unwrap_or(Merge::Latest);
        let committed = self.base.index.below(cache, merge, floor);
        self.on_top_of(committed, cache, |_, slot| is_below(merge, floor, &slot.version, &slot.birth))
    }

    /// What is held by the group so far, as far as it is wanted; `committed` is as much of what is committed.
    fn on_top_of(
        &self,
        committed: impl Iterator<Item = (Key, Slot)>,
        cache: &CacheName,
        wanted: impl Fn(&Key, &Slot) -> bool,
    ) -> Vec<(Key, Slot)> {
        let layers: Vec<&CacheChange> = self.layers(cache).collect();
        let emptied = layers.iter().position(|change| change.emptied);
        let mut all: BTreeMap<Key, Slot> = if emptied.is_none() { committed.collect() } else { BTreeMap::new() };
        for change in layers[..emptied.map_or(layers.len(), |at| at + 1)].iter().rev() {
            all.retain(|_, slot| !is_cleared(change, slot));
            for (key, held) in &change.keys {
                match held.filter(|slot| wanted(key, slot)) {
                    Some(slot) => all.insert(key.clone(), slot),
                    None => all.remove(key),
                };
            }
        }
        all.into_iter().collect()
    }

    /// A clear that is newer than all that is held has left nothing: what comes after it in the group need not look again.
    pub(crate) fn emptied(&mut self, cache: &CacheName) {
        let change = self.change(cache);
        change.emptied = true;
        change.keys.clear();
    }
}

/// Whether a layer's clear has taken what a layer below it, or the committed state, has of a key.
pub(crate) fn is_cleared(change: &CacheChange, slot: &Slot) -> bool {
    change.clear.is_some_and(|clear| is_below(change.merge, &clear.version, &slot.version, &slot.birth))
}
