//! The index in memory: for each cache its keys, in order, and what is held of each. Origins are two bytes here.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    ops::Bound,
};

use landbridge_protocol::{
    name::CacheName,
    position::Sequence,
    record::{Key, Kind, Merge, Record},
    time::Timestamp,
    vector::Vector,
    version::{Clock, Origin, Version},
};

use super::{
    context::{Parties, PartySets},
    header::LogRecord,
    index_key::IndexKey,
    slot::{Slot, is_below},
    sums::{self, Summed, Sums},
};

/// Caches that an index has at most, those included that only peers have.
pub(crate) const MAX_CACHES: usize = landbridge_protocol::frame::MAX_CACHES;
/// Origins that an index can tell apart.
pub(crate) const MAX_ORIGINS: usize = u16::MAX as usize;

const NO_DEADLINE: Timestamp = Timestamp::from_millis(0);

/// A log that names more origins than an index can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its records are of more than {MAX_ORIGINS} runs of stores, more than a relay can tell apart")]
pub struct TooManyOrigins;

/// A [`Slot`] in 56 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Held {
    sequence: Sequence,
    stands_from: Sequence,
    clock: Clock,
    birth: Clock,
    /// 0: none, as in a record's bytes.
    deadline: Timestamp,
    value_bytes: u32,
    checksum: u32,
    origin: u16,
    birth_origin: u16,
    parties: Parties,
    kind: Kind,
}

/// What is held of one cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheIndex {
    number: u16,
    merge: Merge,
    clear: Option<Slot>,
    keys: BTreeMap<IndexKey, Held>,
    entries: u64,
    dead: u64,
    bytes: u64,
    sums: Sums,
}

/// What is held of all caches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Index {
    origins: Vec<Origin>,
    /// Of each, in the same order.
    origin_hashes: Vec<u64>,
    numbers: BTreeMap<Origin, u16>,
    caches: BTreeMap<CacheName, CacheIndex>,
    names: Vec<CacheName>,
    parties: PartySets,
    queues: Queues,
}

/// What is looked at when its time has come. Of keys, by their cache's number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Queues {
    deadlines: BTreeSet<(Timestamp, u16, IndexKey)>,
    /// Tombstones and marks, oldest first.
    dead: BTreeSet<(Clock, u16, IndexKey)>,
}

/// Counts of one cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Live entries.
    pub entries: u64,
    /// Tombstones and marks.
    pub tombstones: u64,
    /// Bytes of keys and values of live entries.
    pub bytes: u64,
}

impl CacheIndex {
    pub(crate) fn merge(&self) -> Merge {
        self.merge
    }
    pub(crate) fn clear(&self) -> Option<Slot> {
        self.clear
    }
    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats { entries: self.entries, tombstones: self.dead, bytes: self.bytes }
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.clear.is_none()
    }

    /// The sum of each bucket.
    pub(crate) fn sums(&self) -> &[u64] {
        self.sums.as_slice()
    }

    fn count(&mut self, key: &IndexKey, held: &Held, queues: &mut Queues, origins: &[u64]) {
        if held.kind == Kind::Live {
            self.entries += 1;
            self.bytes += held.entry_bytes(key);
            let (hash, bucket) = sums::of_key(key.as_bytes());
            self.sums.add(bucket, held.summed(origins).hash(hash));
            if held.deadline > NO_DEADLINE {
                queues.deadlines.insert((held.deadline, self.number, key.clone()));
            }
        } else {
            self.dead += 1;
            queues.dead.insert((held.clock, self.number, key.clone()));
        }
    }

    fn uncount(&mut self, key: &IndexKey, held: &Held, queues: &mut Queues, origins: &[u64]) {
        if held.kind == Kind::Live {
            self.entries -= 1;
            self.bytes -= held.entry_bytes(key);
            let (hash, bucket) = sums::of_key(key.as_bytes());
            self.sums.take(bucket, held.summed(origins).hash(hash));
            if held.deadline > NO_DEADLINE {
                queues.deadlines.remove(&(held.deadline, self.number, key.clone()));
            }
        } else {
            self.dead -= 1;
            queues.dead.remove(&(held.clock, self.number, key.clone()));
        }
    }
}

impl Held {
    fn entry_bytes(&self, key: &IndexKey) -> u64 {
        key.as_bytes().len() as u64 + u64::from(self.value_bytes)
    }

    fn summed(&self, origins: &[u64]) -> Summed {
        Summed {
            clock: self.clock.bits(),
            origin: origins[self.origin as usize],
            birth: self.birth.bits(),
            birth_origin: origins[self.birth_origin as usize],
            deadline: self.deadline.as_millis(),
            checksum: self.checksum,
        }
    }
}

