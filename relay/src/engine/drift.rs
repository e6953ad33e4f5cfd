//! Drift: what one relay holds and a peer should, and does not. It comes of no rule of replication, but of a fault: a record
//! that a disk or a bug has lost, and that is never sent again, as the peer's V covers it.
//!
//! A link finds what its *receiver* lacks. Both sum up what they hold (`engine/sums.rs`); where sums are unequal the sender lists what
//! it holds, live and dead, with its V of that moment (`S`), and the receiver looks each record up. It lacks a record r where
//!
//! 1. its V covers r: it once held r, or what outdoes it;
//! 2. what it holds of the key is lower than r, or nothing, and no clear of its lies above r;
//! 3. S includes the receiver's G;
//! 4. r is an entry that lasts longer than clocks may be apart, or what the receiver holds is such a one;
//! 5. neither store is in between: filling, lacking some of the cache, or owed a reconcile.
//!
//! That can't be while all goes by the rules, whatever is under way and however long the list took. Say the receiver once held q,
//! which is r or outdoes it (1), and by (2) has let it go since. Stores let go of dead records only; each is in G from then on.
//! So q is dead, and S covers it (3): the sender, when it held r, had q or what outdoes it. Then it did not hold r, unless q is
//! r's own mark; which goes only once the sender's clock is past r's deadline, against (4). A reconcile takes away more than
//! that, and says so in G only at its end, hence (5). So nothing needs to be looked at twice, and nothing is drift that merely
//! has not arrived.
//!
//! A repair sends the record as it is, where it is held still, with V of that moment, and the receiver's writer asks all this again
//! of what it holds by then, and only then puts the record in place. So it holds what it would hold had it lost nothing: no version is made, nobody else
//! is told, and what has removed r meanwhile has either come, and outdoes it (2), or is not covered by S (3).
//!
//! What can't be told: where a store has lost a *removal* and an older entry shows again, and the other side has let the removal
//! go by then, it looks as if the other side had lost the entry. So a repair is an operator's word, given with the list at
//! hand, and never comes by itself.

use std::collections::{BTreeMap, VecDeque};

use landbridge_protocol::{
    frame::peer::{DriftFinding, DriftRepair},
    name::{CacheName, SiteName},
    position::Sequence,
    record::{Key, Kind, Merge, Record},
    time::Timestamp,
    vector::Vector,
    version::{RunId, Version},
};

use super::{
    command::{Answer, Decided},
    group::Group,
    guards::{Guard, Guards},
    header::Records,
    replica::{Core, Replica},
    slot::{Slot, is_below, rank},
    sums,
};

/// Keys that are looked at for one part.
const MAX_LOOKED_AT: usize = 4096;
/// Records of a part at most.
const MAX_LISTED: usize = 1024;
/// Bytes of keys after which a part is closed.
const MAX_KEY_BYTES: usize = 128 << 10;
/// Records that a report names; more are counted.
pub const MAX_TOLD: usize = 1000;

/// A check that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DriftOrder {
    /// Of the operator who asked at this relay; counts up. 0: nobody did.
    pub asked: u64,
    /// Of the peer that asked for it.
    pub ask: u64,
    /// This cache only.
    pub cache: Option<CacheName>,
    /// Whether what is lacked is sent.
    pub repair: bool,
}

/// What a check has found that one side lacks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriftReport {
    /// [`DriftOrder::asked`], or the number with which this relay asked its peer.
    pub asked: u64,
    /// When it was done.
    pub checked: Option<Timestamp>,
    /// Records that are lacked, and how many of them were taken when they were sent.
    pub caches: BTreeMap<CacheName, (u64, u64)>,
    /// Caches that were left out, and why.
    pub left_out: BTreeMap<CacheName, String>,
    /// The records, at most [`MAX_TOLD`].
    pub records: Vec<Lacked>,
}

