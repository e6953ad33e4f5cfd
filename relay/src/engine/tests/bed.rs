//! One relay with its log in memory, and peers that say what a test has them say.

use bytes::Bytes;
use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    frame::{
        node::{Operation, Outcome, Write},
        peer::{Batch, Introduction, Place, ReconcileBegin, ReconcileChunk},
    },
    name::{CacheName, NodeName, SiteName},
    position::{Sequence, Through},
    record::{ClientId, Key, Kind, Merge, Record, WriteToken},
    time::{Millis, Timestamp},
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};

use crate::engine::{
    command::{Answer, Command, Decided},
    conflicts::Conflict,
    guards::Guards,
    header::{Commit, LogRecord, ReadError, Records},
    replica::{CacheConfig, Replica, ReplicaConfig, Replicate, digest_of},
    slot::Slot,
};

/// When each test begins.
pub(super) const START: Timestamp = Timestamp::from_millis(1_000_000);
/// A cache of each merge, and one that stays in its site.
pub(super) const LATEST: &str = "latest";
pub(super) const WINS: &str = "remove_wins";
pub(super) const LOCAL: &str = "local";

pub(super) fn site(name: &str) -> SiteName {
    SiteName::new(name).expect("a name")
}
pub(super) fn cache(name: &str) -> CacheName {
    CacheName::new(name).expect("a name")
}
pub(super) fn key(name: &str) -> Key {
    Key::new(name.as_bytes().to_vec()).expect("a key")
}
pub(super) fn ms(millis: u64) -> Timestamp {
    START.after(Millis::new(millis))
}
/// The first run of a site.
pub(super) fn run(name: &str) -> RunId {
    RunId(u64::from(name.as_bytes()[0]))
}
pub(super) fn origin(name: &str) -> Origin {
    Origin { site: site(name), run: run(name) }
}
/// Written at a site so many milliseconds after the start.
pub(super) fn version(name: &str, millis: u64) -> Version {
    Version { clock: Clock::at(ms(millis)), origin: origin(name) }
}
/// The vector that covers these versions.
pub(super) fn seen(versions: &[Version]) -> Vector {
    versions.iter().map(|version| (version.origin, version.clock)).collect()
}
pub(super) fn through(direct: u64, complete: u64) -> Through {
    Through { direct: Sequence::new(direct), complete: Sequence::new(complete) }
}
pub(super) fn place(name: &str, of: &str) -> Place {
    Place { cache: cache(name), key: Some(key(of)) }
}

pub(super) fn live(name: &str, of: &str, version: Version, value: &str) -> Record {
    let node = Some(NodeName::new("node").expect("a name"));
    let value = Bytes::copy_from_slice(value.as_bytes());
    Record { node, value, ..Record::bare(cache(name), Some(key(of)), Kind::Live, version) }
}
pub(super) fn removed(name: &str, of: &str, version: Version, birth: Version) -> Record {
    Record { kind: Kind::Tombstone, birth, ..live(name, of, version, "") }
}
pub(super) fn cleared(name: &str, version: Version) -> Record {
    Record { key: None, kind: Kind::Clear, ..live(name, "-", version, "") }
}

pub(super) fn config(own: &str, peers: &[&str]) -> ReplicaConfig {
    let of = |merge, replicate| CacheConfig { merge, replicate, lifespan: None, max_entry_bytes: 64 };
    ReplicaConfig {
        site: site(own),
        peers: peers.iter().map(|peer| site(peer)).collect(),
        former_sites: Default::default(),
        caches: [
            (cache(LATEST), of(Merge::Latest, Replicate::Async)),
            (cache(WINS), of(Merge::RemoveWins, Replicate::Async)),
            (cache(LOCAL), of(Merge::Latest, Replicate::Local)),
        ]
        .into(),
        max_clock_skew: Millis::from_secs(60),
        tombstone_min_age: Millis::from_secs(10),
        tombstone_max_age: Millis::from_secs(10_000),
        max_tombstones: 100,
        max_runs: 64,
        reconcile_keys: 64,
        forward_after: Millis::from_secs(2),
        fill_wait: Millis::from_secs(30),
        guards: Guards::all(),
    }
}

/// The log of a relay: each commit, and which of its records can't be read.
#[derive(Debug, Default, Clone)]
pub(super) struct Log {
    pub(super) commits: Vec<Commit>,
    pub(super) unreadable: bool,
}

impl Records for Log {
    fn record(&self, sequence: Sequence) -> Result<Record, ReadError> {
        let mut all = self.commits.iter().flat_map(|commit| &commit.records);
        match all.find(|(at, _)| *at == sequence) {
            Some((_, LogRecord::Record(record))) if !self.unreadable => Ok(record.clone()),
            _ => Err(ReadError { sequence, reason: "not there".into() }),
        }
    }
}

/// A relay under test.
#[derive(Debug, Clone)]
pub(super) struct Relay {
    pub(super) replica: Replica,
    pub(super) log: Log,
    pub(super) now: Timestamp,
    pub(super) writes: u64,
    pub(super) conflicts: Vec<Conflict>,
}