/// Of what is held; how origins and caches are numbered is not part of it.
impl Hash for Index {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (name, cache) in &self.caches {
            (name, cache.merge, cache.clear).hash(state);
            for (key, held) in &cache.keys {
                (key.as_bytes(), self.unpack(held)).hash(state);
            }
        }
    }
}

impl Index {
    fn number(&mut self, origin: Origin) -> u16 {
        if let Some(number) = self.numbers.get(&origin) {
            return *number;
        }
        let number = u16::try_from(self.origins.len()).expect(
            "`Group::take_origins` and replay refuse more than MAX_ORIGINS, which leaves one for the present run",
        );
        self.origins.push(origin);
        self.origin_hashes.push(sums::of_origin(&origin));
        self.numbers.insert(origin, number);
        number
    }

    fn pack(&mut self, slot: &Slot) -> Held {
        Held {
            sequence: slot.sequence,
            stands_from: slot.stands_from,
            clock: slot.version.clock,
            birth: slot.birth.clock,
            deadline: slot.deadline.unwrap_or(NO_DEADLINE),
            value_bytes: slot.value_bytes,
            checksum: slot.checksum,
            origin: self.number(slot.version.origin),
            birth_origin: self.number(slot.birth.origin),
            parties: slot.parties,
            kind: slot.kind,
        }
    }

    fn unpack(&self, held: &Held) -> Slot {
        Slot {
            sequence: held.sequence,
            kind: held.kind,
            version: Version { clock: held.clock, origin: self.origins[held.origin as usize] },
            birth: Version { clock: held.birth, origin: self.origins[held.birth_origin as usize] },
            deadline: (held.deadline > NO_DEADLINE).then_some(held.deadline),
            value_bytes: held.value_bytes,
            checksum: held.checksum,
            stands_from: held.stands_from,
            parties: held.parties,
        }
    }

    /// Makes a place for a cache; its merge is that given last.
    pub(crate) fn open(&mut self, name: &CacheName, merge: Merge) {
        if let Some(cache) = self.caches.get_mut(name) {
            cache.merge = merge;
            return;
        }
        let number = u16::try_from(self.names.len()).unwrap_or(u16::MAX);
        self.names.push(name.clone());
        let keys = BTreeMap::new();
        let sums = Sums::default();
        let cache = CacheIndex { number, merge, clear: None, keys, entries: 0, dead: 0, bytes: 0, sums };
        self.caches.insert(name.clone(), cache);
    }

