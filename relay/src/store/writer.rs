//! The writer: the one door to the log and the index. A state machine; a thread runs it in production, a test by hand.
//!
//! ```text
//! commands ─ stage: decide each on index, groups in flight and group so far ─► Order ─► scribe: append, flush
//!                                                                                           │ durable
//! (head, answers: the caller) ◄─ publish to the index, groups in order ◄────────────────────┘
//! ```
//!
//! While a group is made durable, the next one is decided on top of it; nothing of it can be seen before all groups before
//! it are published. A commit that fails poisons the writer: its group, those decided on top of it and all later commands
//! are refused, and the log is not touched again.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, OnceLock, RwLock},
    time::Duration,
};

use bytes::Bytes;
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::node::Operation,
    name::CacheName,
    position::Sequence,
    record::{Kind, Record},
    time::Timestamp,
};

use super::{
    conflicts::{ConflictLog, Notes},
    encoding,
    hold::Hold,
    ledger::{self, Ledger, Use},
    options::StoreLimits,
    reader::Reader,
    scribe::Order,
};
use crate::{
    engine::{
        command::{Command, Decided, Published},
        group::Staged,
        header::{Commit, LogRecord},
        replica::{Gone, Replica},
    },
    metrics::{Bound, Metrics, StoreMetrics},
};

/// See the module.
pub struct Writer {
    pub(super) conflicts: ConflictLog,
    pub(super) hold: Arc<Hold>,
    pub(super) replica: Arc<RwLock<Replica>>,
    pub(super) poison: Arc<OnceLock<String>>,
    pub(super) reader: Reader,
    pub(super) ledger: Ledger,
    pub(super) limits: StoreLimits,
    pub(super) metrics: Metrics,
    pub(super) commits: StoreMetrics,
    /// Groups that are decided and not yet published, oldest first.
    pub(super) flying: VecDeque<Flying>,
    /// Commits whose rewrite is ordered and not yet carried out: in the log they are still as they were.
    pub(super) rewriting: BTreeSet<Sequence>,
    /// Whether something rewritten may not be durable yet.
    pub(super) unsettled: bool,
}

/// A group that is decided and not yet published.
pub(super) struct Flying {
    decided: Vec<Decided>,
    staged: Staged,
    commit: Option<Encoded>,
    pub(super) is_durable: bool,
}

/// A commit as the log has it.
struct Encoded {
    first: Sequence,
    bytes: Bytes,
    usage: Use,
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

/// What one go of compaction amounts to.
#[derive(Debug, Default)]
pub(super) struct Compacted {
    /// To be carried out.
    pub(super) orders: Vec<Order>,
    /// Bytes of the commits that were read for it.
    pub(super) read_bytes: u64,
}

impl Writer {
    /// Whether the commands must wait until all groups before them are published.
    pub(super) fn must_wait(&self, commands: &[Command]) -> bool {
        if self.flying.is_empty() {
            return false;
        }
        let replica = self.replica.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        // A cache that is not declared here gets its merge with the first record of it: what comes next goes by that.
        let opens = |command: &Command| match command {
            Command::Apply { batch, .. } => batch.records.iter().any(|record| !replica.declares(&record.cache)),
            other => other.needs_all_published(),
        };
        commands.iter().any(opens) || self.flying.iter().any(|group| group.staged.must_be_published(&replica))
    }

    /// Decides the commands on top of all that is decided. Gives what the log has to do before the group can be published;
    /// `None`: nothing.
    pub(super) fn stage(&mut self, commands: Vec<Command>, now: Timestamp) -> Option<Order> {
        let full = self.reader.free_bytes().is_some_and(|free| free < self.limits.min_free_bytes);
        let (decided, staged) = {
            let replica = self.replica.read().unwrap_or_else(|poisoned| poisoned.into_inner());
            let mut group = replica.begin_after(self.flying.iter().map(|group| &group.staged), now);
            group.expect(commands.len());
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
        let notes = self.notes(&staged);
        let mut encoded = None;
        let mut order = None;
        if let Some(commit) = &staged.commit {
            let bytes = encoding::encode(commit);
            let (first, last, length) = (commit.header.first, commit.header.last, bytes.len() as u64);
            let (records, live) = (commit.records.len() as u32, staged.held() as u32);
            let superseded = if live < records { staged.superseded() as u32 } else { 0 };
            let header = encoding::header_bytes(&bytes);
            let usage = Use { last, bytes: length, header, records, live, stuck: 0, superseded };
            encoded = Some(Encoded { first, bytes: bytes.clone(), usage });
            order = Some(Order::Append { first, bytes, notes });
        } else if !notes.is_empty() {
            order = Some(Order::Keep(notes));
        }
        self.flying.push_back(Flying { decided, staged, commit: encoded, is_durable: order.is_none() });
        order
    }

    /// The oldest group that was not durable is; that took so long.
    pub(super) fn is_durable(&mut self, took: Duration) {
        if let Some(group) = self.flying.iter_mut().find(|group| !group.is_durable) {
            group.is_durable = true;
            if let Some(commit) = &group.commit {
                self.commits.committed(commit.usage.records as usize, took);
            }
        }
        self.unsettled = !self.rewriting.is_empty();
    }

    /// Publishes the oldest group, where it is durable.
    pub(super) fn publish(&mut self) -> Option<Stepped> {
        let Flying { decided, staged, commit, .. } = self.flying.pop_front_if(|group| group.is_durable)?;
        if let Some(commit) = &staged.commit {
            self.count_expirations(commit);
        }
        let mut gone = Gone::default();
        let mut replica = self.replica.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let published = replica.publish_over(staged, &mut gone);
        drop(replica);
        self.ledger.died(gone);
        let mut appended_bytes = 0;
        if let Some(Encoded { first, bytes, usage }) = commit {
            appended_bytes = usage.bytes;
            self.reader.tail().push(first, usage.last, bytes);
            self.ledger.put(first, usage);
        }
        Some(Stepped { decided, published: Some(published), appended_bytes })
    }

    /// The log failed: the store takes no more writes. Gives the end of all groups that were not published.
    pub(super) fn fail(&mut self, reason: String) -> Vec<Stepped> {
        tracing::error!(%reason, "the log failed: the store takes no more writes until the relay is restarted");
        let refusal = poisoned(self.poison.get_or_init(|| reason));
        self.flying.drain(..).map(|group| Stepped::refused(group.decided.len(), &refusal)).collect()
    }

    /// Why no more commands are taken, where none are.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.poison.get().map(|reason| poisoned(reason))
    }

