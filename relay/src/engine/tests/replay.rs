//! A restart: replaying the commits gives the state that was, also where compaction has taken dead records out.

use std::collections::{BTreeMap, BTreeSet};

use landbridge_protocol::{
    frame::node::Operation,
    name::CacheName,
    record::{Key, Kind},
    time::Millis,
    vector::Vector,
};
use proptest::prelude::*;

use super::bed::*;
use crate::engine::{
    command::Command,
    header::{Commit, LogRecord},
    replica::Replica,
    slot::Slot,
};

#[derive(Debug, Clone)]
enum Step {
    Put(usize, u8),
    PutFor(usize, u8),
    Remove(usize, u8),
    Clear(usize),
    /// A peer's record, and whether its vector claims it.
    Peer {
        name: usize,
        key: u8,
        at: u64,
        removes: bool,
        claims: bool,
    },
    Wait(u64),
    Housekeep,
    /// The peer has seen all, so that tombstones go.
    Catch,
    /// The peer reconciles this relay with what it holds of the keys whose bit is set.
    Reconcile(u8),
}

const NAMES: [&str; 3] = [LATEST, WINS, LOCAL];

fn step() -> impl Strategy<Value = Step> {
    let (name, key) = (0..3_usize, 0..4_u8);
    prop_oneof![
        4 => (name.clone(), key.clone()).prop_map(|(name, key)| Step::Put(name, key)),
        2 => (name.clone(), key.clone()).prop_map(|(name, key)| Step::PutFor(name, key)),
        3 => (name.clone(), key.clone()).prop_map(|(name, key)| Step::Remove(name, key)),
        1 => name.prop_map(Step::Clear),
        4 => (0..2_usize, key, 0..200_u64, any::<bool>(), any::<bool>())
            .prop_map(|(name, key, at, removes, claims)| Step::Peer { name, key, at, removes, claims }),
        2 => prop_oneof![Just(1_u64), Just(600), Just(20_000), Just(90_000)].prop_map(Step::Wait),
        3 => Just(Step::Housekeep),
        2 => Just(Step::Catch),
        1 => any::<u8>().prop_map(Step::Reconcile),
    ]
}

fn key_of(key: u8) -> String {
    format!("k{key}")
}

fn run_step(relay: &mut Relay, step: &Step, number: u64) {
    match step {
        Step::Put(name, key) => drop(relay.operate(Operation::Put, NAMES[*name], &key_of(*key), "v")),
        Step::PutFor(name, key) => drop(relay.put_for(NAMES[*name], &key_of(*key), Millis::new(500))),
        Step::Remove(name, key) => drop(relay.remove(NAMES[*name], &key_of(*key))),
        Step::Clear(name) => drop(relay.clear(NAMES[*name])),
        Step::Peer { name, key, at, removes, claims } => {
            let at = version("b", at * 1_000 + number);
            let (name, key) = (NAMES[*name], key_of(*key));
            let record = if *removes { removed(name, &key, at, at) } else { live(name, &key, at, "theirs") };
            let mut batch = relay.batch_of("b", vec![record], &[]);
            if !claims {
                batch.vector = Vector::new();
            }
            // Too far ahead, or before a reconcile: refused, and nothing is left of it.
            drop(relay.step(apply("b", batch)));
        }
        Step::Wait(millis) => relay.now = relay.now.after(Millis::new(*millis)),
        Step::Housekeep => relay.housekeep(),
        Step::Catch => {
            relay.meet("b", relay.replica.seen().clone());
            relay.heard("b", relay.now);
        }
        Step::Reconcile(held) => {
            let at = version("b", relay.now.since(START).get());
            drop(relay.reconcile_begin("b", seen(&[at]), seen(&[at])));
            let keys = (0..4_u8).filter(|key| held & (1 << key) != 0);
            let records = keys.map(|key| live(LATEST, &key_of(key), version("b", u64::from(key)), "reconciled"));
            drop(relay.reconcile_chunk("b", None, None, records.collect()));
        }
    }
}

