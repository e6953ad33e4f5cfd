//! A group of commands, decided on top of the committed state and of each other, that become durable together.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasherDefault, DefaultHasher},
};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    name::{CacheName, SiteName},
    position::Sequence,
    record::{Key, Kind, Merge, Record, WriteToken},
    time::{Millis, Timestamp},
    vector::Vector,
    version::{Clock, Origin, Version},
};

use super::{
    command::{Answer, Command, Decided},
    conflicts::{Conflict, Counts, Found},
    guards::{Guard, Guards},
    header::{Commit, CommitHeader, LogRecord, ReadError, Records, record_at},
    layers::is_cleared,
    peer::PeerReport,
    replica::{Core, Replica, ReplicaConfig, Replicate},
    slot::{Slot, is_below},
    tokens::{Told, told_by},
    tombstones::SWEEP_EVERY,
};

/// Bytes of a record in the log besides key and value, about.
const RECORD_OVERHEAD_BYTES: usize = 160;
/// What a peer has said of this relay's wall clock counts for so long: longer than a faulted link ever waits.
const WITNESSED_FOR: Millis = Millis::from_secs(660);
/// Bytes of a header, about.
const HEADER_BYTES: usize = 256;

/// What a group changes in one cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheChange {
    pub(crate) merge: Merge,
    pub(crate) clear: Option<Slot>,
    /// Whether the clear has left nothing of what was held before this group.
    pub(crate) emptied: bool,
    /// `None`: nothing is held of the key any more.
    pub(crate) keys: Keys,
}

/// What a group changes, by key. Its hasher has no random keys: equal groups are published in the same order. A group is
/// small, so that keys which are made to collide cost little.
pub(crate) type Keys = HashMap<Key, Option<Slot>, BuildHasherDefault<DefaultHasher>>;

/// Commands decided so far on top of a replica, and of groups that are not yet published, none of which they change.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    pub(crate) base: &'a Replica,
    /// Decided before this one and not yet published, oldest first.
    ahead: Vec<&'a Staged>,
    /// The head when it began.
    begun: Sequence,
    pub(crate) now: Timestamp,
    pub(crate) core: Core,
    changes: BTreeMap<CacheName, CacheChange>,
    records: Vec<(Sequence, LogRecord)>,
    told: BTreeMap<WriteToken, Told>,
    /// See [`Staged::origins`].
    pub(crate) origins: BTreeSet<Origin>,
    pub(crate) found: Found,
    /// The configuration that holds once the group is published.
    pub(crate) config: Option<ReplicaConfig>,
    /// Whether something besides records must become durable.
    pub(crate) durable: bool,
    bytes: usize,
}

/// What a group amounts to.
#[derive(Debug, Clone)]
pub struct Staged {
    /// What must become durable before [`Replica::publish`]; `None`: nothing must.
    pub commit: Option<Commit>,
    pub(crate) core: Core,
    pub(crate) changes: BTreeMap<CacheName, CacheChange>,
    pub(crate) told: BTreeMap<WriteToken, Told>,
    /// Origins of peers' records that were new to the index, those of groups ahead included.
    pub(crate) origins: BTreeSet<Origin>,
    pub(crate) config: Option<ReplicaConfig>,
    /// The conflicts that were found, up to a bound.
    pub conflicts: Vec<Conflict>,
    /// All of them, counted.
    pub conflict_counts: Counts,
}

impl Staged {
    /// Whether nothing is decided on top of it before it is published: where it puts something into a cache that is not
    /// declared here, and where another configuration holds after it.
    pub fn must_be_published(&self, replica: &Replica) -> bool {
        self.config.is_some() || self.changes.keys().any(|cache| !replica.declares(cache))
    }

    /// How many of the commit's records another of them supersedes.
    pub(crate) fn superseded(&self) -> usize {
        let records = self.commit.iter().flat_map(|commit| &commit.records);
        let is_superseded = |(sequence, record): &&(Sequence, LogRecord)| {
            let LogRecord::Record(Record { cache, key: Some(key), .. }) = record else { return false };
            let held = self.changes.get(cache).and_then(|change| change.keys.get(key).copied().flatten());
            held.is_some_and(|held| held.sequence > *sequence)
        };
        records.filter(is_superseded).count()
    }