impl Relay {
    /// A fresh store.
    pub(super) fn fresh(config: ReplicaConfig) -> Self {
        let run = run(config.site.as_str());
        Self {
            replica: Replica::new(config, run, START),
            log: Log::default(),
            now: START,
            writes: 0,
            conflicts: Vec::new(),
        }
    }

    /// Site `a`, which serves, and its peers, none of which was reached yet.
    pub(super) fn serving(peers: &[&str]) -> Self {
        Self::serving_with(config("a", peers))
    }

    pub(super) fn serving_with(config: ReplicaConfig) -> Self {
        let wait = config.fill_wait;
        let mut relay = Self::fresh(ReplicaConfig { fill_wait: Millis::ZERO, ..config.clone() });
        relay.housekeep();
        let mut replica = Replica::new(ReplicaConfig { fill_wait: wait, ..config }, relay.replica.origin().run, START);
        for commit in &relay.log.commits {
            replica.replay(&commit.header, &commit.records).expect("few origins");
        }
        relay.replica = replica;
        relay
    }

    /// Decides one command in a group of its own, and commits it.
    pub(super) fn step(&mut self, command: Command) -> Decided {
        self.steps([command]).pop().expect("one answer")
    }

    /// Decides commands in one group.
    pub(super) fn steps(&mut self, commands: impl IntoIterator<Item = Command>) -> Vec<Decided> {
        let mut group = self.replica.begin(self.now);
        let decided = commands.into_iter().map(|command| group.step(command, &self.log)).collect();
        let staged = group.finish();
        self.log.commits.extend(staged.commit.clone());
        self.conflicts.extend(staged.conflicts.clone());
        self.replica.publish(staged);
        decided
    }

    pub(super) fn write_of(&mut self, operation: Operation, name: &str, of: &str, value: &str) -> Write {
        self.writes += 1;
        let token = WriteToken { client: ClientId(7), number: self.writes };
        let write = Write::new(operation, cache(name), key(of), token, Bytes::copy_from_slice(value.as_bytes()));
        Write { return_previous: true, ..write }
    }

    pub(super) fn write(&mut self, write: Write) -> Result<Outcome, Refusal> {
        written(self.step(command(write)))
    }
    pub(super) fn operate(&mut self, operation: Operation, name: &str, of: &str, value: &str) -> Outcome {
        let write = self.write_of(operation, name, of, value);
        self.write(write).expect("decided")
    }
    pub(super) fn put(&mut self, name: &str, of: &str, value: &str) -> Version {
        self.operate(Operation::Put, name, of, value).version.expect("done")
    }
    pub(super) fn remove(&mut self, name: &str, of: &str) -> Version {
        self.operate(Operation::Remove, name, of, "").version.expect("done")
    }
    pub(super) fn put_for(&mut self, name: &str, of: &str, lifespan: Millis) -> Version {
        let write = Write { lifespan: Some(lifespan), ..self.write_of(Operation::Put, name, of, "v") };
        self.write(write).expect("decided").version.expect("done")
    }
    pub(super) fn clear_command(&mut self, name: &str) -> Command {
        self.writes += 1;
        let token = WriteToken { client: ClientId(7), number: self.writes };
        Command::Clear { node: NodeName::new("node").expect("a name"), cache: cache(name), token, retry: None }
    }
    pub(super) fn clear(&mut self, name: &str) -> Version {
        let clear = self.clear_command(name);
        written(self.step(clear)).expect("decided").version.expect("done")
    }
    pub(super) fn housekeep(&mut self) {
        self.step(Command::Housekeep).expect("never refused here");
    }

    /// The entry's value, where one can be read.
    pub(super) fn get(&self, name: &str, of: &str) -> Option<String> {
        let slot = self.replica.live(&cache(name), &key(of), self.now)?;
        let record = self.log.record(slot.sequence).expect("a held record is in the log");
        Some(String::from_utf8(record.value.to_vec()).expect("text"))
    }
    pub(super) fn slot(&self, name: &str, of: &str) -> Option<Slot> {
        self.replica.slot(&cache(name), &key(of))
    }
    pub(super) fn kind(&self, name: &str, of: &str) -> Option<Kind> {
        Some(self.slot(name, of)?.kind)
    }
    /// The record that is held of a key.
    pub(super) fn record(&self, name: &str, of: &str) -> Record {
        self.log.record(self.slot(name, of).expect("held").sequence).expect("in the log")
    }

    /// What a peer says of itself in a handshake of its first run; tests change what matters to them.
    pub(super) fn introduction_of(&self, peer: &str, seen: Vector) -> Introduction {
        Introduction {
            version_min: 1,
            version_max: 1,
            site: site(peer),
            run: run(peer),
            wall: self.now,
            seen,
            dropped: Vector::new(),
            head: Sequence::ZERO,
            runs: vec![origin(peer)],
            caches: self.replica.config().caches.iter().map(|(name, cache)| digest_of(name, cache)).collect(),
            filling: false,
            lacks: vec![],
            sites: vec![],
            former_sites: vec![],
            software: "test".into(),
        }
    }