/// One record that is lacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacked {
    /// Its cache.
    pub cache: CacheName,
    /// Its key; `None`: a clear.
    pub key: Option<Key>,
    /// What it is.
    pub kind: Kind,
    /// Its version.
    pub version: Version,
    /// The version of what is held of the key by the side that lacks it.
    pub held: Option<Version>,
}

impl DriftReport {
    /// Adds what a part has found, of the records that were listed.
    pub fn add(&mut self, cache: &CacheName, found: impl Iterator<Item = Lacked>) {
        for lacked in found {
            self.caches.entry(cache.clone()).or_default().0 += 1;
            if self.records.len() < MAX_TOLD {
                self.records.push(lacked);
            }
        }
    }

    /// So many of those were taken.
    pub fn repaired(&mut self, cache: &CacheName, taken: u64) {
        self.caches.entry(cache.clone()).or_default().1 += taken;
    }

    /// The check is done. What was not looked at is as it was.
    pub fn done(mut self, former: &DriftReport, only: Option<&CacheName>, now: Timestamp) -> Self {
        self.checked = Some(now);
        // One that came by itself says no less than the one that was asked for.
        self.asked = self.asked.max(former.asked);
        if let Some(only) = only {
            let others = former.caches.iter().filter(|(cache, _)| *cache != only);
            self.caches.extend(others.map(|(cache, count)| (cache.clone(), *count)));
            self.records.extend(former.records.iter().filter(|record| record.cache != *only).cloned());
            self.records.truncate(MAX_TOLD);
        }
        self
    }

    /// Of each cache, what is lacked still.
    pub fn remaining(&self) -> impl Iterator<Item = (CacheName, u64)> + '_ {
        self.caches.iter().map(|(cache, (found, taken))| (cache.clone(), found.saturating_sub(*taken)))
    }
}

/// Some of what is held of a cache, in key order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// V when this was held.
    pub seen: Vector,
    /// What is held, and the checksums of the values.
    pub held: Vec<(Option<Key>, Slot)>,
    /// All of the buckets through here; `None`: to the end.
    pub through: Option<Key>,
}

/// What decides whether something is lacked here.
struct Ground<'a> {
    seen: &'a Vector,
    merge: Merge,
    guards: Guards,
    clear: Option<Slot>,
    /// What expires by then is let be.
    until: Timestamp,
}

impl Ground<'_> {
    fn lasts(&self, kind: Kind, deadline: Option<Timestamp>) -> bool {
        kind == Kind::Live && deadline.is_none_or(|deadline| deadline > self.until)
    }

    /// Whether the record that a peer holds should be held here, where this is.
    fn lacks(&self, record: &Record, held: Option<&Slot>) -> bool {
        if !self.seen.covers(&record.version) {
            return false;
        }
        if record.kind == Kind::Clear {
            return self.clear.is_none_or(|clear| clear.version < record.version);
        }
        if self.clear.is_some_and(|clear| is_below(self.merge, &clear.version, &record.version, &record.birth)) {
            return false;
        }
        let theirs = rank(self.merge, self.guards, record.kind, record.version, record.birth);
        let lower = held.is_none_or(|held| held.rank(self.merge, self.guards) < theirs);
        let shows = held.is_some_and(|held| self.lasts(held.kind, held.deadline));
        lower && (self.lasts(record.kind, record.deadline) || shows)
    }

    /// Whether both hold entries of one version that do not say the same.
    fn differs(&self, record: &Record, checksum: u32, held: Option<&Slot>) -> bool {
        let both_last = |held: &&Slot| self.lasts(record.kind, record.deadline) && self.lasts(held.kind, held.deadline);
        held.filter(both_last).is_some_and(|held| {
            held.version == record.version
                && (held.birth, held.deadline, held.checksum) != (record.birth, record.deadline, checksum)
        })
    }
}