    /// The number of caches, were these to come in.
    pub(crate) fn caches_with<'a>(&self, more: impl Iterator<Item = &'a CacheName>) -> usize {
        let new: BTreeSet<&CacheName> = more.filter(|name| !self.caches.contains_key(*name)).collect();
        self.caches.len() + new.len()
    }

    pub(crate) fn cache(&self, name: &CacheName) -> Option<&CacheIndex> {
        self.caches.get(name)
    }

    pub(crate) fn caches(&self) -> impl Iterator<Item = (&CacheName, &CacheIndex)> {
        self.caches.iter()
    }

    /// Whether the origin has a number.
    pub(crate) fn knows(&self, origin: &Origin) -> bool {
        self.numbers.contains_key(origin)
    }

    /// Whether the origins of a record of the log have a number, or there is room for them.
    pub(crate) fn has_room_for(&self, record: &Record) -> bool {
        let origins = [record.version.origin, record.birth.origin];
        self.origins.len() + origins.len() <= MAX_ORIGINS || {
            let new: BTreeSet<&Origin> = origins.iter().filter(|origin| !self.knows(origin)).collect();
            self.origins.len() + new.len() <= MAX_ORIGINS
        }
    }

    /// Numbers what a commit names, held or not: a restart reads all of it.
    pub(crate) fn note_origins<'a>(&mut self, records: impl IntoIterator<Item = &'a (Sequence, LogRecord)>) {
        for (_, record) in records {
            if let LogRecord::Record(record) = record {
                self.number(record.version.origin);
                self.number(record.birth.origin);
            }
        }
    }

    pub(crate) fn slot(&self, cache: &CacheName, key: &Key) -> Option<Slot> {
        self.caches.get(cache)?.keys.get(&IndexKey::of(key.as_bytes())).map(|held| self.unpack(held))
    }

    /// Puts a slot in place of what the key had; tells where that lies.
    pub(crate) fn insert(&mut self, cache: &CacheName, key: &Key, slot: &Slot) -> Option<Sequence> {
        let held = self.pack(slot);
        let at = self.caches.get_mut(cache)?;
        let key = IndexKey::of(key.as_bytes());
        let old = at.keys.insert(key.clone(), held);
        // Before the new one is counted: both may have the same deadline.
        if let Some(old) = &old {
            at.uncount(&key, old, &mut self.queues, &self.origin_hashes);
        }
        at.count(&key, &held, &mut self.queues, &self.origin_hashes);
        old.map(|old| old.sequence)
    }

    /// Which origins the context of the record at a slot names, where `seen` covers it, so that it need not be read again.
    pub(crate) fn parties_of(&mut self, record: &Record, seen: &Vector) -> Parties {
        if record.context.is_empty() || seen.includes(&record.context) {
            self.parties.of(&record.context)
        } else {
            Parties::LOGGED
        }
    }

    /// Notes [`Index::parties_of`] a record, where it is held.
    pub(crate) fn note_context(&mut self, sequence: Sequence, record: &Record, seen: &Vector) {
        if record.context.is_empty() || !seen.includes(&record.context) {
            return;
        }
        let Some(key) = &record.key else { return };
        let keys = self.caches.get_mut(&record.cache).map(|cache| &mut cache.keys);
        let held = keys.and_then(|keys| keys.get_mut(&IndexKey::of(key.as_bytes())));
        if let Some(held) = held.filter(|held| held.sequence == sequence) {
            held.parties = self.parties.of(&record.context);
        }
    }

    pub(crate) fn party_sets(&self) -> &PartySets {
        &self.parties
    }

    /// Takes away what the key has; tells where that lies.
    pub(crate) fn remove(&mut self, cache: &CacheName, key: &Key) -> Option<Sequence> {
        let at = self.caches.get_mut(cache)?;
        let (key, held) = at.keys.remove_entry(&IndexKey::of(key.as_bytes()))?;
        at.uncount(&key, &held, &mut self.queues, &self.origin_hashes);
        Some(held.sequence)
    }

    /// Sets a cache's clear record and takes away all below its floor; tells where what was held lies.
    pub(crate) fn clear(&mut self, cache: &CacheName, clear: Slot) -> Vec<Sequence> {
        let Some(at) = self.caches.get_mut(cache) else { return Vec::new() };
        let earlier = at.clear.replace(clear);
        earlier.iter().for_each(|earlier| at.sums.take(0, sums::of_clear(&earlier.version)));
        at.sums.add(0, sums::of_clear(&clear.version));
        let earlier = earlier.map(|earlier| earlier.sequence);
        let merge = at.merge;
        let below: Vec<Key> = self.below(cache, merge, &clear.version).map(|(key, _)| key).collect();
        let below = below.iter().filter_map(|key| self.remove(cache, key));
        earlier.into_iter().chain(below).collect()
    }

    /// What lies below a floor, in the order of its keys. All that is held is looked at, and nothing else is copied.
    pub(crate) fn below<'a>(
        &'a self,
        cache: &CacheName,
        merge: Merge,
        floor: &'a Version,
    ) -> impl Iterator<Item = (Key, Slot)> + 'a {
        let keys = self.caches.get(cache).map(|cache| &cache.keys);
        let slots = keys.into_iter().flatten().map(|(key, held)| (key, self.unpack(held)));
        let below = slots.filter(move |(_, slot)| is_below(merge, floor, &slot.version, &slot.birth));
        below.map(|(key, slot)| (key_of(key), slot))
    }

    /// The keys after `after` through `through`, in order.
    pub(crate) fn range<'a>(
        &'a self,
        cache: &CacheName,
        after: Option<&Key>,
        through: Option<&Key>,
    ) -> impl Iterator<Item = (Key, Slot)> + 'a {
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(IndexKey::of(key.as_bytes())));
        let through = through.map(|key| IndexKey::of(key.as_bytes()));
        let empty = after.zip(through.as_ref()).is_some_and(|(after, through)| after.as_bytes() >= through.as_bytes());
        let keys = self.caches.get(cache).filter(|_| !empty).map(|cache| &cache.keys);
        keys.into_iter()
            .flat_map(move |keys| keys.range((from.as_ref(), Bound::Unbounded)))
            .take_while(move |(key, _)| through.as_ref().is_none_or(|through| *key <= through))
            .map(|(key, held)| (key_of(key), self.unpack(held)))
    }

    /// Where everything that is held lies.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = Sequence> + '_ {
        self.caches.values().flat_map(|cache| {
            let keys = cache.keys.values().map(|held| held.sequence);
            keys.chain(cache.clear.map(|clear| clear.sequence))
        })
    }

    /// The first deadline of a live entry.
    pub(crate) fn first_deadline(&self) -> Option<Timestamp> {
        self.queues.deadlines.first().map(|(deadline, _, _)| *deadline)
    }

    /// Entries whose deadline is at or before `now`, at most `limit`.
    pub(crate) fn overdue(&self, now: Timestamp, limit: usize) -> Vec<(CacheName, Key)> {
        let past = self.queues.deadlines.iter().take_while(|(deadline, _, _)| *deadline <= now).take(limit);
        past.filter_map(|(_, number, key)| Some((self.name(*number)?, key_of(key)))).collect()
    }

    /// Tombstones and marks of versions at or after `from`, oldest first.
    pub(crate) fn dead_from(&self, from: Clock) -> impl Iterator<Item = (CacheName, Key, Slot)> + '_ {
        let start = (from, 0, IndexKey::of(&[]));
        self.queues.dead.range(start..).filter_map(|(_, number, key)| {
            let name = self.name(*number)?;
            let held = self.caches.get(&name)?.keys.get(key)?;
            Some((name, key_of(key), self.unpack(held)))
        })
    }

    /// Number of tombstones and marks.
    pub(crate) fn dead_count(&self) -> u64 {
        self.queues.dead.len() as u64
    }

    /// For each origin of which a record is held, the highest clock.
    pub(crate) fn highest(&self) -> BTreeMap<Origin, Clock> {
        let mut highest = vec![Clock::ZERO; self.origins.len()];
        for held in self.caches.values().flat_map(|cache| cache.keys.values()) {
            let at = &mut highest[held.origin as usize];
            *at = (*at).max(held.clock);
        }
        let mut by_origin: BTreeMap<Origin, Clock> = self.origins.iter().copied().zip(highest).collect();
        for clear in self.caches.values().filter_map(|cache| cache.clear) {
            let at = by_origin.entry(clear.version.origin).or_default();
            *at = (*at).max(clear.version.clock);
        }
        by_origin.retain(|_, clock| *clock > Clock::ZERO);
        by_origin
    }

    /// Origins that may be held.
    pub(crate) fn origins(&self) -> &[Origin] {
        &self.origins
    }

    fn name(&self, number: u16) -> Option<CacheName> {
        self.names.get(number as usize).cloned()
    }
}