    /// How many of the commit's records are held once it is published.
    pub fn held(&self) -> usize {
        self.changes.values().flat_map(|change| change.keys.values().chain([&change.clear])).flatten().count()
    }
}

impl<'a> Group<'a> {
    pub(crate) fn new(base: &'a Replica, ahead: Vec<&'a Staged>, now: Timestamp) -> Self {
        let core = ahead.last().map_or(&base.core, |last| &last.core).clone();
        let origins =
            ahead.last().into_iter().flat_map(|last| &last.origins).filter(|origin| !base.index.knows(origin));
        let origins = origins.copied().collect();
        Self {
            base,
            ahead,
            begun: core.head,
            now,
            core,
            changes: BTreeMap::new(),
            records: Vec::new(),
            told: BTreeMap::new(),
            origins,
            found: Found::default(),
            config: None,
            durable: false,
            bytes: HEADER_BYTES,
        }
    }

    /// Makes room for so many commands.
    pub fn expect(&mut self, commands: usize) {
        self.records.reserve(commands);
    }

    /// Decides one command. A refused one leaves nothing behind.
    pub fn step(&mut self, command: Command, read: &dyn Records) -> Decided {
        // The others refuse, if at all, before they stage anything.
        let before =
            matches!(command, Command::ReconcileChunk { .. } | Command::Introduced { .. }).then(|| self.clone());
        let decided = self.decide(command, read);
        if let (Some(before), Err(_)) = (before, &decided) {
            *self = before;
        }
        decided
    }

    fn decide(&mut self, command: Command, read: &dyn Records) -> Decided {
        if self.core.ended {
            return Err(Refusal::new(ErrorCode::ShuttingDown, "the relay is shutting down; try again when it is back"));
        }
        match command {
            Command::Write { node, write } => self.write(node, write, read),
            Command::Clear { node, cache, token, retry } => self.clear(node, cache, token, retry, read),
            Command::Introduced { peer, incoming } => self.introduced(*peer, incoming),
            Command::Started { peer, run, after } => self.started(peer, run, after),
            Command::Apply { peer, run, batch } => self.apply(peer, run, *batch, read),
            Command::Heard { peer, run, past, skew_ms } => self.heard(peer, run, past, skew_ms),
            Command::Skewed { peer, skew_ms } => self.skewed(peer, skew_ms),
            Command::Acknowledged { peer, run, through } => self.acknowledged(peer, run, through),
            Command::Reported { peer, run, seen } => self.reported(peer, run, &seen),
            Command::ReconcileBegin { peer, run, begin } => self.reconcile_begin(peer, run, begin),
            Command::ReconcileChunk { peer, run, chunk } => self.reconcile_chunk(peer, run, *chunk, read),
            Command::RepairDrift { peer, run, repair } => self.repair_drift(peer, run, *repair, read),
            Command::Lost { peer, incoming } => self.lost(peer, incoming),
            Command::DropProposed { peer, proposal } => self.drop_proposed(peer, proposal),
            Command::DropAnswered { peer, answer } => self.drop_answered(peer, answer, read),
            Command::Housekeep => self.housekeep(read),
            Command::Reconfigure(config) => self.reconfigure(*config),
            Command::EndRun => Ok(self.end_run()),
        }
    }

    fn end_run(&mut self) -> Answer {
        if let Some(run) = self.core.runs.last_mut() {
            run.ended_in_order = true;
        }
        self.core.ended = true;
        self.durable = true;
        Answer::Done
    }

