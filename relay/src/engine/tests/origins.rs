//! Peers' records that name runs without end: what the index can tell apart is bounded, in a group, on groups that are not
//! yet published, and in the log.

use landbridge_protocol::{
    error::ErrorCode,
    frame::peer::Batch,
    position::Sequence,
    record::Record,
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};

use super::bed::*;
use crate::engine::{
    command::{Command, Decided},
    group::Staged,
    header::LogRecord,
    index::MAX_ORIGINS,
    replica::Replica,
};

const RECORDS: u64 = 4096;

/// A record whose version and birth are each of a run of its own.
fn of_two_runs(key: &str, number: u64) -> Record {
    let of = |run, clock| Version {
        clock: Clock::from_bits(clock),
        origin: Origin { site: site("b"), run: RunId(1_000 + run) },
    };
    let (birth, version) = (of(2 * number, 1 + 2 * number), of(2 * number + 1, 2 + 2 * number));
    Record { birth, ..live(LATEST, key, version, "") }
}

/// Batches that follow one another, of records of two new runs each; all of one key, or each of its own.
fn batches(relay: &Relay, count: u64, one_key: bool) -> Vec<Command> {
    let first = relay.batch_of("b", vec![], &[]);
    let mut after = first.after;
    (0..count)
        .map(|batch| {
            let of = |number: u64| of_two_runs(&if one_key { "k".into() } else { format!("k{number}") }, number);
            let records = (batch * RECORDS..(batch + 1) * RECORDS).map(of).collect();
            let to = through(after.direct.get() + RECORDS, after.complete.get() + RECORDS);
            let begins = std::mem::replace(&mut after, to);
            apply("b", Batch { after: begins, through: to, vector: Vector::new(), records, ..first.clone() })
        })
        .collect()
}

fn met() -> Relay {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay
}

fn taken(decided: &[Decided]) -> usize {
    decided.iter().filter(|decided| decided.is_ok()).count()
}

/// Half of what can be told apart, less this relay's run and what does not fill a batch.
fn fit() -> usize {
    MAX_ORIGINS / 2 / (2 * RECORDS as usize)
}

#[test]
fn what_a_group_has_taken_counts() {
    for one_key in [false, true] {
        let mut relay = met();
        let decided = relay.steps(batches(&relay, 9, one_key));
        assert_eq!(taken(&decided), fit(), "one key: {one_key}");
        assert_eq!(code(decided[fit()].clone()), ErrorCode::ForeignOrigin);
        let mut again = relay.restarted(run("z"));
        again.put(LATEST, "mine", "1");
    }
}

#[test]
fn what_was_taken_of_one_key_counts_also_when_it_is_superseded() {
    let mut relay = met();
    let mut taken = 0;
    for batch in batches(&relay, 9, true) {
        taken += usize::from(relay.step(batch).is_ok());
    }
    assert_eq!(taken, fit(), "the log has them all, and a restart reads them");
}

#[test]
fn what_groups_that_are_not_published_have_taken_counts() {
    let relay = met();
    let mut flying: Vec<Staged> = Vec::new();
    let mut decided = Vec::new();
    for batch in batches(&relay, 9, false) {
        let mut group = relay.replica.begin_after(flying.iter(), relay.now);
        decided.push(group.step(batch, &relay.log));
        flying.push(group.finish());
    }
    assert_eq!(taken(&decided), fit());
    let mut replica = relay.replica.clone();
    flying.into_iter().for_each(|staged| drop(replica.publish(staged)));
}

#[test]
fn runs_that_are_known_go_on_where_there_is_no_room_for_more() {
    let mut relay = met();
    relay.apply("b", vec![live(LATEST, "k", version("b", 1), "1")], &[]).expect("room");
    relay.steps(batches(&relay, 4, false));
    let filler = (0..4096).map(|number| of_two_runs(&format!("f{number}"), 1_000_000 + number));
    for record in filler {
        let batch = Batch { vector: Vector::new(), ..relay.batch_of("b", vec![record], &[]) };
        if relay.step(apply("b", batch)).is_err() {
            break;
        }
    }
    relay.apply("b", vec![live(LATEST, "k", version("b", 2), "2")], &[]).expect("no new run");
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("2"));
}

#[test]
fn a_log_of_more_runs_than_can_be_told_apart_is_refused_and_does_not_break_the_replay() {
    let mut relay = met();
    relay.put(LATEST, "k", "1");
    let mut commit = relay.log.commits.last().expect("one").clone();
    let records = (0..MAX_ORIGINS as u64 / 2 + 1)
        .map(|number| (Sequence::new(10 + number), LogRecord::Record(of_two_runs(&format!("k{number}"), number))));
    commit.records = records.collect();
    commit.header.last = commit.records.last().expect("many").0;
    let replica = Replica::new(relay.replica.config().clone(), run("z"), relay.now);
    let whole = replica.clone().replay(&commit.header, &commit.records);
    assert!(whole.expect_err("too many").to_string().contains("65535"));
    commit.records.truncate(MAX_ORIGINS / 2);
    let mut fits = replica;
    fits.replay(&commit.header, &commit.records).expect("as many as there may be");
    fits.start(run("z"), relay.now);
    let mut again = Relay { replica: fits, ..relay };
    again.put(LATEST, "mine", "1");
}