impl Replica {
    /// Why drift of a cache can't be told between this relay and the peer now; `None`: it can.
    pub fn undecidable(&self, peer: &SiteName, cache: &CacheName) -> Option<String> {
        self.undecidable_by(&self.core, peer, cache)
    }

    fn undecidable_by(&self, core: &Core, peer: &SiteName, cache: &CacheName) -> Option<String> {
        let report = core.peers.get(peer);
        if !self.replicates_by(report, cache) {
            return Some(format!("it does not replicate between {} and {peer}", self.config.site));
        }
        let lacked = core.cursors.iter().find(|(_, cursor)| cursor.lacks.contains(cache)).map(|(site, _)| *site);
        let lacked_there = report.and_then(|report| report.lacks.as_ref()).is_some_and(|lacks| lacks.contains(cache));
        if let Some(site) = lacked.or(lacked_there.then_some(self.config.site)) {
            return Some(format!("it does not replicate with {site}, or is not transferred from there in whole yet"));
        }
        // Each side asks this of itself: what a peer said of it in its handshake holds for no longer than it takes to be filled.
        if !core.filled {
            return Some(format!("the store of {} is being filled", self.config.site));
        }
        for (site, report) in core.peers.iter().filter(|_| self.config.guards.hold(Guard::DriftDropped)) {
            if report.run.is_none() {
                return Some(format!("{site} has not been met since {} started", self.config.site));
            }
            if report.reconcile.is_some() || !core.seen.includes(&report.dropped) {
                return Some(format!("{} is owed a reconcile by {site}", self.config.site));
            }
        }
        None
    }

    /// The caches of which something is held here, with what is told where drift of them can't be.
    pub fn drift_caches(&self) -> Vec<CacheName> {
        self.index.caches().filter(|(_, cache)| !cache.is_empty()).map(|(name, _)| name.clone()).collect()
    }

    /// The sums of what is held of a cache.
    pub fn drift_sums(&self, cache: &CacheName) -> Vec<u64> {
        let held = self.index.cache(cache);
        held.map_or_else(|| vec![0; landbridge_protocol::frame::DRIFT_BUCKETS], |held| held.sums().to_vec())
    }

    /// The buckets in which a peer's sums are others than this relay's.
    pub fn drift_unequal(&self, cache: &CacheName, theirs: &[u64]) -> Vec<u8> {
        let mine = self.drift_sums(cache);
        let unequal = (0..=u8::MAX).zip(mine.iter().zip(theirs)).filter(|(_, (mine, theirs))| mine != theirs);
        unequal.map(|(bucket, _)| bucket).collect()
    }

    /// What is held of a cache in these buckets, after a key, as far as one part goes.
    pub fn drift_part(&self, cache: &CacheName, buckets: &[u8], after: Option<&Key>) -> Listed {
        let mut wanted = [false; landbridge_protocol::frame::DRIFT_BUCKETS];
        buckets.iter().for_each(|bucket| wanted[usize::from(*bucket)] = true);
        let mut held = Vec::new();
        if let Some(clear) = self.clear_of(cache).filter(|_| after.is_none() && wanted[0]) {
            held.push((None, clear));
        }
        let (mut bytes, mut through) = (0, None);
        for (looked_at, (key, slot)) in (1..).zip(self.index.range(cache, after, None)) {
            if wanted[usize::from(sums::of_key(key.as_bytes()).1)] {
                bytes += key.as_bytes().len();
                held.push((Some(key.clone()), slot));
            }
            if looked_at >= MAX_LOOKED_AT || held.len() >= MAX_LISTED || bytes >= MAX_KEY_BYTES {
                through = Some(key);
                break;
            }
        }
        Listed { seen: self.core.seen.clone(), held, through }
    }