    /// Bytes that the commit will have, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the commands amount to.
    pub fn finish(mut self) -> Staged {
        let commit = (self.durable || !self.records.is_empty()).then(|| {
            let first = self.begun.next();
            if self.records.is_empty() {
                self.core.head = first;
            }
            let caches = self.base.index.caches().filter(|(_, cache)| !cache.is_empty());
            let mut merges: BTreeMap<CacheName, Merge> =
                caches.map(|(name, cache)| (name.clone(), cache.merge())).collect();
            let ahead = self.ahead.iter().flat_map(|ahead| &ahead.changes);
            merges.extend(ahead.chain(&self.changes).map(|(name, change)| (name.clone(), change.merge)));
            let header = CommitHeader {
                first,
                last: self.core.head,
                clock: self.core.clock,
                seen: self.core.seen.clone(),
                dropped: self.core.dropped.clone(),
                outdone: self.core.outdone,
                cursors: self.core.cursors.iter().map(|(peer, cursor)| (*peer, cursor.clone())).collect(),
                runs: self.core.runs.clone(),
                filled: self.core.filled,
                caches: merges.into_iter().collect(),
            };
            Commit { header, records: self.records }
        });
        let Found { told: conflicts, counts: conflict_counts } = self.found;
        Staged {
            commit,
            core: self.core,
            changes: self.changes,
            told: self.told,
            origins: self.origins,
            config: self.config,
            conflicts,
            conflict_counts,
        }
    }

    pub(crate) fn guards(&self) -> Guards {
        self.base.config.guards
    }

    /// What this group and those ahead of it change in a cache, newest first.
    pub(crate) fn layers(&self, cache: &CacheName) -> impl DoubleEndedIterator<Item = &CacheChange> {
        let ahead = self.ahead.iter().rev().filter_map(|ahead| ahead.changes.get(cache));
        self.changes.get(cache).into_iter().chain(ahead)
    }

    pub(crate) fn merge_of(&self, cache: &CacheName) -> Option<Merge> {
        let changed = self.layers(cache).next().map(|change| change.merge);
        changed.or_else(|| self.base.index.cache(cache).map(|cache| cache.merge()))
    }

    pub(crate) fn is_local(&self, cache: &CacheName) -> bool {
        self.base.config.caches.get(cache).is_some_and(|cache| cache.replicate == Replicate::Local)
    }

    pub(crate) fn clear_of(&self, cache: &CacheName) -> Option<Slot> {
        let changed = self.layers(cache).find_map(|change| change.clear);
        changed.or_else(|| self.base.clear_of(cache))
    }

    /// What is held of a key, by the group so far.
    pub(crate) fn slot(&self, cache: &CacheName, key: &Key) -> Option<Slot> {
        if !self.guards().hold(Guard::GroupSoFar) {
            return self.base.slot(cache, key);
        }
        // Floors only rise: the newest is the one that counts.
        let mut cleared_by: Option<&CacheChange> = None;
        let mut held = None;
        for change in self.layers(cache) {
            held = change.keys.get(key).copied();
            if held.is_some() {
                break;
            }
            cleared_by = cleared_by.or(change.clear.is_some().then_some(change));
        }
        let held = held.unwrap_or_else(|| self.base.slot(cache, key));
        held.filter(|slot| !cleared_by.is_some_and(|change| is_cleared(change, slot)))
    }

    /// The caches that the group, or one ahead of it, has changed or opened.
    pub(crate) fn opened(&self) -> impl Iterator<Item = &CacheName> {
        self.ahead.iter().flat_map(|ahead| ahead.changes.keys()).chain(self.changes.keys())
    }

    /// What the group, or one ahead of it, has put in place of what was held.
    pub(crate) fn staged(&self) -> impl Iterator<Item = &Slot> {
        let ahead = self.ahead.iter().flat_map(|ahead| ahead.changes.values());
        ahead.chain(self.changes.values()).flat_map(|change| change.keys.values().flatten().chain(&change.clear))
    }

    /// The caches known by now, in order.
    pub(crate) fn cache_names(&self) -> BTreeSet<CacheName> {
        self.base.index.caches().map(|(name, _)| name).chain(self.opened()).cloned().collect()
    }

