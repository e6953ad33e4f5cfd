//! The committed state of one relay, in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use landbridge_protocol::{
    frame::peer::{DropProposal, Place},
    name::{CacheName, SiteName},
    position::{Cursor, Sequence, Through},
    record::{Key, Merge, Record},
    time::{Millis, Timestamp},
    vector::Vector,
    version::{Clock, Origin, RunId},
};

use super::{
    command::Published,
    conflicts::Counts,
    group::{Group, Staged},
    guards::{Guard, Guards},
    header::{PeerCursor, StoreRun, record_at},
    index::Index,
    peer::Round,
    slot::Slot,
    tokens::Tokens,
};
pub use super::{digest::digest_of, index::CacheStats, peer::PeerReport};

/// Runs of the store that a header lists.
pub const MAX_RUNS: usize = 64;

/// Where a cache's records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replicate {
    /// To every peer, after the write was acknowledged.
    Async,
    /// Nowhere.
    Local,
}

impl Replicate {
    /// As the configuration has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Replicate::Async => "async",
            Replicate::Local => "local",
        }
    }
}

/// A cache, as configured here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// How its records are merged.
    pub merge: Merge,
    /// Where they go.
    pub replicate: Replicate,
    /// Lifespan of entries that are written without one.
    pub lifespan: Option<Millis>,
    /// Bytes of a value that a node may write; keys have a bound of their own, and peers' records the protocol's.
    pub max_entry_bytes: u32,
}

/// What a replica must know besides its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// This relay's site.
    pub site: SiteName,
    /// The other sites.
    pub peers: Vec<SiteName>,
    /// Sites that were decommissioned: what is held of them stays, and nothing more comes from them.
    pub former_sites: BTreeSet<SiteName>,
    /// The caches.
    pub caches: BTreeMap<CacheName, CacheConfig>,
    /// How far wall clocks may be apart.
    pub max_clock_skew: Millis,
    /// Tombstones are kept at least so long.
    pub tombstone_min_age: Millis,
    /// From this age on they are forced out.
    pub tombstone_max_age: Millis,
    /// Beyond this number they are forced out.
    pub max_tombstones: u64,
    /// Runs that V may name once what a peer says is joined; one that says more is refused.
    pub max_runs: usize,
    /// Keys held here that one command of a reconcile goes through at most.
    pub reconcile_keys: usize,
    /// Other sites' changes are passed on to a peer that lacks them after this time.
    pub forward_after: Millis,
    /// A fresh store that reaches no peer serves after this time.
    pub fill_wait: Millis,
    /// The rules that hold.
    pub guards: Guards,
}

impl ReplicaConfig {
    /// The sites, this relay's own included.
    pub fn sites(&self) -> impl Iterator<Item = SiteName> {
        self.peers.iter().copied().chain([self.site])
    }
}

/// All of the state that is small: a group works on a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Core {
    pub(crate) run: RunId,
    pub(crate) head: Sequence,
    pub(crate) clock: Clock,
    pub(crate) seen: Vector,
    pub(crate) dropped: Vector,
    /// See [`super::header::CommitHeader::outdone`].
    pub(crate) outdone: Clock,
    pub(crate) cursors: BTreeMap<SiteName, PeerCursor>,
    pub(crate) runs: Vec<StoreRun>,
    pub(crate) filled: bool,
    /// Since when a fresh store waits for a peer.
    pub(crate) fresh_since: Timestamp,
    /// Whether the run has ended in order: nothing is written any more.
    pub(crate) ended: bool,
    pub(crate) peers: BTreeMap<SiteName, PeerReport>,
    pub(crate) round: Option<Round>,
    pub(crate) rounds: u64,
    /// Ended runs of which V claims all that is held.
    pub(crate) closed: BTreeSet<Origin>,
    /// When tombstones are looked through next; `None`: when a peer has said something new.
    pub(crate) sweep_at: Option<Timestamp>,
    /// Where the looking through goes on.
    pub(crate) sweep_from: Clock,
    /// Not begun again before, whatever peers say: see `tombstones.rs`.
    pub(crate) sweep_rests_until: Timestamp,
    /// How often in this run it was configured anew so that links begin anew.
    pub(crate) generation: u64,
}