    /// Commands in the newest group that is not yet published.
    pub(super) fn newest_commands(&self) -> usize {
        self.flying.back().map_or(0, |group| group.decided.len())
    }

    /// What the conflict log is to keep of it. One that is found again, as its commit was lost, is told twice.
    fn notes(&mut self, staged: &Staged) -> Notes {
        for ((cache, peer), count) in &staged.conflict_counts {
            self.metrics.conflicts(cache, *peer, *count);
        }
        let notes = self.conflicts.keep(&staged.conflicts);
        (0..notes.gone()).for_each(|_| self.metrics.bound_hit(Bound::Conflicts));
        notes
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

    /// Looks for commits that are half dead or small, about `budget` bytes of them, and makes of them what they are to be.
    /// While there is other work (`idle` is off), only what keeps the log in bounds.
    pub(super) fn compact(&mut self, budget: u64, idle: bool) -> Result<Compacted, String> {
        let mut compacted = Compacted::default();
        while compacted.read_bytes < budget {
            let Some(plan) = self.ledger.plan(idle) else { break };
            // Those are still in the log as they were before.
            if plan.iter().any(|(first, _)| self.rewriting.contains(first)) {
                break;
            }
            compacted.read_bytes += ledger::read_bytes(&plan).max(1);
            compacted.orders.push(self.rewrite(&plan)?);
        }
        Ok(compacted)
    }

    /// The rewrite of the commit under `first` is carried out.
    pub(super) fn is_rewritten(&mut self, first: Sequence) {
        self.rewriting.remove(&first);
    }

    pub(super) fn rewrite(&mut self, plan: &[(Sequence, Use)]) -> Result<Order, String> {
        let (Some((first, _)), Some((newest, _))) = (plan.first().copied(), plan.last()) else {
            return Err("a rewrite of no commits".into());
        };
        // Headers are cumulative: the last one's says all that the others do.
        let (mut header, mut records) = (None, Vec::new());
        for (at, usage) in plan.iter().filter(|(at, usage)| !usage.is_superseded() || at == newest) {
            let (found, bytes) = self.reader.commit_at(*at).map_err(|error| error.to_string())?;
            if found != *at {
                return Err(format!("the commit at {at} is missing"));
            }
            let failed = |error: encoding::DecodeError| format!("the commit at {at}: {error}");
            if usage.is_superseded() {
                header = Some(encoding::decode_header(&bytes).map_err(failed)?);
                continue;
            }
            let commit = encoding::decode(&bytes).map_err(failed)?;
            records.extend(commit.records);
            header = Some(commit.header);
        }
        let mut commit = Commit { header: header.ok_or("a rewrite of no commits")?, records };
        commit.header.first = first;
        let below_low_water = first <= self.ledger.low_water();
        let replica = self.replica.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut live = 0;
        commit.records.retain_mut(|(at, record)| {
            let held = is_held(&replica, *at, record);
            live += u32::from(held);
            held || (!below_low_water && keep_needed(&replica, *at, record))
        });
        drop(replica);
        let records = commit.records.len() as u32;
        let bytes = encoding::encode(&commit);
        let (last, stuck) = (commit.header.last, records - live);
        let header = encoding::header_bytes(&bytes);
        let usage = Use { last, bytes: bytes.len() as u64, header, records, live, stuck, superseded: 0 };
        for (at, _) in plan {
            self.ledger.take(*at);
        }
        self.ledger.put(first, usage);
        self.rewriting.insert(first);
        self.unsettled = true;
        Ok(Order::Rewrite { first, bytes, merged: plan.iter().skip(1).map(|(first, _)| *first).collect() })
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

fn needs_room(command: &Command) -> bool {
    match command {
        Command::Write { write, .. } => !matches!(write.operation, Operation::Remove | Operation::RemoveIfVersion),
        Command::Apply { batch, .. } => batch.records.iter().any(|record| record.kind == Kind::Live),
        Command::ReconcileChunk { chunk, .. } => chunk.records.iter().any(|record| record.kind == Kind::Live),
        _ => false,
    }
}
