//! Compaction at any moment, of any commits: what a restart makes of the log is what was held before.

use std::collections::BTreeMap;

use bytes::Bytes;
use landbridge_protocol::{
    frame::{
        node::{Operation, Write},
        peer::{Batch, Introduction, ReconcileBegin, ReconcileChunk},
    },
    name::{CacheName, NodeName, SiteName},
    position::{Sequence, Through},
    record::{ClientId, Key, Kind, Record, WriteToken},
    time::{Millis, Timestamp},
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};
use proptest::prelude::*;

use super::{
    StoreLimits,
    ledger::Use,
    memory_log::MemoryLog,
    scribe::Order,
    tests::{Open, config, now, open},
};
use crate::engine::{
    command::{Command, Decided},
    header::PeerCursor,
    replica::{Replica, ReplicaConfig, digest_of},
    slot::Slot,
};

const CACHES: [&str; 2] = ["sessions", "work"];
const PEER: &str = "site2";

fn site() -> SiteName {
    SiteName::new(PEER).unwrap()
}
fn version(millis: u64) -> Version {
    Version { clock: Clock::at(now().after(Millis::new(millis))), origin: Origin { site: site(), run: RunId(77) } }
}

/// A record of the peer.
fn record(cache: usize, key: u8, kind: Kind, at: u64, birth: u64) -> Record {
    Record {
        cache: CacheName::new(CACHES[cache]).unwrap(),
        key: (kind != Kind::Clear).then(|| Key::new(vec![key]).unwrap()),
        kind,
        version: version(at),
        birth: version(if kind == Kind::Clear { at } else { birth.min(at) }),
        deadline: None,
        max_idle: None,
        token: Some(WriteToken { client: ClientId(9), number: at }),
        node: None,
        context: Vector::new(),
        flags: 0,
        value: if kind == Kind::Live { Bytes::from_static(b"theirs") } else { Bytes::new() },
    }
}

/// A store, its log, and a peer that says what it is told to.
struct World {
    log: MemoryLog,
    open: Open,
    now: Timestamp,
    number: u64,
}

/// All that must be after a restart as it was before; where a record stands from is of no matter then.
#[derive(Debug, PartialEq)]
struct State {
    held: BTreeMap<(CacheName, Key), Slot>,
    clears: BTreeMap<CacheName, Slot>,
    seen: Vector,
    dropped: Vector,
    cursors: BTreeMap<SiteName, PeerCursor>,
    head: Sequence,
    outdone: Clock,
}

fn state(replica: &Replica) -> State {
    let here = |slot: Slot| Slot { stands_from: slot.sequence, ..slot };
    let mut state = State {
        held: BTreeMap::new(),
        clears: BTreeMap::new(),
        seen: replica.seen().clone(),
        dropped: replica.dropped().clone(),
        cursors: replica.core.cursors.clone(),
        head: replica.head(),
        outdone: replica.core.outdone,
    };
    for (name, _) in replica.caches() {
        let held = replica.index.range(name, None, None);
        state.held.extend(held.map(|(key, slot)| ((name.clone(), key), here(slot))));
        state.clears.extend(replica.clear_of(name).map(|slot| (name.clone(), here(slot))));
    }
    state
}

impl World {
    fn new() -> Self {
        let log = MemoryLog::new();
        let mut world = Self { open: Self::open(&log, 1, now()), log, now: now(), number: 1 };
        world.step(vec![Command::Housekeep]);
        world
    }

    fn open(log: &MemoryLog, run: u64, now: Timestamp) -> Open {
        let config = ReplicaConfig { peers: vec![site()], fill_wait: Millis::ZERO, ..config() };
        open(log, config, run, StoreLimits::default(), now)
    }

    fn step(&mut self, commands: Vec<Command>) -> Vec<Decided> {
        self.open.step(commands, self.now).decided
    }