/// The committed state of one relay. Deterministic: equal inputs give equal replicas.
#[derive(Debug, Clone)]
pub struct Replica {
    pub(crate) config: Arc<ReplicaConfig>,
    pub(crate) core: Core,
    pub(crate) index: Index,
    pub(crate) tokens: Tokens,
    pub(crate) conflicts: Counts,
}

impl PartialEq for Replica {
    fn eq(&self, other: &Self) -> bool {
        self.core == other.core && self.index == other.index
    }
}
impl Eq for Replica {}
/// Where records lie that are not held any more.
#[derive(Debug, Default)]
pub struct Gone {
    /// A later record of the log has their key.
    pub superseded: Vec<Sequence>,
    /// They were let go, or cleared.
    pub taken: Vec<Sequence>,
}

/// Of what decides and can be told from outside: not when something is looked at next.
impl Hash for Core {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.run, self.head, self.clock, &self.seen, &self.dropped).hash(state);
        (&self.cursors, &self.runs, self.filled, self.ended, self.outdone).hash(state);
        (&self.peers, &self.round, &self.closed, self.generation).hash(state);
    }
}
impl Hash for Replica {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.core.hash(state);
        self.index.hash(state);
    }
}

impl Replica {
    /// A fresh one: an empty store whose first run begins now.
    pub fn new(config: ReplicaConfig, run: RunId, now: Timestamp) -> Self {
        let mut index = Index::default();
        for (name, cache) in &config.caches {
            index.open(name, cache.merge);
        }
        let core = Core {
            run,
            head: Sequence::ZERO,
            clock: Clock::ZERO,
            seen: Vector::new(),
            dropped: Vector::new(),
            outdone: Clock::ZERO,
            cursors: BTreeMap::new(),
            runs: vec![StoreRun { run, first: Sequence::ZERO.next(), ended_in_order: false }],
            filled: config.peers.is_empty(),
            fresh_since: now,
            ended: false,
            peers: config.peers.iter().map(|peer| (*peer, PeerReport::default())).collect(),
            round: None,
            rounds: 0,
            closed: BTreeSet::new(),
            sweep_at: None,
            sweep_from: Clock::ZERO,
            sweep_rests_until: Timestamp::ZERO,
            generation: 0,
        };
        Self { config: Arc::new(config), core, index, tokens: Tokens::default(), conflicts: Counts::new() }
    }

    /// A new run begins on the replayed store.
    pub fn start(&mut self, run: RunId, now: Timestamp) {
        let core = &mut self.core;
        core.run = run;
        if core.head == Sequence::ZERO {
            core.runs.clear();
        }
        let first = core.head.next();
        core.runs.push(StoreRun { run, first, ended_in_order: false });
        let surplus = core.runs.len().saturating_sub(MAX_RUNS);
        core.runs.drain(..surplus);
        core.clock = core.clock.max(core.seen.greatest()).max(core.dropped.greatest());
        self.tokens.begin(core.clock);
        core.fresh_since = now;
        core.ended = false;
        core.peers = self.config.peers.iter().map(|peer| (*peer, PeerReport::default())).collect();
        core.round = None;
        core.closed.clear();
        core.sweep_at = Some(now);
        core.sweep_from = Clock::ZERO;
        core.sweep_rests_until = Timestamp::ZERO;
        core.generation = 0;
        core.lack_local(&self.config);
    }