    /// The record at a sequence: of this group, of one ahead of it, or of the log.
    pub(crate) fn record(&self, sequence: Sequence, read: &dyn Records) -> Result<Record, Refusal> {
        let failed = |error: ReadError| Refusal::new(ErrorCode::Internal, error.to_string());
        if sequence <= self.base.core.head {
            return read.record(sequence).map_err(failed);
        }
        let ahead = self.ahead.iter().filter_map(|ahead| ahead.commit.as_ref()).map(|commit| &commit.records);
        let found = ahead.chain([&self.records]).find_map(|records| record_at(records, sequence));
        let missing = || failed(ReadError { sequence, reason: "no record of this group".into() });
        found.cloned().ok_or_else(missing)
    }

    /// What a client's write came to, as far as that is remembered.
    pub(crate) fn told(&self, token: &WriteToken) -> Option<Told> {
        let ahead = self.ahead.iter().rev().find_map(|ahead| ahead.told.get(token));
        self.told.get(token).or(ahead).copied().or_else(|| self.base.tokens.told(token))
    }

    /// The clock of the next version; refused where it would be too far ahead of the wall clock.
    pub(crate) fn next_clock(&self) -> Result<Clock, Refusal> {
        let ahead = |why: &str| Refusal::new(ErrorCode::ClockAhead, why.to_owned());
        let clock = self.core.clock.next(self.now).ok_or_else(|| ahead("the relay's clock is at its end"))?;
        if clock.wall() > self.now.after(self.far()) {
            return Err(ahead("the relay's clock is too far ahead of its wall clock; check the clocks of the sites"));
        }
        let limit = i64::try_from(self.base.config.max_clock_skew.get()).unwrap_or(i64::MAX);
        // A link that is faulted by it is tried again all the time; what was said by another clock than this counts no more.
        let fresh = |at: Timestamp| at <= self.now && self.now <= at.after(WITNESSED_FOR);
        let ahead_of = |peer: &&PeerReport| peer.skew_ms.is_some_and(|skew| skew < -limit) && fresh(peer.skewed_at);
        let witnesses = self.core.peers.values().filter(ahead_of).count();
        if witnesses >= 2 && witnesses * 2 > self.core.peers.len() + 1 {
            return Err(ahead("most of the sites say that this relay's wall clock is ahead; set it right"));
        }
        Ok(clock)
    }

    /// How far ahead of the wall clock a record may be.
    pub(crate) fn far(&self) -> Millis {
        Millis::new(self.base.config.max_clock_skew.get().saturating_mul(2))
    }

    /// Issues a version: V advances by own commits.
    pub(crate) fn issue(&mut self) -> Result<Version, Refusal> {
        let clock = self.next_clock()?;
        let origin = self.own_origin();
        self.core.clock = clock;
        self.core.seen.raise(origin, clock);
        Ok(Version { clock, origin })
    }

    /// The present run.
    pub(crate) fn own_origin(&self) -> Origin {
        Origin { site: self.base.config.site, run: self.core.run }
    }

    /// Makes a place for a cache that is not declared here, under a peer's merge.
    pub(crate) fn open(&mut self, cache: &CacheName, merge: Merge) {
        self.changes.entry(cache.clone()).or_insert(CacheChange {
            merge,
            clear: None,
            emptied: false,
            keys: Keys::default(),
        });
    }

    pub(crate) fn change(&mut self, cache: &CacheName) -> &mut CacheChange {
        if !self.changes.contains_key(cache) {
            self.open(cache, self.merge_of(cache).unwrap_or(Merge::Latest));
        }
        self.changes.get_mut(cache).expect("opened above")
    }

    /// Where a record at `sequence` stands from that supersedes `old`: from itself where every peer has passed the old
    /// one, else from where the old one does.
    fn stands_from(&self, old: Option<&Slot>, sequence: Sequence) -> Sequence {
        let passed = |old: &Slot| {
            !self.guards().hold(Guard::NoSuperseder)
                || self.core.peers.values().all(|peer| peer.acknowledged_all() >= old.sequence)
        };
        old.filter(|old| !passed(old)).map_or(sequence, |old| old.stands_from)
    }

    /// Remembers what a record says of the write that made it, also where the record itself is not kept.
    pub(crate) fn note(&mut self, record: &Record) {
        if let Some((token, told)) = told_by(record) {
            self.told.entry(token).or_insert(told);
        }
    }