    fn write(&mut self, cache: usize, key: u8, operation: Operation, lifespan: Option<Millis>) -> Command {
        self.number += 1;
        let write = Write {
            operation,
            cache: CacheName::new(CACHES[cache]).unwrap(),
            key: Key::new(vec![key]).unwrap(),
            expected: None,
            lifespan,
            max_idle: None,
            token: WriteToken { client: ClientId(1), number: self.number },
            retry: None,
            return_previous: false,
            value: Bytes::from_static(b"ours"),
        };
        Command::Write { node: NodeName::new("node11").unwrap(), write }
    }

    fn clear(&mut self, cache: usize) -> Command {
        self.number += 1;
        Command::Clear {
            node: NodeName::new("node11").unwrap(),
            cache: CacheName::new(CACHES[cache]).unwrap(),
            token: WriteToken { client: ClientId(1), number: self.number },
            retry: None,
        }
    }

    /// Handshakes both ways: the peer has seen all that this store has.
    fn meet(&mut self) {
        let (seen, caches) = {
            let replica = self.open.replica.read().unwrap();
            (replica.seen().clone(), replica.config().caches.iter().map(|(name, of)| digest_of(name, of)).collect())
        };
        let introduction = Introduction {
            version_min: 1,
            version_max: 1,
            site: site(),
            run: RunId(77),
            wall: self.now,
            seen,
            dropped: Vector::new(),
            head: Sequence::ZERO,
            runs: vec![],
            caches,
            filling: false,
            lacks: vec![],
            sites: vec![],
            former_sites: vec![],
            software: String::new(),
        };
        for incoming in [false, true] {
            self.step(vec![Command::Introduced { peer: Box::new(introduction.clone()), incoming }]);
        }
        let after = Through::default();
        self.step(vec![
            Command::Started { peer: site(), run: RunId(77), after },
            Command::Heard { peer: site(), run: RunId(77), past: self.now, skew_ms: 0 },
        ]);
    }

    fn apply(&mut self, records: Vec<Record>, claims: bool) -> Decided {
        let known = self.open.replica.read().unwrap().core.cursors.get(&site()).cloned();
        let after = known.map(|known| known.cursor.through).unwrap_or_default();
        let on = |at: Sequence| Sequence::new(at.get() + records.len() as u64);
        let through = Through { direct: on(after.direct), complete: on(after.complete) };
        let claimed = records.iter().filter(|_| claims).map(|record| (record.version.origin, record.version.clock));
        let vector = claimed.collect();
        let batch = Box::new(Batch { after, through, vector, caught_up: true, runs: vec![], records });
        self.step(vec![Command::Apply { peer: site(), run: RunId(77), batch }]).remove(0)
    }

    /// The peer's V covers its own through `covers`, and with `ours` all of this store's; it holds these records.
    fn reconcile(&mut self, mut records: Vec<Record>, covers: u64, ours: bool) -> Decided {
        let past = version(self.now.since(now()).get() + self.number);
        let mut seen = if ours { self.open.replica.read().unwrap().seen().clone() } else { Vector::new() };
        seen.raise(past.origin, version(covers).clock);
        let dropped = [(past.origin, past.clock)].into_iter().collect();
        let begin = ReconcileBegin { seen, dropped, head: Sequence::new(1000) };
        records.sort_by_key(|record| (record.cache.clone(), record.key.clone()));
        records.dedup_by_key(|record| (record.cache.clone(), record.key.clone()));
        let chunk = Box::new(ReconcileChunk { after: None, through: None, records });
        self.step(vec![Command::ReconcileBegin { peer: site(), run: RunId(77), begin }]);
        let decided = self.step(vec![Command::ReconcileChunk { peer: site(), run: RunId(77), chunk }]).remove(0);
        self.meet();
        decided
    }

