//! Every conflict and no other, against what the writes truly saw: three sites, deliveries in all orders, coalesced.
//!
//! The oracle knows for each write which others it is built on: what its relay held then, and what that was built on. It
//! knows no clocks and no vectors.

use std::collections::{BTreeMap, BTreeSet};

use landbridge_protocol::{frame::node::Operation, record::Kind, vector::Vector, version::Version};
use proptest::prelude::*;

use super::bed::*;

const SITES: [&str; 3] = ["a", "b", "c"];
/// Wall clocks differ, so that what is written later need not be the later.
const SKEW_MS: [u64; 3] = [0, 35, 15];

#[derive(Debug, Clone, Copy)]
enum Step {
    Put(usize),
    Remove(usize),
    /// What the one holds by now goes to the other; `claimed`: with the sender's V, as it holds nothing else.
    Deliver {
        from: usize,
        to: usize,
        claimed: bool,
    },
}

#[derive(Debug, Clone)]
struct World {
    relays: Vec<Relay>,
    name: &'static str,
    step: u64,
    /// What each write is built on.
    below: BTreeMap<Version, BTreeSet<Version>>,
    puts: BTreeSet<Version>,
}

impl World {
    fn new(name: &'static str) -> Self {
        let start = |own: &str| {
            let peers: Vec<&str> = SITES.into_iter().filter(|site| *site != own).collect();
            let mut relay = Relay::serving_with(config(own, &peers));
            relay.writes = u64::from(own.as_bytes()[0]) << 32;
            peers.iter().for_each(|peer| relay.meet(peer, Vector::new()));
            relay
        };
        let relays = SITES.into_iter().map(start).collect();
        World { relays, name, step: 0, below: BTreeMap::new(), puts: BTreeSet::new() }
    }

    fn closure(&self, of: impl IntoIterator<Item = Version>) -> BTreeSet<Version> {
        of.into_iter().flat_map(|version| self.below[&version].iter().copied().chain([version])).collect()
    }

    fn take(&mut self, step: Step) {
        self.step += 1;
        for (relay, skew) in self.relays.iter_mut().zip(SKEW_MS) {
            relay.now = ms(self.step * 10 + skew);
        }
        match step {
            Step::Put(at) => self.write(at, Operation::Put),
            Step::Remove(at) => self.write(at, Operation::Remove),
            Step::Deliver { from, to, claimed } => self.deliver(from, to, claimed),
        }
    }

    fn write(&mut self, at: usize, operation: Operation) {
        let held = self.relays[at].slot(self.name, "k").map(|slot| slot.version);
        let below = self.closure(held);
        let outcome = self.relays[at].operate(operation, self.name, "k", "v");
        let version = outcome.version.expect("done");
        self.below.insert(version, below);
        if operation == Operation::Put {
            self.puts.insert(version);
        }
    }

    fn deliver(&mut self, from: usize, to: usize, claimed: bool) {
        let sender = &self.relays[from];
        let record = sender.slot(self.name, "k").map(|_| sender.record(self.name, "k"));
        let mut batch = self.relays[to].batch_of(SITES[from], record.into_iter().collect(), &[]);
        batch.vector = if claimed { self.relays[from].replica.seen().clone() } else { Vector::new() };
        self.relays[to].step(apply(SITES[from], batch)).expect("it fits");
    }

    /// Delivers until all hold the same, and judges.
    fn judge(mut self) -> Result<(), TestCaseError> {
        for _ in 0..2 {
            for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 2), (2, 1), (1, 0)] {
                self.take(Step::Deliver { from, to, claimed: true });
            }
        }
        let held: BTreeSet<_> = self.relays.iter().map(|relay| relay.slot(self.name, "k").map(|s| s.version)).collect();
        prop_assert_eq!(held.len(), 1, "they converge");
        let stands = self.closure(held.into_iter().flatten());
        let mut told = BTreeSet::new();
        for conflict in self.relays.iter().flat_map(|relay| &relay.conflicts) {
            let (winner, loser) = (conflict.winner.as_ref().expect("no reconcile here"), &conflict.loser);
            let seen = self.below[&winner.version].contains(&loser.version)
                || self.below[&loser.version].contains(&winner.version);
            prop_assert!(!seen, "a made up conflict: {:?} and {:?}", winner.version, loser.version);
            prop_assert!(winner.kind == Kind::Live || loser.kind == Kind::Live, "two removals agree");
            told.insert(loser.version);
        }
        let lost = |version: &&Version| {
            let built_on = self.below.iter().any(|(other, below)| !stands.contains(other) && below.contains(*version));
            !stands.contains(*version) && !built_on
        };
        for version in self.puts.iter().filter(lost) {
            prop_assert!(told.contains(version), "{version:?} was lost, and nobody told");
        }
        Ok(())
    }
}

fn run(name: &'static str, steps: impl IntoIterator<Item = Step>) -> Result<(), TestCaseError> {
    let mut world = World::new(name);
    steps.into_iter().for_each(|step| world.take(step));
    world.judge()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pair = (0..3_usize, 1..3_usize, any::<bool>());
    let deliver = pair.prop_map(|(from, by, claimed)| Step::Deliver { from, to: (from + by) % 3, claimed });
    let step = prop_oneof![
        3 => (0..3_usize).prop_map(Step::Put),
        1 => (0..3_usize).prop_map(Step::Remove),
        4 => deliver,
    ];
    prop::collection::vec(step, 2..16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_conflict_and_no_other_under_latest(steps in steps()) {
        run(LATEST, steps)?;
    }

    #[test]
    fn every_conflict_and_no_other_under_remove_wins(steps in steps()) {
        run(WINS, steps)?;
    }
}

/// All that can happen in four steps after a first write.
#[test]
fn in_every_order_of_few_writes_and_deliveries() {
    let pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
    for claimed in [false, true] {
        let deliveries = pairs.map(|(from, to)| Step::Deliver { from, to, claimed });
        let all: Vec<Step> = (0..3).map(Step::Put).chain([Step::Remove(1)]).chain(deliveries).collect();
        for number in 0..all.len().pow(4) {
            let digits = (0..4).map(|place| all[number / all.len().pow(place) % all.len()]);
            let steps: Vec<Step> = [Step::Put(0)].into_iter().chain(digits).collect();
            if let Err(error) = run(LATEST, steps.clone()) {
                panic!("{steps:?}: {error}");
            }
        }
    }
}