    /// Begins a group of commands on top of this state, without changing it.
    pub fn begin(&self, now: Timestamp) -> Group<'_> {
        Group::new(self, Vec::new(), now)
    }

    /// Begins a group on top of this state and of groups that are decided and not yet published, oldest first. Such a
    /// group takes no command for which [`super::command::Command::needs_all_published`].
    pub fn begin_after<'a>(&'a self, ahead: impl Iterator<Item = &'a Staged>, now: Timestamp) -> Group<'a> {
        Group::new(self, ahead.collect(), now)
    }

    /// Takes in what a group amounts to, once its commit is durable; at once where it has none.
    pub fn publish(&mut self, staged: Staged) -> Published {
        self.publish_over(staged, &mut Gone::default())
    }

    /// As [`Replica::publish`]; adds to `gone` where the records lie that were held until then.
    pub fn publish_over(&mut self, staged: Staged, gone: &mut Gone) -> Published {
        let records = staged.commit.as_ref().map_or(&[][..], |commit| &commit.records);
        for (cache, change) in staged.changes {
            self.index.open(&cache, change.merge);
            if let Some(clear) = change.clear {
                gone.taken.extend(self.index.clear(&cache, clear));
            }
            for (key, slot) in change.keys {
                match slot {
                    Some(mut slot) => {
                        let has_context = !slot.parties.are_none();
                        if has_context && let Some(record) = record_at(records, slot.sequence) {
                            slot.parties = self.index.parties_of(record, &staged.core.seen);
                        }
                        gone.superseded.extend(self.index.insert(&cache, &key, &slot));
                    }
                    None => gone.taken.extend(self.index.remove(&cache, &key)),
                }
            }
        }
        if !staged.origins.is_empty() {
            self.index.note_origins(records);
        }
        self.tokens.join(staged.told);
        self.core = staged.core;
        if let Some(config) = staged.config {
            self.take_over(config);
        }
        staged.conflict_counts.into_iter().for_each(|(of, count)| *self.conflicts.entry(of).or_default() += count);
        self.published()
    }

    /// The site.
    pub fn site(&self) -> SiteName {
        self.config.site
    }
    /// The present run as an origin.
    pub fn origin(&self) -> Origin {
        Origin { site: self.config.site, run: self.core.run }
    }
    /// What it was configured with.
    pub fn config(&self) -> &ReplicaConfig {
        &self.config
    }
    /// Whether the cache is configured here.
    pub fn declares(&self, cache: &CacheName) -> bool {
        self.config.caches.contains_key(cache)
    }
    /// The newest sequence.
    pub fn head(&self) -> Sequence {
        self.core.head
    }
    /// V.
    pub fn seen(&self) -> &Vector {
        &self.core.seen
    }
    /// G.
    pub fn dropped(&self) -> &Vector {
        &self.core.dropped
    }
    /// The hybrid clock.
    pub fn clock(&self) -> Clock {
        self.core.clock
    }
    /// The store's runs, oldest first.
    pub fn runs(&self) -> &[StoreRun] {
        &self.core.runs
    }

    /// What is held of a key: an entry, a tombstone or a mark.
    pub fn slot(&self, cache: &CacheName, key: &Key) -> Option<Slot> {
        self.index.slot(cache, key)
    }

    /// The entry of a key that can be read now.
    pub fn live(&self, cache: &CacheName, key: &Key, now: Timestamp) -> Option<Slot> {
        self.slot(cache, key).filter(|slot| slot.is_live(now))
    }

    /// A cache's clear record.
    pub fn clear_of(&self, cache: &CacheName) -> Option<Slot> {
        self.index.cache(cache)?.clear()
    }

    /// The caches of which something is known here, configured or not, with their merge.
    pub fn caches(&self) -> impl Iterator<Item = (&CacheName, Merge)> {
        self.index.caches().map(|(name, cache)| (name, cache.merge()))
    }

    /// How records of a cache are merged.
    pub fn merge(&self, cache: &CacheName) -> Merge {
        self.index.cache(cache).map_or(Merge::Latest, |cache| cache.merge())
    }

    /// Conflicts of a cache that were found since the start.
    pub fn conflicts(&self, cache: &CacheName) -> u64 {
        self.conflicts.iter().filter(|((of, _), _)| of == cache).map(|(_, count)| count).sum()
    }

    /// Counts of a cache.
    pub fn stats(&self, cache: &CacheName) -> Option<CacheStats> {
        Some(self.index.cache(cache)?.stats())
    }

    /// Entries that can be read now, in key order: those that begin with `prefix`, after `after`, at most `limit`. Looks at
    /// `look` keys at most, as any number of them may hold what is no entry; where that ended it, tells the last of them.
    pub fn entries(
        &self,
        cache: &CacheName,
        prefix: &[u8],
        after: Option<&Key>,
        (limit, look): (usize, usize),
        now: Timestamp,
    ) -> (Vec<(Key, Slot)>, Option<Key>) {
        let first = Key::new(prefix.to_vec()).ok().filter(|first| after.is_none_or(|after| after < first));
        let exact = first.as_ref().and_then(|key| Some((key.clone(), self.slot(cache, key)?)));
        let rest = self.index.range(cache, first.as_ref().or(after), None);
        let with_prefix = rest.take_while(|(key, _)| key.as_bytes().starts_with(prefix));
        let mut found = Vec::new();
        for (looked, (key, slot)) in (1..).zip(exact.into_iter().chain(with_prefix)) {
            let on = (looked >= look).then(|| key.clone());
            if slot.is_live(now) {
                found.push((key, slot));
            }
            if found.len() >= limit || on.is_some() {
                return (found, on);
            }
        }
        (found, None)
    }

    /// Whether a record of the log is still the one that is held.
    pub fn holds(&self, sequence: Sequence, record: &Record) -> bool {
        let held = match &record.key {
            Some(key) => self.slot(&record.cache, key),
            None => self.clear_of(&record.cache),
        };
        held.is_some_and(|held| held.sequence == sequence)
    }

    /// Whether the record was written at this site.
    pub fn own(&self, record: &Record) -> bool {
        record.version.origin.site == self.config.site
    }

    /// What a peer has said; `None` for a site that is not configured.
    pub fn report(&self, peer: &SiteName) -> Option<&PeerReport> {
        self.core.peers.get(peer)
    }

    /// Whether the peer's V does not cover what was dropped here: it gets a reconcile, and nothing is taken from it
    /// before.
    pub fn must_reconcile(&self, peer: &SiteName) -> bool {
        self.report(peer).is_some_and(|report| !report.seen.includes(&self.core.dropped))
    }

    /// Whether this relay sends nothing to the peer, as the peer would not take it before it has reconciled this relay.
    pub fn held_back(&self, peer: &SiteName) -> bool {
        self.config.guards.hold(Guard::NoGate)
            && self.report(peer).is_some_and(|report| !self.core.seen.includes(&report.dropped))
    }

    /// Where a stream to a peer goes on that has this cursor of the log: there, where the cursor is of the present run or
    /// of one that ended in order with none between that did not; else at zero.
    pub fn resume(&self, cursor: Option<&Cursor>) -> Through {
        let Some(cursor) = cursor else { return Through::default() };
        let runs = &self.core.runs;
        let guards = &self.config.guards;
        let written = [Guard::WrittenCursor, Guard::NoClamp, Guard::NoZero].iter().any(|guard| !guards.hold(*guard));
        let Some(at) = runs.iter().position(|known| known.run == cursor.run) else {
            let kept = Through {
                direct: cursor.through.direct.min(self.head()),
                complete: cursor.through.complete.min(self.head()),
            };
            return if guards.hold(Guard::NoZero) { Through::default() } else { kept };
        };
        let former = &runs[at..runs.len() - 1];
        if !written && former.iter().any(|run| !run.ended_in_order) {
            return Through::default();
        }
        let next = runs.get(at + 1).filter(|_| guards.hold(Guard::NoClamp));
        let end = next.map_or(self.core.head, |next| next.first.previous());
        Through { direct: cursor.through.direct.min(end), complete: cursor.through.complete.min(end) }
    }

    /// What is held, in the order of reconcile, of the caches that replicate with `peer`: after `after`, at most `limit`.
    pub fn scan(&self, peer: &SiteName, after: Option<&Place>, limit: usize) -> Vec<(Place, Slot)> {
        let mut found = Vec::new();
        for (name, cache) in self.index.caches() {
            let later = after.is_none_or(|after| *name >= after.cache);
            if !later || found.len() >= limit || !self.replicates(name, peer) {
                continue;
            }
            let here = after.filter(|after| after.cache == *name);
            if let (None, Some(clear)) = (here, cache.clear()) {
                found.push((Place { cache: name.clone(), key: None }, clear));
            }
            let keys = self.index.range(name, here.and_then(|after| after.key.as_ref()), None);
            let room = limit.saturating_sub(found.len());
            found.extend(keys.take(room).map(|(key, slot)| (Place { cache: name.clone(), key: Some(key) }, slot)));
        }
        found
    }

    /// What a peer is to be asked before tombstones are forced out, until it has answered.
    pub fn proposal(&self, peer: &SiteName) -> Option<DropProposal> {
        let round = self.core.round.as_ref()?;
        let asked = *peer != round.isolated && !round.agreed.contains(peer);
        asked.then(|| DropProposal {
            round: round.number,
            isolated: round.isolated,
            dropped: round.dropped.clone(),
            isolated_seen: round.isolated_seen.clone(),
        })
    }
}