    /// Rewrites `count` commits from the `from`-th on as one, never the newest: what compaction may do at any time.
    fn rewrite(&mut self, from: usize, count: usize) {
        let firsts: Vec<Sequence> = self.log.commits().into_iter().map(|(first, _)| first).collect();
        let older = firsts.len() - 1;
        let plan: Vec<_> = firsts[..older].iter().skip(from % older.max(1)).take(count).collect();
        let plan: Vec<(Sequence, Use)> =
            plan.into_iter().map(|first| (*first, self.open.writer.ledger.usage(*first).unwrap())).collect();
        if plan.is_empty() {
            return;
        }
        let order = self.open.writer.rewrite(&plan).unwrap();
        for order in [order, Order::Settle] {
            assert!(self.open.carry_out(order).is_empty(), "nothing was in flight");
        }
    }

    /// Restarts on what the log holds, and tells how that differs from what was held. Removals and marks that were let go
    /// may be held again: they go once more, as those of a relay do that has not let go of them yet.
    fn restart(&mut self) -> Option<String> {
        // What rides on the next commit is in it now.
        let last = self.write(1, 99, Operation::Put, None);
        self.step(vec![last]);
        let was = state(&self.open.replica.read().unwrap());
        self.number += 1;
        self.log = self.log.snapshot();
        self.open = Self::open(&self.log, self.number, self.now);
        let mut is = state(&self.open.replica.read().unwrap());
        is.held.retain(|place, slot| {
            was.held.contains_key(place) || slot.kind == Kind::Live || !was.dropped.covers(&slot.version)
        });
        (is != was).then(|| format!("was {was:#?}\nis {is:#?}"))
    }
}

