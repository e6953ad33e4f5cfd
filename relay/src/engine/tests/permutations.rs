//! Merging is a join: whatever the order and repetition of deliveries, equal live entries.

use landbridge_protocol::{frame::node::Operation, record::Record, time::Millis, vector::Vector};
use proptest::prelude::*;

use super::bed::*;
use crate::engine::{
    command::Command,
    header::{LogRecord, Records},
};

const SITES: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone, Copy)]
enum What {
    Put,
    PutFor,
    Remove,
    Clear,
}

/// One write at one site, which has heard those of the earlier ones whose bit is set.
#[derive(Debug, Clone)]
struct Step {
    site: usize,
    what: What,
    key: bool,
    heard: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what =
        prop_oneof![4 => Just(What::Put), 2 => Just(What::PutFor), 4 => Just(What::Remove), 1 => Just(What::Clear)];
    let step = (0..3_usize, what, prop::bool::weighted(0.2), any::<u8>());
    let step = step.prop_map(|(site, what, key, heard)| Step { site, what, key, heard });
    prop::collection::vec(step, 1..=4)
}

fn sites() -> Vec<Relay> {
    let start = |own: &str| {
        let peers: Vec<&str> = SITES.into_iter().filter(|site| *site != own).collect();
        let mut relay = Relay::serving_with(config(own, &peers));
        relay.writes = u64::from(own.as_bytes()[0]) << 32;
        for peer in peers {
            relay.meet(peer, Vector::new());
        }
        relay
    };
    SITES.into_iter().map(start).collect()
}

/// A batch with this one record that claims nothing: V covers only what a site wrote itself.
fn deliver(relay: &mut Relay, record: &Record) {
    let from = SITES.into_iter().find(|from| site(from) != relay.replica.site()).expect("another");
    let mut batch = relay.batch_of(from, vec![record.clone()], &[]);
    batch.vector = Vector::new();
    relay.step(apply(from, batch)).expect("it fits");
}

/// What the steps wrote, and the sites after them.
fn written_by(steps: &[Step], name: &str) -> (Vec<Record>, Vec<Relay>) {
    let mut relays = sites();
    let mut records: Vec<Record> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let relay = &mut relays[step.site];
        relay.now = ms(at as u64 + 1);
        for (bit, record) in records.iter().enumerate().filter(|(bit, _)| step.heard & (1 << bit) != 0) {
            assert!(bit < at);
            deliver(relay, record);
        }
        let key = if step.key { "other" } else { "k" };
        let value = format!("{at}");
        match step.what {
            What::Put => drop(relay.operate(Operation::Put, name, key, &value)),
            What::PutFor => drop(relay.put_for(name, key, Millis::new(500))),
            What::Remove => drop(relay.remove(name, key)),
            What::Clear => drop(relay.clear(name)),
        }
        let Some((_, LogRecord::Record(record))) = relay.log.commits.last().and_then(|commit| commit.records.last())
        else {
            panic!("a write is logged")
        };
        records.push(record.clone());
    }
    (records, relays)
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let insert = |order: &Vec<usize>| {
        (0..count).map(|at| [&order[..at], &[count - 1], &order[at..]].concat()).collect::<Vec<_>>()
    };
    shorter.iter().flat_map(insert).collect()
}

fn converges(steps: &[Step], repeated: &[usize], name: &str) -> Result<(), TestCaseError> {
    let (records, relays) = written_by(steps, name);
    for now in [ms(10), ms(1_000)] {
        let mut first = None;
        for order in orders(records.len()) {
            for mut relay in relays.iter().cloned() {
                relay.now = now;
                for (at, which) in order.iter().enumerate() {
                    deliver(&mut relay, &records[*which]);
                    let again = repeated[at] % (at + 1);
                    deliver(&mut relay, &records[order[again]]);
                    if repeated[at].is_multiple_of(2) {
                        relay.step(Command::Housekeep).expect("housekept");
                    }
                }
                let held = entries(&relay);
                let expected = first.get_or_insert_with(|| held.clone());
                prop_assert_eq!(&held, expected, "order {:?} at {}", order, relay.replica.site());
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn latest_is_a_join(steps in steps(), repeated in prop::collection::vec(0..4_usize, 4)) {
        converges(&steps, &repeated, LATEST)?;
    }

    #[test]
    fn remove_wins_is_a_join(steps in steps(), repeated in prop::collection::vec(0..4_usize, 4)) {
        converges(&steps, &repeated, WINS)?;
    }

    #[test]
    fn the_greatest_version_wins_under_latest(steps in steps()) {
        let (records, relays) = written_by(&steps, LATEST);
        let mut relay = relays[0].clone();
        records.iter().for_each(|record| deliver(&mut relay, record));
        let floor = records.iter().filter(|record| record.key.is_none()).map(|record| record.version).max();
        for of in ["k", "other"] {
            let of_key = records.iter().filter(|record| record.key == Some(key(of)));
            let winner = of_key.max_by_key(|record| record.version).filter(|record| floor < Some(record.version));
            let held = relay.slot(LATEST, of).map(|slot| relay.log.record(slot.sequence).expect("in the log"));
            prop_assert_eq!(held.map(|record| record.version), winner.map(|record| record.version));
        }
    }
}

#[test]
fn a_removal_beats_a_concurrent_refresh_and_not_a_new_life() {
    let mut relays = sites();
    let born = relays[0].put(WINS, "k", "1");
    let login = relays[0].record(WINS, "k");
    relays[1].now = ms(5);
    deliver(&mut relays[1], &login);
    let logout = {
        relays[0].remove(WINS, "k");
        relays[0].record(WINS, "k")
    };
    let refreshed = relays[1].put(WINS, "k", "2");
    assert!(refreshed > logout.version, "the later write of the two");
    assert_eq!(relays[1].record(WINS, "k").birth, born);
    deliver(&mut relays[1], &logout);
    assert_eq!(relays[1].get(WINS, "k"), None, "the logout wins");
    relays[2].now = ms(2);
    let anew = {
        relays[2].put(WINS, "k", "3");
        relays[2].record(WINS, "k")
    };
    deliver(&mut relays[1], &anew);
    assert_eq!(relays[1].get(WINS, "k").as_deref(), Some("3"), "another life");
}
