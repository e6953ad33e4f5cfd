//! What is durable: commits, their headers, and what is read back of the log.

use std::collections::BTreeSet;

use landbridge_protocol::{
    name::{CacheName, SiteName},
    position::{Cursor, Sequence},
    record::{Key, Merge, Record},
    vector::Vector,
    version::{Clock, RunId},
};
use serde::{Deserialize, Serialize};

/// One run of this store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoreRun {
    /// The run.
    pub run: RunId,
    /// The first sequence that it may have written.
    pub first: Sequence,
    /// Whether it is known to have ended with all of its commits durable.
    pub ended_in_order: bool,
}

/// How far this relay has a peer's log, and which caches replicated on the link when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerCursor {
    /// How far.
    pub cursor: Cursor,
    /// See [`super::replica::Replica::digest_with`].
    pub digest: u64,
    /// Caches for which V does not speak as far as this peer goes: those that don't replicate on the link, and those that
    /// do by now and are not transferred in whole yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lacks: BTreeSet<CacheName>,
}

/// What stands at the head of each commit: cumulative, so that the newest commit's is the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitHeader {
    /// The first sequence of the commit.
    pub first: Sequence,
    /// The last; a commit without records takes one sequence all the same.
    pub last: Sequence,
    /// High-water mark of the hybrid clock.
    pub clock: Clock,
    /// V.
    pub seen: Vector,
    /// G.
    pub dropped: Vector,
    /// Up to this clock, a write may have been outdone by what is older than it: see `engine/outdone.rs`.
    #[serde(default)]
    pub outdone: Clock,
    /// Cursors of what was applied from each peer.
    pub cursors: Vec<(SiteName, PeerCursor)>,
    /// The store's runs, oldest first.
    pub runs: Vec<StoreRun>,
    /// Whether the store has begun to serve (it is not filling any more).
    pub filled: bool,
    /// The merge of each cache of which something is held: also of those that are not configured here.
    pub caches: Vec<(CacheName, Merge)>,
}

/// What a sequence of the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are records: a box for each would cost more")]
pub enum LogRecord {
    /// A record.
    Record(Record),
    /// This relay holds nothing of the key any more: a reconcile dropped it. Never sent.
    Forgotten {
        /// The cache.
        cache: CacheName,
        /// The key.
        key: Key,
    },
}

/// What must become durable together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its header.
    pub header: CommitHeader,
    /// Its records, by sequence.
    pub records: Vec<(Sequence, LogRecord)>,
}

/// The record at a sequence, of those of a commit.
pub(crate) fn record_at(records: &[(Sequence, LogRecord)], sequence: Sequence) -> Option<&Record> {
    let at = records.binary_search_by_key(&sequence, |(at, _)| *at).ok()?;
    match &records[at].1 {
        LogRecord::Record(record) => Some(record),
        LogRecord::Forgotten { .. } => None,
    }
}

/// What was read of the log for a link or a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogRead {
    /// After here.
    pub after: Sequence,
    /// Through here.
    pub through: Sequence,
    /// All records in between that the log has; some may be superseded, see [`super::replica::Replica::holds`].
    pub records: Vec<(Sequence, Record)>,
}

/// The log can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record at {sequence} can't be read from the log: {reason}")]
pub struct ReadError {
    /// Where.
    pub sequence: Sequence,
    /// Why.
    pub reason: String,
}

/// Records by their place in the log, for outcomes that tell a previous value.
pub trait Records {
    /// The record at `sequence`.
    fn record(&self, sequence: Sequence) -> Result<Record, ReadError>;
}