#[derive(Debug, Clone)]
enum Step {
    Writes(Vec<(usize, u8, bool)>),
    Expiring(usize, u8),
    Clear(usize),
    Peer(Vec<(usize, u8, u8, u64, u64)>, bool),
    PeerClear(usize, u64),
    Reconcile(Vec<(usize, u8, u64, u64)>, u64, bool),
    Catch,
    Wait(u64),
    Housekeep,
    Rewrite(usize, usize),
    Compact,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (cache, key, at) = (0..2_usize, 0..2_u8, 0..12_u64);
    let write = (cache.clone(), key.clone(), any::<bool>());
    let peers = (cache.clone(), key.clone(), 0..4_u8, at.clone(), at.clone());
    let offered = (cache.clone(), key.clone(), at.clone(), at.clone());
    let step = prop_oneof![
        2 => prop::collection::vec(write, 1..4).prop_map(Step::Writes),
        1 => (cache.clone(), key).prop_map(|(cache, key)| Step::Expiring(cache, key)),
        1 => cache.clone().prop_map(Step::Clear),
        5 => (prop::collection::vec(peers, 1..5), any::<bool>()).prop_map(|(records, claims)| Step::Peer(records, claims)),
        3 => (cache, at.clone()).prop_map(|(cache, at)| Step::PeerClear(cache, at)),
        4 => (prop::collection::vec(offered, 0..5), at, any::<bool>())
            .prop_map(|(records, covers, ours)| Step::Reconcile(records, covers, ours)),
        2 => Just(Step::Catch),
        1 => prop_oneof![Just(1_u64), Just(600), Just(70_000)].prop_map(Step::Wait),
        2 => Just(Step::Housekeep),
        5 => (any::<usize>(), 1..4_usize).prop_map(|(from, count)| Step::Rewrite(from, count)),
        1 => Just(Step::Compact),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

fn run(world: &mut World, step: Step) -> Option<String> {
    match step {
        Step::Writes(writes) => {
            let operation = |puts| if puts { Operation::Put } else { Operation::Remove };
            let commands =
                writes.into_iter().map(|(cache, key, puts)| world.write(cache, key, operation(puts), None)).collect();
            world.step(commands);
        }
        Step::Expiring(cache, key) => {
            let write = world.write(cache, key, Operation::Put, Some(Millis::new(500)));
            world.step(vec![write]);
        }
        Step::Clear(cache) => {
            let clear = world.clear(cache);
            world.step(vec![clear]);
        }
        // Refused before a reconcile that is due, or in one: nothing is left of it then.
        Step::Peer(records, claims) => {
            let kind = |kind| if kind == 0 { Kind::Tombstone } else { Kind::Live };
            let of = |(cache, key, of, at, birth)| record(cache, key, kind(of), at, birth);
            drop(world.apply(records.into_iter().map(of).collect(), claims));
        }
        Step::PeerClear(cache, at) => drop(world.apply(vec![record(cache, 0, Kind::Clear, at, at)], false)),
        Step::Reconcile(records, covers, ours) => {
            let of = |(cache, key, at, birth)| record(cache, key, Kind::Live, at, birth);
            drop(world.reconcile(records.into_iter().map(of).collect(), covers, ours));
        }
        Step::Catch => world.meet(),
        Step::Wait(millis) => world.now = world.now.after(Millis::new(millis)),
        Step::Housekeep => drop(world.step(vec![Command::Housekeep])),
        Step::Rewrite(from, count) => world.rewrite(from, count),
        Step::Compact => while world.open.compact(1 << 20) {},
        Step::Restart => {
            let differs = world.restart();
            world.meet();
            return differs;
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_gives_what_was_held(steps in steps()) {
        let mut world = World::new();
        world.meet();
        for step in steps {
            let differs = run(&mut world, step);
            prop_assert!(differs.is_none(), "{}", differs.unwrap());
        }
        let differs = world.restart();
        prop_assert!(differs.is_none(), "{}", differs.unwrap());
    }
}

#[test]
fn an_entry_that_outdid_one_of_a_later_birth_and_was_cleared_keeps_that_one_dead() {
    let mut world = World::new();
    world.meet();
    let live = |key, at| record(0, key, Kind::Live, at, at);
    world.apply(vec![live(1, 50), live(2, 51), live(3, 52), live(4, 53)], false).unwrap();
    // The peer holds an older life of the first key, and says that it has seen the one that is held here.
    world.reconcile(vec![live(1, 10), live(2, 51), live(3, 52), live(4, 53)], 90, false).unwrap();
    world.apply(vec![record(0, 0, Kind::Clear, 30, 30)], false).unwrap();
    let key = Key::new(vec![1]).unwrap();
    let held = |world: &World| world.open.replica.read().unwrap().slot(&CacheName::new("sessions").unwrap(), &key);
    assert_eq!(held(&world), None);
    let taken = world.log.commits().len() - 2;
    world.rewrite(taken, 1);
    assert_eq!(world.restart(), None);
    assert_eq!(held(&world), None);
}

#[test]
fn what_a_group_without_a_commit_discards_is_in_the_conflict_log_before_it_is_answered_and_compaction_lets_it_be() {
    let mut world = World::new();
    world.meet();
    // The end of filling is committed with the first batch.
    world.apply(vec![record(1, 2, Kind::Live, 0, 0)], false).unwrap();
    let first = world.write(1, 1, Operation::Put, None);
    world.step(vec![first]);
    let (commits, flushes) = (world.log.commits().len(), world.log.calls().flushes);
    // Older than what is held, and neither saw the other.
    world.apply(vec![record(1, 1, Kind::Live, 0, 0)], false).unwrap();
    assert_eq!(world.log.commits().len(), commits, "nothing that has to be committed");
    assert!(world.log.calls().flushes > flushes, "it is durable");
    let told = |world: &World| super::conflicts::page(&world.open.writer.reader, None, 0, 10).unwrap().0;
    let before = told(&world);
    assert_eq!(before.len(), 1);
    assert_eq!((&before[0].conflict.loser.value[..], before[0].conflict.peer), (&b"theirs"[..], site()));
    assert_eq!(before[0].conflict.winner.as_ref().unwrap().value, "ours");
    world.rewrite(0, 3);
    assert_eq!(world.restart(), None);
    assert_eq!(told(&world), before);
}
