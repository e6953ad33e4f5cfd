//! What is drift and what is not; what a repair takes; and sums that are those of what is held.

use landbridge_protocol::{
    frame::peer::DriftRepair,
    record::{Kind, Record},
    time::{Millis, Timestamp},
    vector::Vector,
    version::{RunId, Version},
};

use super::bed::*;
use crate::engine::{
    command::{Answer, Command},
    sums::{self, Summed, Sums},
};

/// Site `a`, whose V covers these of peer `b`.
fn covering(versions: &[Version]) -> Relay {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay.apply("b", vec![], versions).expect("a batch");
    relay
}

/// What `a` is found to hold of a record that `b` lists with this V; `None`: nothing is found.
fn found(relay: &Relay, record: &Record, theirs: &Vector) -> Option<Option<Version>> {
    let list = (&[record.clone()][..], &[record.checksum()][..]);
    let found = relay.replica.drift_found(&record.cache, theirs, list, relay.now);
    found.first().map(|finding| finding.held)
}

fn repair(relay: &mut Relay, record: &Record, theirs: &Vector) -> u32 {
    let repair = DriftRepair { cache: record.cache.clone(), seen: theirs.clone(), records: vec![record.clone()] };
    let repair = Command::RepairDrift { peer: site("b"), run: run("b"), repair: Box::new(repair) };
    match relay.step(repair).expect("not refused") {
        Answer::DriftRepaired { taken } => taken,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_v_covers_and_is_not_held_is_drift_and_a_repair_takes_it_once() {
    for name in [LATEST, WINS] {
        let entry = live(name, "k", version("b", 5), "value");
        let mut relay = covering(&[entry.version]);
        let theirs = seen(&[entry.version]);
        assert_eq!(found(&relay, &entry, &theirs), Some(None));
        assert_eq!(repair(&mut relay, &entry, &theirs), 1);
        assert_eq!(relay.get(name, "k").as_deref(), Some("value"));
        assert_eq!(relay.record(name, "k"), entry, "as it was");
        assert_eq!((found(&relay, &entry, &theirs), repair(&mut relay, &entry, &theirs)), (None, 0));
    }
}

#[test]
fn what_has_not_arrived_is_no_drift_and_no_repair_brings_it_forward() {
    let entry = live(LATEST, "k", version("b", 5), "value");
    let mut relay = covering(&[version("b", 4)]);
    assert_eq!(found(&relay, &entry, &seen(&[entry.version])), None);
    assert_eq!(repair(&mut relay, &entry, &seen(&[entry.version])), 0);
    assert_eq!(relay.slot(LATEST, "k"), None);
}

#[test]
fn what_was_outdone_removed_cleared_or_expires_soon_is_no_drift() {
    let old = live(LATEST, "k", version("b", 5), "old");
    let theirs = seen(&[version("b", 9)]);
    let newer = live(LATEST, "k", version("b", 6), "new");
    let gone = removed(LATEST, "k", version("b", 6), version("b", 6));
    for outdone_by in [newer, gone, cleared(LATEST, version("b", 7))] {
        let mut relay = covering(&[]);
        relay.apply("b", vec![outdone_by.clone()], &[version("b", 9)]).expect("a batch");
        assert_eq!(found(&relay, &old, &theirs), None, "{outdone_by:?}");
        assert_eq!(repair(&mut relay, &old, &theirs), 0, "{outdone_by:?}");
    }
    let relay = covering(&[version("b", 9)]);
    let ends = |at: Timestamp| Record { deadline: Some(at), ..old.clone() };
    assert_eq!(found(&relay, &ends(ms(60_000)), &theirs), None, "the clocks may be so far apart");
    assert_eq!(found(&relay, &ends(ms(60_001)), &theirs), Some(None));
    let mark = Record { kind: Kind::Mark, value: Default::default(), ..ends(ms(90_000)) };
    assert_eq!(found(&relay, &mark, &theirs), None, "nobody sees a difference");
}

#[test]
fn older_entries_lost_removals_and_lost_clears_are_drift() {
    let theirs = seen(&[version("b", 9)]);
    let older = live(LATEST, "k", version("b", 5), "old");
    let removal = removed(LATEST, "k", version("b", 6), version("b", 6));
    let clear = cleared(LATEST, version("b", 8));
    for newer in [live(LATEST, "k", version("b", 6), "new"), removal, clear] {
        let mut relay = covering(&[]);
        relay.apply("b", vec![older.clone()], &[version("b", 9)]).expect("a batch");
        let held = newer.key.as_ref().map(|_| older.version);
        assert_eq!(found(&relay, &newer, &theirs), Some(held), "{newer:?}");
        assert_eq!(repair(&mut relay, &newer, &theirs), 1, "{newer:?}");
        let value = (newer.kind == Kind::Live).then_some("new");
        assert_eq!(relay.get(LATEST, "k").as_deref(), value, "{newer:?}");
    }
}

#[test]
fn one_version_with_two_contents_is_told_and_never_sent() {
    let entry = live(LATEST, "k", version("b", 5), "value");
    let mut relay = covering(&[]);
    relay.apply("b", vec![entry.clone()], &[]).expect("a batch");
    let theirs = seen(&[entry.version]);
    let other = live(LATEST, "k", version("b", 5), "other");
    assert_eq!(found(&relay, &other, &theirs), Some(Some(entry.version)));
    assert_eq!(repair(&mut relay, &other, &theirs), 0);
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("value"));
}

#[test]
fn who_does_not_know_what_was_let_go_finds_nothing_and_brings_nothing_back() {
    for name in [LATEST, WINS] {
        let (mut relay, gone) = with_dropped(name);
        let entry = live(name, "gone", version("b", 1), "back again");
        relay.apply("b", vec![], &[entry.version]).expect("a batch");
        let stale = seen(&[entry.version]);
        assert_eq!((found(&relay, &entry, &stale), repair(&mut relay, &entry, &stale)), (None, 0), "{name}");
        assert_eq!(relay.get(name, "gone"), None);
        // One whose V covers it would not hold the entry, had the removal been of that.
        let mut knowing = stale;
        knowing.raise(gone.origin, gone.clock);
        assert_eq!(found(&relay, &entry, &knowing), Some(None), "{name}");
    }
}

#[test]
fn nothing_is_judged_while_a_peer_was_not_met_or_a_reconcile_is_owed() {
    let mut relay = Relay::serving(&["b", "c"]);
    relay.meet("b", Vector::new());
    let why = |relay: &Relay| relay.replica.undecidable(&site("b"), &cache(LATEST));
    assert!(why(&relay).expect("not met").contains("c has not been met"));
    relay.meet_as(landbridge_protocol::frame::peer::Introduction {
        dropped: seen(&[version("c", 5)]),
        ..relay.introduction_of("c", seen(&[version("c", 5)]))
    });
    assert!(why(&relay).expect("owed").contains("owed a reconcile by c"));
    let entry = live(LATEST, "k", version("b", 5), "value");
    relay.apply("b", vec![], &[entry.version]).expect("a batch");
    assert_eq!(repair(&mut relay, &entry, &seen(&[entry.version])), 0);
    relay.apply("b", vec![], &[version("c", 5)]).expect("a batch");
    assert_eq!(why(&relay), None);
    assert_eq!(repair(&mut relay, &entry, &seen(&[entry.version])), 1);
    assert!(relay.replica.undecidable(&site("b"), &cache(LOCAL)).expect("local").contains("does not replicate"));
}

#[test]
fn a_peer_that_was_filling_when_it_was_met_is_judged_once_it_says_so_itself() {
    let mut relay = Relay::serving(&["b"]);
    let filling =
        landbridge_protocol::frame::peer::Introduction { filling: true, ..relay.introduction_of("b", Vector::new()) };
    relay.meet_as(filling);
    assert_eq!(relay.replica.undecidable(&site("b"), &cache(LATEST)), None);
}

/// Summed up anew.
fn summed(relay: &Relay, name: &str) -> Vec<u64> {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let mut sums = Sums::default();
    for (key, slot) in relay.replica.drift_part(&cache(name), &all, None).held {
        let Some(key) = key else {
            sums.add(0, sums::of_clear(&slot.version));
            continue;
        };
        let (hash, bucket) = sums::of_key(key.as_bytes());
        let summed = Summed {
            clock: slot.version.clock.bits(),
            origin: sums::of_origin(&slot.version.origin),
            birth: slot.birth.clock.bits(),
            birth_origin: sums::of_origin(&slot.birth.origin),
            deadline: slot.deadline.map_or(0, Timestamp::as_millis),
            checksum: relay.record(name, std::str::from_utf8(key.as_bytes()).expect("text")).checksum(),
        };
        if slot.kind == Kind::Live {
            sums.add(bucket, summed.hash(hash));
        }
    }
    sums.as_slice().to_vec()
}

/// Kept up as the index changes, and as a start makes them of the log.
#[test]
fn sums_are_those_of_what_is_held() {
    let mut random = 0x9e37_79b9_u64;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let mut relay = covering(&[]);
    let mut unequal = 0;
    let mut last = relay.replica.drift_sums(&cache(LATEST));
    for step in 0..600 {
        let name = [LATEST, WINS][below(2) as usize];
        let of = format!("key-{}", below(24));
        match below(16) {
            0..=7 => drop(relay.put(name, &of, &format!("{step}"))),
            8..=10 => drop(relay.put_for(name, &of, Millis::new(50 + below(100)))),
            11..=13 => drop(relay.remove(name, &of)),
            14 => drop((below(4) == 0).then(|| relay.clear(name))),
            _ => {
                let record = live(name, &of, version("b", 1_000 + step), "from b");
                relay.apply("b", vec![record], &[]).expect("a batch");
            }
        }
        relay.now = relay.now.after(Millis::new(below(20)));
        relay.housekeep();
        let restarted = relay.restarted(RunId(99));
        for name in [LATEST, WINS] {
            let sums = relay.replica.drift_sums(&cache(name));
            assert_eq!(sums, summed(&relay, name), "step {step}, {name}");
            assert_eq!(sums, restarted.replica.drift_sums(&cache(name)), "step {step}, {name}");
            assert!(relay.replica.drift_unequal(&cache(name), &sums).is_empty());
        }
        let now = relay.replica.drift_sums(&cache(LATEST));
        unequal += usize::from(!relay.replica.drift_unequal(&cache(LATEST), &last).is_empty());
        last = now;
    }
    assert!(unequal > 100, "{unequal} of 600 steps changed a sum");
}
