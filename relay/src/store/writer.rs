//! The writer: the one door to the log and the index. A state machine; a thread runs it in production, a test by hand.
//!
//! ```text
//! commands ─ decide each on index + group so far ─ append ─ flush ─ publish to the index ─ (head, answers: the caller)
//! ```
//!
//! A commit that fails poisons it: that group and all later commands are refused, and the log is not touched again.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, OnceLock, RwLock},
};

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::node::Operation,
    name::CacheName,
    position::Sequence,
    record::{Kind, Record},
    time::Timestamp,
};

use super::{
    encoding,
    ledger::{Ledger, Use},
    log::{Log, LogError},
    options::StoreLimits,
    reader::Reader,
};
use crate::{
    clock::Stopwatch,
    engine::{
        command::{Command, Decided, Published},
        group::Staged,
        header::{Commit, LogRecord},
        replica::Replica,
        slot::is_below,
    },
    metrics::{Bound, Metrics},
};

/// See the module.
pub struct Writer {
    pub(super) log: Box<dyn Log>,
    pub(super) replica: Arc<RwLock<Replica>>,
    pub(super) poison: Arc<OnceLock<String>>,
    pub(super) reader: Reader,
    pub(super) ledger: Ledger,
    pub(super) limits: StoreLimits,
    pub(super) metrics: Metrics,
}

/// What a group of commands came to.
#[derive(Debug)]
pub struct Stepped {
    /// The end of each command, in order.
    pub decided: Vec<Decided>,
    /// What was published, where anything was.
    pub published: Option<Published>,
    /// Bytes that were appended to the log.
    pub appended_bytes: u64,
}

impl Writer {
    /// Decides the commands, makes durable what they amount to, and publishes it.
    pub fn step(&mut self, commands: Vec<Command>, now: Timestamp) -> Stepped {
        let count = commands.len();
        if let Some(reason) = self.poison.get() {
            return Stepped::refused(count, &poisoned(reason));
        }
        let full = self.log.free_bytes().is_some_and(|free| free < self.limits.min_free_bytes);
        let (decided, staged) = {
            let replica = self.replica.read().unwrap_or_else(|poisoned| poisoned.into_inner());
            let mut group = replica.begin(now);
            let decide = |command: Command| match full && needs_room(&command) {
                true => {
                    self.metrics.bound_hit(Bound::FreeBytes);
                    Err(Refusal::new(ErrorCode::DiskFull, "the relay's disk is nearly full; removals still work"))
                }
                false => group.step(command, &self.reader),
            };
            let decided: Vec<Decided> = commands.into_iter().map(decide).collect();
            (decided, group.finish())
        };
        match self.commit(staged) {
            Ok((published, appended_bytes)) => Stepped { decided, published: Some(published), appended_bytes },
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(%reason, "a commit failed: the store takes no more writes until the relay is restarted");
                let refusal = poisoned(self.poison.get_or_init(|| reason));
                Stepped::refused(count, &refusal)
            }
        }
    }

    fn commit(&mut self, staged: Staged) -> Result<(Published, u64), LogError> {
        let mut usage = None;
        if let Some(commit) = &staged.commit {
            let began = Stopwatch::start();
            let bytes = encoding::encode(commit);
            usage = Some((commit.header.first, commit.header.last, bytes.len() as u64, commit.records.len() as u32));
            self.log.append(commit.header.first, bytes)?;
            self.log.flush()?;
            self.metrics.store().committed(commit.records.len(), began.elapsed());
            self.count_expirations(commit);
        }
        let mut replica = self.replica.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let died = outdone(&replica, &staged);
        let commit = staged.commit.clone();
        let published = replica.publish(staged);
        for sequence in died {
            self.ledger.died(sequence);
        }
        let mut appended = 0;
        if let (Some(commit), Some((first, last, bytes, records))) = (commit, usage) {
            let live = commit.records.iter().filter(|(at, record)| is_held(&replica, *at, record)).count() as u32;
            let stuck = 0;
            self.ledger.put(first, Use { last, bytes, records, live, stuck });
            appended = bytes;
        }
        Ok((published, appended))
    }

    fn count_expirations(&self, commit: &Commit) {
        let mut marks = BTreeMap::<&CacheName, u64>::new();
        for (_, record) in &commit.records {
            if let LogRecord::Record(Record { kind: Kind::Mark, cache, .. }) = record {
                *marks.entry(cache).or_default() += 1;
            }
        }
        for (cache, count) in marks {
            self.metrics.cache(cache).expired(count);
        }
    }

    /// Rewrites some commits that are half dead or small, about `budget` bytes of them. Tells whether there may be more.
    /// A failure poisons, as in [`Writer::step`].
    pub fn compact(&mut self, budget: u64) -> bool {
        if self.poison.get().is_some() {
            return false;
        }
        self.try_compact(budget).unwrap_or_else(|reason| {
            tracing::error!(%reason, "compaction failed: the store takes no more writes until the relay is restarted");
            self.poison.get_or_init(|| reason);
            false
        })
    }

    fn try_compact(&mut self, budget: u64) -> Result<bool, String> {
        let mut read_bytes = 0;
        let mut merged = Vec::new();
        while read_bytes < budget {
            let Some(plan) = self.ledger.plan() else { break };
            read_bytes += plan.iter().map(|(_, usage)| usage.bytes).sum::<u64>().max(1);
            self.rewrite(&plan)?;
            merged.extend(plan.iter().skip(1).map(|(first, _)| *first));
        }
        if read_bytes == 0 {
            return Ok(false);
        }
        // What was merged must be durable in its new place before it goes from the old one.
        self.log.flush().map_err(|error| error.to_string())?;
        for first in merged {
            self.log.remove(first).map_err(|error| error.to_string())?;
        }
        Ok(read_bytes >= budget)
    }

    pub(super) fn rewrite(&mut self, plan: &[(Sequence, Use)]) -> Result<(), String> {
        let (first, _) = plan[0];
        let mut whole: Option<Commit> = None;
        for (at, _) in plan {
            let (found, bytes) = self.reader.commit_at(*at).map_err(|error| error.to_string())?;
            if found != *at {
                return Err(format!("the commit at {at} is missing"));
            }
            let commit = encoding::decode(&bytes).map_err(|error| format!("the commit at {at}: {error}"))?;
            let mut records = whole.map_or_else(Vec::new, |whole| whole.records);
            records.extend(commit.records);
            // Headers are cumulative: the last one's says all that the others do.
            whole = Some(Commit { header: commit.header, records });
        }
        let Some(mut commit) = whole else { return Ok(()) };
        commit.header.first = first;
        let below_low_water = first <= self.ledger.low_water();
        let replica = self.replica.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        commit.records.retain_mut(|(at, record)| {
            is_held(&replica, *at, record) || (!below_low_water && keep_needed(&replica, *at, record))
        });
        let live = commit.records.iter().filter(|(at, record)| is_held(&replica, *at, record)).count() as u32;
        drop(replica);
        let records = commit.records.len() as u32;
        let bytes = encoding::encode(&commit);
        let usage = Use { last: commit.header.last, bytes: bytes.len() as u64, records, live, stuck: records - live };
        self.log.rewrite(first, bytes).map_err(|error| error.to_string())?;
        for (at, _) in plan {
            self.ledger.take(*at);
        }
        self.ledger.put(first, usage);
        Ok(())
    }

    /// The end in order.
    pub fn close(&mut self, head: Sequence) -> Result<(), LogError> {
        if self.poison.get().is_some() { Ok(()) } else { self.log.close(head) }
    }

    /// Bytes of what is held, and of what compaction may take, about.
    pub fn log_bytes(&self) -> (u64, u64) {
        self.ledger.bytes()
    }
}