    /// Puts a record at the end of the log, in place of what its key had.
    pub(crate) fn append(&mut self, record: Record) {
        let old = record.key.as_ref().and_then(|key| self.slot(&record.cache, key));
        self.append_over(record, old);
    }

    /// As [`Group::append`], where it is known what is held of the record's key.
    pub(crate) fn append_over(&mut self, record: Record, old: Option<Slot>) {
        let sequence = self.core.head.next();
        self.core.head = sequence;
        self.bytes +=
            RECORD_OVERHEAD_BYTES + record.key.as_ref().map_or(0, |key| key.as_bytes().len()) + record.value.len();
        self.note(&record);
        if Self::is_dead(record.kind) {
            // Not only at its least age: the bound on their number is looked at as well.
            let due = self.now.after(self.base.config.tombstone_min_age.min(SWEEP_EVERY));
            self.core.sweep_at = Some(self.core.sweep_at.map_or(due, |at| at.min(due)));
        }
        match &record.key {
            Some(key) => {
                self.note_outdone_by(&record, old.as_ref());
                let stands_from = self.stands_from(old.as_ref(), sequence);
                let slot = Slot::of(&record, sequence, stands_from);
                let key = key.clone();
                self.change(&record.cache).keys.insert(key, Some(slot));
            }
            None => self.append_clear(&record, sequence),
        }
        self.records.push((sequence, LogRecord::Record(record)));
    }

    fn append_clear(&mut self, record: &Record, sequence: Sequence) {
        let merge = self.merge_of(&record.cache).unwrap_or(Merge::Latest);
        let below = self.below(&record.cache, &record.version);
        for (_, slot) in below.iter().filter(|(_, slot)| slot.version.clock > record.version.clock) {
            self.note_outdone(slot.version.clock);
        }
        let earlier = self.clear_of(&record.cache);
        let outdone = below.iter().map(|(_, slot)| slot).chain(&earlier);
        let stands_from = outdone.map(|old| self.stands_from(Some(old), sequence)).min().unwrap_or(sequence);
        let slot = Slot::of(record, sequence, stands_from);
        let change = self.change(&record.cache);
        change.clear = Some(slot);
        for held in change.keys.values_mut() {
            *held = held.filter(|held| !is_below(merge, &slot.version, &held.version, &held.birth));
        }
    }

    /// Lets go of what a key has. `logged`: the log must say so, as no vector does.
    pub(crate) fn forget(&mut self, cache: &CacheName, key: &Key, logged: bool) {
        self.note_forgotten(cache, key);
        self.change(cache).keys.insert(key.clone(), None);
        self.durable = true;
        if logged {
            self.core.head = self.core.head.next();
            self.bytes += RECORD_OVERHEAD_BYTES;
            self.records.push((self.core.head, LogRecord::Forgotten { cache: cache.clone(), key: key.clone() }));
        }
    }

    /// Moves the clock past every clock that comes in.
    pub(crate) fn pass(&mut self, clock: Clock) {
        self.core.clock = self.core.clock.max(clock);
    }

    /// Joins V; what that changes must become durable, as peers go by it.
    pub(crate) fn join_seen(&mut self, vector: &Vector) {
        self.durable |= self.core.seen.join(vector);
    }

    /// The report of a configured peer.
    pub(crate) fn peer(&mut self, peer: &SiteName) -> Result<&mut PeerReport, Refusal> {
        let unknown = || Refusal::new(ErrorCode::UnknownPeer, format!("no peer {peer} is configured at this relay"));
        self.core.peers.get_mut(peer).ok_or_else(unknown)
    }

    /// Whether the record lies below its cache's floor.
    pub(crate) fn is_below_floor(&self, cache: &CacheName, version: &Version, birth: &Version) -> bool {
        let merge = self.merge_of(cache).unwrap_or(Merge::Latest);
        self.clear_of(cache).is_some_and(|clear| is_below(merge, &clear.version, version, birth))
    }

    /// Whether something of `kind` may be dropped or expire: not an entry.
    pub(crate) fn is_dead(kind: Kind) -> bool {
        matches!(kind, Kind::Tombstone | Kind::Mark)
    }
}
