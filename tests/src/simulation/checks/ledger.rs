//! A history, looked up: which record has a version, what was durable where and when, who was answered what.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use landbridge_protocol::{
    name::CacheName,
    record::{Key, Kind, Merge, Record},
    version::Version,
};
use landbridge_relay::engine::{
    guards::Guards,
    slot::{Rank, is_below, rank},
};

use crate::simulation::{
    clock::EPOCH,
    history::{Answer, Entry, Happening},
    nodes::{key_of, name_of},
    plan::{CACHES, Disk, Operation, Plan, What},
};

/// Clocks are wrong by less than this.
pub(super) const SKEW_MS: u64 = 30_000;

/// A key of a cache.
pub(super) type Place = (CacheName, Key);

/// A request and its answer, by their places in the history.
pub(super) struct Exchange<'h> {
    pub(super) asked: usize,
    pub(super) answered: usize,
    pub(super) node: usize,
    pub(super) site: usize,
    pub(super) operation: Operation,
    pub(super) value: &'h Bytes,
    pub(super) expected: Option<Version>,
    pub(super) answer: &'h Answer,
}

/// See the module.
pub(super) struct Ledger<'h> {
    pub(super) history: &'h [Entry],
    pub(super) sites: usize,
    /// Whether tombstones may be let go for an absent site's sake.
    forces_drops: bool,
    /// Each record that was durable anywhere, once; without marks, which are as their entries.
    records: BTreeMap<Version, Arc<Record>>,
    by_place: BTreeMap<Place, Vec<Arc<Record>>>,
    clears: BTreeMap<CacheName, Vec<Arc<Record>>>,
    pub(super) exchanges: Vec<Exchange<'h>>,
}

impl<'h> Ledger<'h> {
    pub(super) fn of(history: &'h [Entry], plan: &Plan) -> Self {
        let mut ledger = Self {
            history,
            sites: plan.sites,
            // For a site that is decommissioned none is kept: should it come back, it is as one that was away too long.
            forces_drops: plan.bounds.forces_drops() || plan.has_guest(),
            records: BTreeMap::new(),
            by_place: BTreeMap::new(),
            clears: BTreeMap::new(),
            exchanges: Vec::new(),
        };
        let mut open = BTreeMap::new();
        for (at, entry) in history.iter().enumerate() {
            match &entry.what {
                Happening::Durable { record, .. } => ledger.enter(record),
                Happening::Asked { node, site, operation, value, expected } => {
                    open.insert(*node, (at, *site, *operation, value, *expected));
                }
                Happening::Answered { node, answer } => {
                    let Some((asked, site, operation, value, expected)) = open.remove(node) else { continue };
                    let (node, answered) = (*node, at);
                    let exchange = Exchange { asked, answered, node, site, operation, value, expected, answer };
                    ledger.exchanges.push(exchange);
                }
                _ => {}
            }
        }
        ledger
    }

    fn enter(&mut self, record: &Arc<Record>) {
        if record.kind == Kind::Mark || self.records.insert(record.version, record.clone()).is_some() {
            return;
        }
        match &record.key {
            Some(key) => self.by_place.entry((record.cache.clone(), key.clone())).or_default().push(record.clone()),
            None => self.clears.entry(record.cache.clone()).or_default().push(record.clone()),
        }
    }

    /// The record of a version.
    pub(super) fn record(&self, version: &Version) -> Option<&Arc<Record>> {
        self.records.get(version)
    }

    /// Whether it may be that nothing is there, though a record was: it, or what outranks it, is a removal, was cleared, or
    /// is past its deadline at that moment, by some clock.
    pub(super) fn may_be_gone(&self, record: &Record, at_ms: u64) -> bool {
        let Some(place) = place_of(record) else { return true };
        let latest = EPOCH.as_millis() + at_ms + SKEW_MS;
        let ended = |other: &Record| {
            let expired = other.deadline.is_some_and(|deadline| deadline.as_millis() <= latest);
            other.kind == Kind::Tombstone || expired || self.is_cleared(other)
        };
        let others = self.by_place.get(&place).into_iter().flatten();
        others.filter(|other| rank_of(other) >= rank_of(record)).any(|other| ended(other))
    }

    /// Whether it lies below a clear that was durable anywhere.
    pub(super) fn is_cleared(&self, record: &Record) -> bool {
        let merge = merge_of(&record.cache);
        let clears = self.clears.get(&record.cache).into_iter().flatten();
        clears.into_iter().any(|clear| is_below(merge, &clear.version, &record.version, &record.birth))
    }

