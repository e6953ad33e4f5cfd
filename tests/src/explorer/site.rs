//! One relay of the world: the real replica on a log in memory that can lose its tail, or all.

use std::{
    cell::Cell,
    hash::{Hash, Hasher},
    sync::Arc,
};

use landbridge_protocol::{position::Sequence, record::Record, time::Timestamp, version::RunId};
use landbridge_relay::engine::{
    command::{Command, Decided},
    header::{Commit, LogRead, LogRecord, ReadError, Records},
    replica::{Replica, ReplicaConfig},
};

/// Removals that are durable at a site, one bit each.
pub type Removals = u16;

/// A commit, and what the checks know of the store as of it.
#[derive(Debug, Clone)]
struct Kept {
    commit: Arc<Commit>,
    knows: Removals,
}

/// The commits of a relay, all of them: nothing is compacted.
#[derive(Debug, Clone, Default)]
pub struct Log(Vec<Kept>);

impl Records for Log {
    fn record(&self, sequence: Sequence) -> Result<Record, ReadError> {
        let missing = || ReadError { sequence, reason: "not in the log".into() };
        match self.at(sequence).ok_or_else(missing)? {
            LogRecord::Record(record) => Ok(record.clone()),
            LogRecord::Forgotten { .. } => Err(missing()),
        }
    }
}

impl Log {
    fn at(&self, sequence: Sequence) -> Option<&LogRecord> {
        let commit = self.0.partition_point(|kept| kept.commit.header.last < sequence);
        let records = &self.0.get(commit)?.commit.records;
        records.iter().find(|(at, _)| *at == sequence).map(|(_, record)| record)
    }

    /// What a link reads: all records after `after`.
    pub fn read(&self, after: Sequence, through: Sequence) -> LogRead {
        let first = self.0.partition_point(|kept| kept.commit.header.last <= after);
        let logged = self.0[first..].iter().flat_map(|kept| &kept.commit.records);
        let records = logged.filter_map(|(at, record)| match record {
            LogRecord::Record(record) if *at > after => Some((*at, record.clone())),
            _ => None,
        });
        LogRead { after, through, records: records.collect() }
    }

    /// Commits so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was ever committed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One relay.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its committed state.
    pub replica: Replica,
    /// Its log.
    pub log: Log,
    /// Removals that were durable here without a record: learnt in a reconcile.
    pub knows: Removals,
    runs: u64,
    /// When it was found to owe nothing to time, by what it is now.
    idle: Cell<Option<Timestamp>>,
}

/// Of what decides, and of what only the log has of the records that are held: their values and contexts. One version may be
/// two writes in two worlds, once anew with an old value, or by one that had seen less. For the rest, the log is what led
/// there.
impl Hash for Site {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.replica, self.knows).hash(state);
        let config = self.replica.config();
        (&config.peers, &config.former_sites).hash(state);
        config.caches.values().for_each(|cache| cache.replicate.hash(state));
        // A cache that is not everywhere replicates with some peer.
        let with = if config.caches.len() > 1 { config.peers.len() } else { 1 };
        let held = config.peers[..with].iter().flat_map(|peer| self.replica.scan(peer, None, usize::MAX));
        for (_, slot) in held {
            self.log.record(slot.sequence).map(|record| (record.value, record.context)).ok().hash(state);
        }
    }
}

impl Site {
    /// A fresh store; `number` makes its runs differ from the other sites'.
    pub fn new(config: ReplicaConfig, number: u64, now: Timestamp) -> Self {
        let replica = Replica::new(config, RunId(number * 16), now);
        Self { replica, log: Log::default(), knows: 0, runs: 0, idle: Cell::new(None) }
    }

    /// Decides a command, commits and publishes it.
    pub fn step(&mut self, command: Command, now: Timestamp) -> Decided {
        self.idle.set(None);
        let mut group = self.replica.begin(now);
        let decided = group.step(command, &self.log);
        let staged = group.finish();
        if let Some(commit) = &staged.commit {
            assert_eq!(commit.header.first, self.replica.head().next(), "a commit goes on where the last one ended");
            self.log.0.push(Kept { commit: Arc::new(commit.clone()), knows: self.knows });
        }
        self.replica.publish(staged);
        decided
    }

    /// Whether it is known to owe nothing to time.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.idle.get() == Some(now)
    }

    /// It owes nothing to time.
    pub fn idles(&self, now: Timestamp) {
        self.idle.set(Some(now));
    }

    /// The checks' knowledge of this store changes with its newest commit.
    pub fn learn(&mut self, removals: Removals) {
        self.knows |= removals;
        if let Some(last) = self.log.0.last_mut() {
            last.knows |= removals;
        }
    }

    /// The log has no record there any more.
    pub fn lose(&mut self, sequence: Sequence) {
        for kept in &mut self.log.0 {
            if kept.commit.records.iter().any(|(at, _)| *at == sequence) {
                Arc::make_mut(&mut kept.commit).records.retain(|(at, _)| *at != sequence);
            }
        }
    }

    /// The run ends, and the next begins on the first `commits` of the log.
    pub fn restart(&mut self, commits: usize, now: Timestamp) {
        self.idle.set(None);
        self.log.0.truncate(commits);
        self.knows = self.log.0.last().map_or(0, |kept| kept.knows);
        self.runs += 1;
        let run = RunId(self.replica.origin().run.0 / 16 * 16 + self.runs);
        let mut replica = Replica::new(self.replica.config().clone(), run, now);
        if !self.log.is_empty() {
            for kept in &self.log.0 {
                replica.replay(&kept.commit.header, &kept.commit.records).expect("few origins");
            }
            replica.start(run, now);
        }
        self.replica = replica;
    }
}