    /// What of a peer's list this relay lacks, or holds otherwise.
    pub fn drift_found(
        &self,
        cache: &CacheName,
        their_seen: &Vector,
        (records, checksums): (&[Record], &[u32]),
        now: Timestamp,
    ) -> Vec<DriftFinding> {
        if !self.explains(&self.core.dropped, their_seen) {
            return Vec::new();
        }
        let merge = self.index.cache(cache).map_or(Merge::Latest, |cache| cache.merge());
        let ground = self.ground(&self.core.seen, merge, self.clear_of(cache), now);
        let found = records.iter().zip(checksums).enumerate().filter_map(|(at, (record, checksum))| {
            let held = match &record.key {
                Some(key) => self.slot(cache, key),
                None => self.clear_of(cache),
            };
            let found = ground.lacks(record, held.as_ref()) || ground.differs(record, *checksum, held.as_ref());
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            found.then_some(DriftFinding { at, held: held.map(|held| held.version) })
        });
        found.collect()
    }

    /// Whether who held something with this V knew of all that was dropped.
    fn explains(&self, dropped: &Vector, their_seen: &Vector) -> bool {
        !self.config.guards.hold(Guard::DriftDropped) || their_seen.includes(dropped)
    }

    fn ground<'a>(&self, seen: &'a Vector, merge: Merge, clear: Option<Slot>, now: Timestamp) -> Ground<'a> {
        Ground { seen, merge, guards: self.config.guards, clear, until: now.after(self.config.max_clock_skew) }
    }
}

/// A record as it is listed: without what does not decide.
pub fn listed(cache: &CacheName, key: Option<&Key>, slot: &Slot) -> Record {
    let bare = Record::bare(cache.clone(), key.cloned(), slot.kind, slot.version);
    Record { birth: slot.birth, deadline: slot.deadline, ..bare }
}

/// What was found of a list, in words for the report.
pub fn lacked(records: &[Record], finding: &DriftFinding) -> Option<Lacked> {
    let record = records.get(usize::try_from(finding.at).ok()?)?;
    let Record { cache, key, kind, version, .. } = record.clone();
    Some(Lacked { cache, key, kind, version, held: finding.held })
}

/// Where a listed record lies and the bytes of its value, for those that are to be sent: not of those that merely differ, as nobody can say which is right.
pub fn to_send(held: &[(Option<Key>, Slot)], findings: &[DriftFinding]) -> VecDeque<(Sequence, u64)> {
    let of = |finding: &DriftFinding| {
        let (_, slot) = held.get(usize::try_from(finding.at).ok()?)?;
        (finding.held != Some(slot.version)).then_some((slot.sequence, u64::from(slot.value_bytes)))
    };
    findings.iter().filter_map(of).collect()
}

impl Group<'_> {
    /// Takes of what a peer sends for a repair that which is lacked here still; tells how many that were.
    pub(crate) fn repair_drift(
        &mut self,
        peer: SiteName,
        run: RunId,
        repair: DriftRepair,
        read: &dyn Records,
    ) -> Decided {
        self.taken_from(&peer, run)?;
        self.check_vector(&repair.seen)?;
        self.check_records(&peer, &repair.records)?;
        let DriftRepair { cache, seen, records } = repair;
        let explained = self.base.explains(&self.core.dropped, &seen);
        let mut taken = 0;
        if !explained || self.base.undecidable_by(&self.core, &peer, &cache).is_some() {
            return Ok(Answer::DriftRepaired { taken });
        }
        for record in records.into_iter().filter(|record| record.cache == cache) {
            let held = match &record.key {
                Some(key) => self.slot(&cache, key),
                None => self.clear_of(&cache),
            };
            let merge = self.merge_of(&cache).unwrap_or(Merge::Latest);
            let ground = self.base.ground(&self.core.seen, merge, self.clear_of(&cache), self.now);
            if !ground.lacks(&record, held.as_ref()) {
                continue;
            }
            taken += 1;
            self.open_for(&peer, &record);
            if record.key.is_some() {
                self.append_over(record, held);
            } else {
                self.merge(record, &peer, read);
            }
        }
        Ok(Answer::DriftRepaired { taken })
    }
}