    /// What an answered removal or clear has left on the disk of its site, between question and answer.
    pub(super) fn left_by(&self, exchange: &Exchange<'_>) -> Option<&'h Arc<Record>> {
        let Operation { cache, key, what, .. } = exchange.operation;
        let (cache, key, node) = (cache_of(cache), key_of(key), name_of(exchange.node));
        self.history[exchange.asked..exchange.answered].iter().find_map(|entry| match &entry.what {
            Happening::Durable { site, record, .. } if *site == exchange.site && record.cache == cache => {
                let same = match what {
                    What::Clear => record.kind == Kind::Clear,
                    _ => record.kind == Kind::Tombstone && record.key.as_ref() == Some(&key),
                };
                let by = record.node.as_ref().is_some_and(|name| name.to_string() == node);
                (same && by).then_some(record)
            }
            _ => None,
        })
    }

    /// All that was acknowledged: who, and the record that it made.
    pub(super) fn acknowledged(&self) -> impl Iterator<Item = (&Exchange<'h>, &Arc<Record>)> {
        self.exchanges.iter().flat_map(|exchange| {
            let written: &[Version] = match exchange.answer {
                Answer::Written(versions) => versions,
                _ => &[],
            };
            let gone = matches!(exchange.answer, Answer::Gone).then(|| self.left_by(exchange)).flatten();
            let records = written.iter().filter_map(|version| self.record(version)).chain(gone);
            records.map(move |record| (exchange, record))
        })
    }

    /// Where a site's disk was wiped or replaced between two places of the history.
    pub(super) fn was_replaced(&self, site: usize, from: usize, to: usize) -> bool {
        self.history[from..to].iter().any(|entry| match entry.what {
            Happening::Starts { site: of, disk } => of == site && disk != Disk::Same,
            _ => false,
        })
    }

    /// Whether a disk has lost what it held of a key, before that place of the history.
    pub(super) fn was_lost(&self, place: &Place, before: usize) -> bool {
        self.history[..before].iter().any(|entry| match &entry.what {
            Happening::Lost { record, .. } => place_of(record).as_ref() == Some(place),
            _ => false,
        })
    }

    /// Whether at some moment, after it was durable, no disk had it or anything that outranks it. What was superseded,
    /// dropped or compacted away counts as there: only wiped and replaced disks take away, a site that is decommissioned and
    /// does not come back with what it had, and a disk that loses what it held of the key; then also who reconciles by that.
    pub(super) fn was_destroyed(&self, record: &Record) -> bool {
        let place = place_of(record);
        let wanted = rank_of(record);
        let mut held = vec![false; self.sites];
        let mut copied = vec![false; self.sites];
        let (mut was_held, mut was_lost) = (false, false);
        let mut out = vec![false; self.sites];
        for entry in self.history {
            match &entry.what {
                Happening::Durable { site, record: other, .. } => {
                    let same = other.cache == record.cache && place_of(other) == place;
                    if same && rank_of(other) >= wanted {
                        held[*site] = true;
                        was_held = true;
                    }
                }
                Happening::Copied { site } => copied[*site] = held[*site],
                Happening::Starts { site, disk } => {
                    out[*site] = false;
                    match disk {
                        Disk::Same => {}
                        Disk::Wiped => held[*site] = false,
                        Disk::Copy => held[*site] = copied[*site],
                    }
                }
                Happening::Left { site } => out[*site] = true,
                Happening::Lost { site, record: other } if place_of(other) == place => {
                    held[*site] = false;
                    was_lost = true;
                }
                Happening::Forgotten { site, cache, key } if was_lost => {
                    if place.as_ref() == Some(&(cache.clone(), key.clone())) {
                        held[*site] = false;
                    }
                }
                _ => continue,
            }
            if was_held && !held.contains(&true) {
                return true;
            }
        }
        was_held && !held.iter().zip(&out).any(|(held, is_out)| *held && !is_out)
    }

    /// Whether `lower` may stand where `higher` was: a removal that outranks both was let go for an absent site's sake, and its
    /// site had not seen `lower`. With the tombstone gone, the two are as concurrent; but where removals win, a reconcile goes
    /// by lives, and one that the remover knew stays ended, if its site was the only one to let removals go.
    pub(super) fn may_outlive(&self, lower: &Record, higher: &Record) -> bool {
        let Some(place) = place_of(higher).filter(|_| self.forces_drops) else { return false };
        let others = self.by_place.get(&place).into_iter().flatten();
        let mut removals = others.filter(|other| other.kind == Kind::Tombstone && rank_of(other) >= rank_of(higher));
        removals.any(|removal| {
            let site = (0..self.sites).find(|site| removal.version.origin.site.as_str() == site_name(*site));
            site.is_some_and(|site| !self.had_seen(site, removal, lower) && !self.knew_life(site, removal, lower))
        })
    }

    /// Whether a site's disk had a record, since it was wiped or replaced last, when another became durable there.
    pub(super) fn had_seen(&self, site: usize, later: &Record, earlier: &Record) -> bool {
        self.had(site, later, |record| record.version == earlier.version)
    }

    /// Whether it had the life of a record then, and no other site may have let go a removal, or the mark of what expired, that
    /// it had not: if so, the one with the lower name is heard first, and what it holds is taken.
    fn knew_life(&self, site: usize, removal: &Record, lower: &Record) -> bool {
        if merge_of(&lower.cache) != Merge::RemoveWins {
            return false;
        }
        let Record { cache, key, birth, .. } = lower;
        if !self.had(site, removal, |record| (&record.cache, &record.key, &record.birth) == (cache, key, birth)) {
            return false;
        }
        let returns = self.history.iter().rposition(|entry| match &entry.what {
            Happening::Durable { site: of, record, .. } => *of == site && record.version == lower.version,
            _ => false,
        });
        let before = &self.history[..returns.unwrap_or(self.history.len())];
        let (mut here, mut elsewhere) = (BTreeSet::new(), BTreeSet::new());
        for entry in before {
            match &entry.what {
                Happening::Durable { site: of, record, .. } if matches!(record.kind, Kind::Tombstone | Kind::Mark) => {
                    if *of == site { &mut here } else { &mut elsewhere }
                        .insert((record.kind == Kind::Mark, record.version));
                }
                Happening::Starts { disk, .. } if *disk != Disk::Same => return false,
                _ => {}
            }
        }
        elsewhere.is_subset(&here)
    }

    fn had(&self, site: usize, later: &Record, is_it: impl Fn(&Record) -> bool) -> bool {
        let mut had = false;
        for entry in self.history {
            match &entry.what {
                Happening::Durable { site: of, record, .. } if *of == site => {
                    if record.version == later.version {
                        return had;
                    }
                    had |= is_it(record);
                }
                Happening::Starts { site: of, disk } if *of == site && *disk != Disk::Same => had = false,
                _ => {}
            }
        }
        had
    }

    /// Whether a removal of a key, or a clear of its cache, was destroyed.
    pub(super) fn was_end_destroyed(&self, place: &Place) -> bool {
        let of_key = self.by_place.get(place).into_iter().flatten().filter(|record| record.kind == Kind::Tombstone);
        let mut ends = of_key.chain(self.clears.get(&place.0).into_iter().flatten());
        ends.any(|end| self.was_destroyed(end))
    }

    /// A removal, durable at a site before that place of the history and since it was wiped or replaced last, which outranks
    /// what is there all the same: it was gone, and has returned.
    pub(super) fn has_returned(&self, site: usize, there: &Record, before: usize) -> Option<Version> {
        let place = place_of(there)?;
        let mut removed = None;
        for entry in &self.history[..before] {
            match &entry.what {
                Happening::Durable { site: of, record, .. } if *of == site && record.kind == Kind::Tombstone => {
                    let outranks = rank_of(record) > rank_of(there) && place_of(record).as_ref() == Some(&place);
                    if outranks && !self.may_outlive(there, record) {
                        removed = Some(record.version);
                    }
                }
                Happening::Starts { site: of, disk } if *of == site && *disk != Disk::Same => removed = None,
                _ => {}
            }
        }
        removed
    }

    /// The moment of a place in the history.
    pub(super) fn at_ms(&self, at: usize) -> u64 {
        self.history[at].at_ms
    }
}

fn site_name(site: usize) -> String {
    format!("site{}", site + 1)
}

/// Its key, of records of one.
pub(super) fn place_of(record: &Record) -> Option<Place> {
    record.key.as_ref().map(|key| (record.cache.clone(), key.clone()))
}

/// What a cache of the plan is called.
pub(super) fn cache_of(number: usize) -> CacheName {
    CacheName::new(CACHES[number].0).expect("a cache's name")
}

/// How a cache merges.
pub(super) fn merge_of(cache: &CacheName) -> Merge {
    match CACHES.iter().find(|(name, ..)| *name == cache.as_str()) {
        Some((_, "latest", _)) => Merge::Latest,
        _ => Merge::RemoveWins,
    }
}

/// What records of one key, or clears of one cache, are ordered by; every rule holds here.
pub(super) fn rank_of(record: &Record) -> Rank {
    let merge = if record.kind == Kind::Clear { Merge::Latest } else { merge_of(&record.cache) };
    rank(merge, Guards::all(), record.kind, record.version, record.birth)
}

/// Whether its deadline is past by the clock of that version, which is no earlier than the wall clock of who decided.
pub(super) fn had_expired(record: &Record, by: &Version) -> bool {
    record.deadline.is_some_and(|deadline| deadline <= by.clock.wall())
}