/// What compaction may take out: superseded records, and what a key that is gone has left where nothing older of it
/// stays before it.
fn compacted(relay: &Relay, omit: &[bool]) -> Vec<Commit> {
    let mut omit = omit.iter().cycle().copied();
    let mut left: BTreeSet<(CacheName, Option<Key>)> = BTreeSet::new();
    let mut last: BTreeMap<(CacheName, Option<Key>), u64> = BTreeMap::new();
    let place = |record: &LogRecord| match record {
        LogRecord::Record(record) => (record.cache.clone(), record.key.clone()),
        LogRecord::Forgotten { cache, key } => (cache.clone(), Some(key.clone())),
    };
    let all = relay.log.commits.iter().flat_map(|commit| &commit.records);
    last.extend(all.map(|(sequence, record)| (place(record), sequence.get())));
    let mut commits = relay.log.commits.clone();
    for commit in &mut commits {
        commit.records.retain(|(sequence, record)| {
            let held = matches!(record, LogRecord::Record(record) if relay.replica.holds(*sequence, record));
            let newest = last[&place(record)] == sequence.get();
            let older = left.contains(&place(record));
            let keep = held || (newest && older) || !omit.next().expect("a cycle");
            if keep {
                left.insert(place(record));
            }
            keep
        });
    }
    commits
}

type Held = BTreeMap<(CacheName, Key), Slot>;

fn held(replica: &Replica) -> Held {
    let mut all = Held::new();
    for (name, _) in replica.caches() {
        for (key, slot) in replica.index.range(name, None, None) {
            // Where a record stands from is of no matter after a restart.
            all.insert((name.clone(), key), Slot { stands_from: slot.sequence, ..slot });
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replay_gives_the_state_that_was(
        steps in prop::collection::vec(step(), 1..40),
        omit in prop::collection::vec(any::<bool>(), 1..8),
        twice in any::<bool>(),
    ) {
        let mut relay = Relay::serving(&["b"]);
        relay.meet("b", Vector::new());
        for (number, step) in steps.iter().enumerate() {
            run_step(&mut relay, step, number as u64);
        }
        let mut replica = Replica::new(relay.replica.config().clone(), run("z"), relay.now);
        for commit in compacted(&relay, &omit) {
            replica.replay(&commit.header, &commit.records).expect("few origins");
            if twice {
                replica.replay(&commit.header, &commit.records).expect("few origins");
            }
        }
        let (expected, replayed) = (held(&relay.replica), held(&replica));
        for (place, slot) in &expected {
            prop_assert_eq!(replayed.get(place), Some(slot), "{:?}", place);
        }
        for (place, slot) in replayed.iter().filter(|(place, _)| !expected.contains_key(place)) {
            prop_assert!(slot.kind != Kind::Live, "{:?} came back: {:?}", place, slot);
        }
        for name in NAMES {
            let clear = |replica: &Replica| replica.clear_of(&cache(name)).map(|clear| (clear.sequence, clear.version));
            prop_assert_eq!(clear(&replica), clear(&relay.replica));
        }
        let (was, is) = (&relay.replica.core, &replica.core);
        let last = relay.log.commits.last().expect("the one that began serving").header.clone();
        prop_assert_eq!((is.head, &is.seen, &is.dropped), (last.last, &last.seen, &last.dropped));
        prop_assert_eq!((was.head, &was.seen, &was.dropped), (last.last, &last.seen, &last.dropped), "V and G are durable");
        prop_assert_eq!((&is.cursors, &is.runs, is.filled), (&last.cursors.into_iter().collect(), &was.runs, true));
        replica.start(run("z"), relay.now);
        let mut again = Relay { replica, ..relay.clone() };
        let newest = expected.values().map(|slot| slot.version.clock).max();
        let put = again.operate(Operation::Put, LATEST, "k0", "after").version.expect("done");
        prop_assert!(newest.is_none_or(|newest| put.clock > newest));
    }
}

#[test]
fn a_run_goes_on_from_what_it_was() {
    let mut relay = Relay::serving(&["b"]);
    relay.put(LATEST, "k", "1");
    relay.step(Command::EndRun).expect("once");
    let mut again = relay.restarted(run("z"));
    assert_eq!(again.get(LATEST, "k").as_deref(), Some("1"));
    again.put(LATEST, "k", "2");
    let header = &again.log.commits.last().expect("one").header;
    assert_eq!(header.first, relay.replica.head().next(), "sequences go on");
    let runs: Vec<_> = header.runs.iter().map(|run| (run.first.get(), run.ended_in_order)).collect();
    assert_eq!(runs, [(1, true), (relay.replica.head().get() + 1, false)]);
}