fn key_of(key: &IndexKey) -> Key {
    Key::new(key.as_bytes().to_vec()).expect("the index holds only what was a key")
}

#[cfg(test)]
mod tests {
    use landbridge_protocol::{name::SiteName, version::RunId};

    use super::*;

    #[test]
    fn the_checksum_takes_no_room() {
        assert_eq!(std::mem::size_of::<Held>(), 56);
    }

    #[test]
    fn what_is_written_over_with_the_same_deadline_still_has_it() {
        let (cache, key) = (CacheName::new("sessions").unwrap(), Key::new("key").unwrap());
        let origin = Origin { site: SiteName::new("a").unwrap(), run: RunId(1) };
        let deadline = Timestamp::from_millis(1000);
        let mut index = Index::default();
        index.open(&cache, Merge::Latest);
        let slot = |clock: u64, kind: Kind| {
            let version = Version { clock: Clock::from_bits(clock), origin };
            let mut record = Record::bare(cache.clone(), Some(key.clone()), kind, version);
            record.deadline = Some(deadline);
            Slot::of(&record, Sequence::new(clock), Sequence::new(clock))
        };
        assert_eq!(index.insert(&cache, &key, &slot(1, Kind::Live)), None);
        assert_eq!(index.insert(&cache, &key, &slot(2, Kind::Live)), Some(Sequence::new(1)));
        assert_eq!(index.overdue(deadline, 10), [(cache.clone(), key.clone())]);
        assert_eq!(index.slot(&cache, &key), Some(slot(2, Kind::Live)));
        // A mark has the version of the entry that expired, and may be written over by what is held already.
        assert_eq!(index.insert(&cache, &key, &slot(2, Kind::Mark)), Some(Sequence::new(2)));
        assert_eq!(index.insert(&cache, &key, &slot(2, Kind::Mark)), Some(Sequence::new(2)));
        assert_eq!((index.first_deadline(), index.dead_count()), (None, 1));
        assert_eq!(index.cache(&cache).unwrap().stats(), CacheStats { entries: 0, tombstones: 1, bytes: 0 });
    }
}