impl Stepped {
    fn refused(count: usize, refusal: &Refusal) -> Self {
        Self { decided: vec![Err(refusal.clone()); count], published: None, appended_bytes: 0 }
    }
}

pub(super) fn poisoned(reason: &str) -> Refusal {
    Refusal::new(ErrorCode::StorePoisoned, format!("the relay's store failed ({reason}); the relay must be restarted"))
}

pub(super) fn is_held(replica: &Replica, at: Sequence, record: &LogRecord) -> bool {
    match record {
        LogRecord::Record(record) => replica.holds(at, record),
        LogRecord::Forgotten { .. } => false,
    }
}

// Whether replay would bring something back without this record, which is not held: a removal, or an entry that a clear has
// taken, of which nothing newer is held of its key. Of the entry it is enough that it was there: a reconcile may have put it
// in place of one that the clear would not take, and that still lies before it. What else was an entry can always go: what
// outdid it comes later in the log, and stays as long as nothing newer is held.
fn keep_needed(replica: &Replica, at: Sequence, record: &mut LogRecord) -> bool {
    let (cache, key) = match record {
        LogRecord::Record(Record { cache, key: Some(key), .. }) | LogRecord::Forgotten { cache, key } => (cache, key),
        LogRecord::Record(_) => return false,
    };
    if replica.slot(cache, key).is_some_and(|slot| slot.sequence > at) {
        return false;
    }
    if let LogRecord::Record(Record { kind: Kind::Live, cache, key: Some(key), .. }) = record {
        if replica.clear_of(cache).is_none() {
            return false;
        }
        *record = LogRecord::Forgotten { cache: cache.clone(), key: key.clone() };
    }
    true
}

// The places of what the group supersedes, drops or clears.
fn outdone(replica: &Replica, staged: &Staged) -> HashSet<Sequence> {
    let mut outdone = HashSet::new();
    for (cache, change) in &staged.changes {
        if let Some(clear) = change.clear {
            let below =
                |slot: &crate::engine::slot::Slot| is_below(change.merge, &clear.version, &slot.version, &slot.birth);
            let held = replica.index.range(cache, None, None).map(|(_, slot)| slot).filter(below);
            outdone.extend(held.chain(replica.clear_of(cache)).map(|slot| slot.sequence));
        }
        let changed = change.keys.keys().filter_map(|key| replica.slot(cache, key));
        outdone.extend(changed.map(|slot| slot.sequence));
    }
    outdone
}

fn needs_room(command: &Command) -> bool {
    match command {
        Command::Write { write, .. } => !matches!(write.operation, Operation::Remove | Operation::RemoveIfVersion),
        Command::Apply { batch, .. } => batch.records.iter().any(|record| record.kind == Kind::Live),
        Command::ReconcileChunk { chunk, .. } => chunk.records.iter().any(|record| record.kind == Kind::Live),
        _ => false,
    }
}