    /// Both links with a peer open: handshakes both ways, and its stream begins at zero.
    pub(super) fn meet(&mut self, peer: &str, seen: Vector) {
        let introduction = self.introduction_of(peer, seen);
        self.meet_as(introduction);
    }

    pub(super) fn meet_as(&mut self, introduction: Introduction) {
        let (peer, run) = (introduction.site, introduction.run);
        for incoming in [false, true] {
            self.step(Command::Introduced { peer: Box::new(introduction.clone()), incoming })
                .expect("a good handshake");
        }
        self.step(Command::Started { peer, run, after: Through::default() }).expect("a good start");
    }

    pub(super) fn lose(&mut self, peer: &str) {
        for incoming in [false, true] {
            self.step(Command::Lost { peer: site(peer), incoming }).expect("known");
        }
    }

    /// A batch that fits this relay's cursor, with a vector that claims its records and `claims`.
    pub(super) fn batch_of(&self, peer: &str, records: Vec<Record>, claims: &[Version]) -> Batch {
        let after = self.replica.core.cursors.get(&site(peer)).map(|known| known.cursor.through).unwrap_or_default();
        let by = (records.len() as u64).max(1);
        let mut vector = seen(claims);
        for record in &records {
            vector.raise(record.version.origin, record.version.clock);
        }
        let through = through(after.direct.get() + by, after.complete.get() + by);
        Batch { after, through, vector, caught_up: true, runs: Vec::new(), records }
    }
    pub(super) fn apply(&mut self, peer: &str, records: Vec<Record>, claims: &[Version]) -> Decided {
        let batch = self.batch_of(peer, records, claims);
        self.step(apply(peer, batch))
    }
    pub(super) fn heard(&mut self, peer: &str, past: Timestamp) {
        let heard = Command::Heard { peer: site(peer), run: run(peer), past, skew_ms: 0 };
        self.step(heard).expect("the present run");
    }

    pub(super) fn reconcile_begin(&mut self, peer: &str, seen: Vector, dropped: Vector) -> Decided {
        let begin = ReconcileBegin { seen, dropped, head: Sequence::new(1_000) };
        self.step(Command::ReconcileBegin { peer: site(peer), run: run(peer), begin })
    }
    pub(super) fn reconcile_chunk(
        &mut self,
        peer: &str,
        after: Option<Place>,
        through: Option<Place>,
        records: Vec<Record>,
    ) -> Decided {
        let chunk = Box::new(ReconcileChunk { after, through, records });
        self.step(Command::ReconcileChunk { peer: site(peer), run: run(peer), chunk })
    }

    /// What a restart on this log comes to, in a new run.
    pub(super) fn restarted(&self, run: RunId) -> Relay {
        let config = self.replica.config().clone();
        let mut replica = Replica::new(config, run, self.now);
        for commit in &self.log.commits {
            replica.replay(&commit.header, &commit.records).expect("few origins");
        }
        replica.start(run, self.now);
        Relay { replica, log: self.log.clone(), now: self.now, writes: self.writes, conflicts: Vec::new() }
    }
}

pub(super) fn command(write: Write) -> Command {
    Command::Write { node: NodeName::new("node").expect("a name"), write }
}
pub(super) fn apply(peer: &str, batch: Batch) -> Command {
    Command::Apply { peer: site(peer), run: run(peer), batch: Box::new(batch) }
}
pub(super) fn written(decided: Decided) -> Result<Outcome, Refusal> {
    match decided? {
        Answer::Written(outcome) => Ok(outcome),
        other => panic!("an answer to something else: {other:?}"),
    }
}
pub(super) fn code(decided: Result<impl std::fmt::Debug, Refusal>) -> ErrorCode {
    decided.expect_err("must be refused").code().expect("a known code")
}

/// Site `a` with peer `b`, which has let a tombstone of `name` go: what was dropped.
pub(super) fn with_dropped(name: &str) -> (Relay, Version) {
    let mut relay = Relay::serving(&["b"]);
    let removed = relay.remove(name, "gone");
    relay.meet("b", seen(&[removed]));
    relay.now = ms(20_000);
    relay.heard("b", ms(20_000));
    relay.housekeep();
    assert_eq!((relay.slot(name, "gone"), relay.replica.dropped()), (None, &seen(&[removed])));
    (relay, removed)
}

/// All that can be read at a relay: cache, key, version, deadline, value.
pub(super) fn entries(relay: &Relay) -> Vec<(String, Key, Version, Option<Timestamp>, Bytes)> {
    let mut all = Vec::new();
    for name in relay.replica.caches().map(|(name, _)| name.clone()) {
        for (key, slot) in relay.replica.entries(&name, b"", None, (usize::MAX, usize::MAX), relay.now).0 {
            let record = relay.log.record(slot.sequence).expect("a held record is in the log");
            assert_eq!((record.version, record.birth, record.kind), (slot.version, slot.birth, Kind::Live));
            all.push((name.as_str().to_owned(), key, slot.version, slot.deadline, record.value));
        }
    }
    all
}
