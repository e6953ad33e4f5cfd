//! Exactly once: what a retry of a write is answered.

use landbridge_protocol::{
    error::ErrorCode,
    frame::node::{Operation, Write},
    record::{ClientId, Record, WriteToken},
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};

use super::bed::*;
use crate::engine::{
    command::Command,
    header::LogRecord,
    tokens::{WINDOW_CLIENTS, WINDOW_WRITES},
};

/// A put that a client's first try has done, and its retry: as the client had heard the clock before.
fn tried(relay: &mut Relay, operation: Operation, value: &str) -> (Write, landbridge_protocol::frame::node::Outcome) {
    let clock = relay.replica.clock();
    let write = relay.write_of(operation, LATEST, "k", value);
    let outcome = relay.write(write.clone()).expect("decided");
    (Write { retry: Some(clock), ..write }, outcome)
}

#[test]
fn a_retry_is_answered_as_the_first_try() {
    let mut relay = Relay::serving(&[]);
    for operation in [Operation::Put, Operation::Replace, Operation::Remove, Operation::PutIfAbsent] {
        let (retry, outcome) = tried(&mut relay, operation, "v");
        let head = relay.replica.head();
        let again = relay.write(retry).expect("known");
        assert_eq!(
            (again.done, again.version, again.existed),
            (true, outcome.version, outcome.existed),
            "{operation:?}"
        );
        assert_eq!(relay.replica.head(), head, "nothing is written twice");
    }
}

#[test]
fn a_retry_in_the_same_group_is_answered_too() {
    let mut relay = Relay::serving(&[]);
    let write = relay.write_of(Operation::Put, LATEST, "k", "v");
    let retry = Write { retry: Some(Clock::ZERO), ..write.clone() };
    let answers: Vec<_> = relay.steps([command(write), command(retry)]).into_iter().map(written).collect();
    assert_eq!(answers[0].as_ref().expect("done").version, answers[1].as_ref().expect("done").version);
    assert_eq!(relay.log.commits[0].records.len(), 1);
}

#[test]
fn a_restart_remembers_what_the_log_holds() {
    let mut relay = Relay::serving(&[]);
    let (retry, outcome) = tried(&mut relay, Operation::Put, "v");
    relay.put(LATEST, "k", "newer");
    let mut again = relay.restarted(run("z"));
    assert_eq!(again.write(retry.clone()).expect("known").version, outcome.version);
    // The first try's record has been compacted away: a newer one in its place.
    relay.log.commits[0].records.clear();
    let mut again = relay.restarted(run("z"));
    assert_eq!(code(again.write(retry)), ErrorCode::OutcomeUnknown);
}

#[test]
fn another_site_answers_what_it_has_heard_and_decides_what_it_has_not() {
    let mut first = Relay::serving(&["b"]);
    let (retry, outcome) = tried(&mut first, Operation::Put, "v");
    let mut other = Relay::serving_with(config("b", &["a"]));
    other.meet("a", Vector::new());
    let mut without = other.clone();
    other.apply("a", vec![first.record(LATEST, "k")], &[]).expect("fits");
    assert_eq!(other.write(retry.clone()).expect("known").version, outcome.version);
    let anew = without.write(retry).expect("decided anew");
    assert_eq!((anew.done, anew.version.expect("done").origin), (true, origin("b")));
}

#[test]
fn a_try_that_lost_against_a_removal_elsewhere_is_not_done_again() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    let born = version("b", 1);
    relay.now = ms(10);
    relay.apply("b", vec![live(WINS, "k", born, "1")], &[]).expect("fits");
    relay.remove(WINS, "k");
    let heard = relay.replica.clock();
    let retry = Write { retry: Some(heard), ..relay.write_of(Operation::Put, WINS, "k", "2") };
    // Meanwhile the first try has refreshed the life at the other site; the removal here beats it.
    let mut refreshed = live(WINS, "k", version("b", 20), "2");
    (refreshed.birth, refreshed.token) = (born, Some(retry.token));
    relay.apply("b", vec![refreshed.clone()], &[]).expect("fits");
    assert_eq!(relay.get(WINS, "k"), None);
    assert_eq!(relay.write(retry).expect("known").version, Some(refreshed.version));
    assert_eq!(relay.get(WINS, "k"), None);
}

#[test]
fn what_was_overwritten_dropped_or_cleared_since_is_unknown() {
    let write = |relay: &mut Relay| Write {
        retry: Some(relay.replica.clock()),
        ..relay.write_of(Operation::Put, LATEST, "gone", "v")
    };
    let mut relay = Relay::serving(&[]);
    let retry = write(&mut relay);
    relay.put(LATEST, "gone", "another's");
    assert_eq!(code(relay.write(retry)), ErrorCode::OutcomeUnknown);

    let mut relay = Relay::serving(&[]);
    let retry = write(&mut relay);
    relay.clear(LATEST);
    assert_eq!(code(relay.write(retry)), ErrorCode::OutcomeUnknown);

    let (mut relay, _) = with_dropped(LATEST);
    let retry = Write { retry: Some(Clock::ZERO), ..write(&mut relay) };
    assert_eq!(code(relay.write(retry)), ErrorCode::OutcomeUnknown);
    let later = write(&mut relay);
    assert!(relay.write(later).expect("nothing was dropped since").done);
}

#[test]
fn what_came_to_nothing_is_decided_anew() {
    let mut relay = Relay::serving(&[]);
    let (retry, outcome) = tried(&mut relay, Operation::Replace, "v");
    assert!(!outcome.done);
    assert!(!relay.write(retry).expect("decided").done);
    let too_large = Write { retry: Some(Clock::ZERO), ..relay.write_of(Operation::Put, LATEST, "k", &"v".repeat(65)) };
    assert_eq!(code(relay.write(too_large)), ErrorCode::EntryTooLarge);
}

#[test]
fn a_clear_is_retried_like_a_write() {
    let mut relay = Relay::serving(&[]);
    relay.put(LATEST, "k", "v");
    let clock = relay.replica.clock();
    let Command::Clear { node, cache: name, token, .. } = relay.clear_command(LATEST) else { panic!("a clear") };
    let of = |retry| Command::Clear { node: node.clone(), cache: name.clone(), token, retry };
    let outcome = written(relay.step(of(None))).expect("decided");
    relay.put(LATEST, "k", "later");
    let again = written(relay.step(of(Some(clock)))).expect("known");
    assert_eq!((again.version, again.existed), (outcome.version, true));
    assert!(relay.get(LATEST, "k").is_some(), "what was written after the clear is not cleared");
    let mut restarted = relay.restarted(run("z"));
    assert_eq!(written(restarted.step(of(Some(clock)))).expect("known").version, outcome.version);
    // One that never arrived, and another's clear since: it can't be told.
    let Command::Clear { token, .. } = relay.clear_command(LATEST) else { panic!("a clear") };
    let clock = relay.replica.clock();
    relay.clear(LATEST);
    let lost = Command::Clear { node: node.clone(), cache: name.clone(), token, retry: Some(clock) };
    assert_eq!(code(relay.step(lost)), ErrorCode::OutcomeUnknown);
}

#[test]
fn the_windows_are_bounded_and_what_is_held_answers_beyond_them() {
    let mut relay = Relay::serving(&[]);
    let (retry, outcome) = tried(&mut relay, Operation::Put, "v");
    for _ in 0..WINDOW_WRITES {
        relay.put(LATEST, "other", "v");
    }
    assert_eq!(relay.write(retry.clone()).expect("the record is held").version, outcome.version);
    relay.put(LATEST, "k", "newer");
    assert_eq!(code(relay.write(retry)), ErrorCode::OutcomeUnknown);

    let (first, _) = tried(&mut relay, Operation::Put, "v");
    for client in 0..WINDOW_CLIENTS as u64 {
        let mut write = relay.write_of(Operation::Put, LATEST, "k", "v");
        write.token.client = ClientId(1_000 + client);
        relay.write(write).expect("decided");
    }
    assert_eq!(code(relay.write(first)), ErrorCode::OutcomeUnknown, "the client is forgotten, its record outgrown");
}

#[test]
fn every_record_keeps_its_token() {
    let mut relay = Relay::serving(&[]);
    let write = relay.write_of(Operation::Put, LATEST, "k", "v");
    let token = write.token;
    relay.write(write).expect("decided");
    let LogRecord::Record(record) = &relay.log.commits[0].records[0].1 else { panic!("a record") };
    assert_eq!(record.token, Some(token));
}

/// A relay whose peer has refreshed the life of `k` that began at 1, where a removal of it here did not know of that; and the
/// retry of the refresh, by a client that had heard of both.
fn refreshed_after_its_removal() -> (Relay, Write, Record) {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    let born = version("b", 1);
    relay.now = ms(10);
    relay.apply("b", vec![live(WINS, "k", born, "1")], &[]).expect("fits");
    let retry = Write { retry: Some(version("b", 17).clock), ..relay.write_of(Operation::Put, WINS, "k", "2") };
    let mut refreshed = live(WINS, "k", version("b", 20), "2");
    (refreshed.birth, refreshed.token) = (born, Some(retry.token));
    (relay, retry, refreshed)
}

/// A restart after which the log has nothing more of the client's write.
fn restarted_without(relay: &Relay, token: WriteToken) -> Relay {
    let mut relay = relay.clone();
    let is_of = |record: &LogRecord| matches!(record, LogRecord::Record(record) if record.token == Some(token));
    for commit in &mut relay.log.commits {
        commit.records.retain(|(at, record)| {
            let held = matches!(record, LogRecord::Record(record) if relay.replica.holds(*at, record));
            held || !is_of(record)
        });
    }
    relay.restarted(run("z"))
}

#[test]
fn a_try_that_lost_and_left_no_trace_is_unknown_after_a_restart() {
    let (mut relay, retry, refreshed) = refreshed_after_its_removal();
    relay.remove(WINS, "k");
    relay.apply("b", vec![refreshed], &[]).expect("fits");
    let mut again = restarted_without(&relay, retry.token);
    assert_eq!(code(again.write(retry)), ErrorCode::OutcomeUnknown);
    assert_eq!(again.get(WINS, "k"), None, "what was removed does not return");
}

#[test]
fn a_try_that_an_older_removal_outdid_is_unknown_after_a_restart() {
    let (mut relay, retry, refreshed) = refreshed_after_its_removal();
    let (born, token) = (refreshed.birth, retry.token);
    relay.apply("b", vec![refreshed], &[]).expect("fits");
    relay.apply("b", vec![removed(WINS, "k", version("b", 15), born)], &[]).expect("fits");
    assert_eq!(relay.get(WINS, "k"), None);
    assert_eq!(code(restarted_without(&relay, token).write(retry)), ErrorCode::OutcomeUnknown);
}

#[test]
fn a_try_that_an_older_clear_took_is_unknown_after_a_restart() {
    for clear_first in [false, true] {
        let (mut relay, retry, refreshed) = refreshed_after_its_removal();
        let mut records = vec![refreshed, cleared(WINS, version("b", 15))];
        if clear_first {
            records.reverse();
        }
        for record in records {
            relay.apply("b", vec![record], &[]).expect("fits");
        }
        assert_eq!(relay.get(WINS, "k"), None);
        let mut again = restarted_without(&relay, retry.token);
        assert_eq!(code(again.write(retry)), ErrorCode::OutcomeUnknown, "{clear_first}");
    }
}

#[test]
fn a_try_that_a_reconcile_took_away_is_unknown_after_a_restart() {
    let (mut relay, retry, refreshed) = refreshed_after_its_removal();
    let (born, token) = (refreshed.birth, retry.token);
    relay.apply("b", vec![refreshed], &[]).expect("fits");
    // The peer has seen the life and holds nothing of it; what it dropped is older than the refresh.
    let other = Version { origin: Origin { run: RunId(5), ..origin("b") }, ..version("b", 12) };
    relay.reconcile_begin("b", seen(&[version("b", 12), other]), seen(&[other])).expect("needed");
    relay.reconcile_chunk("b", None, None, vec![]).expect("fits");
    assert_eq!((relay.slot(WINS, "k"), born.clock < version("b", 12).clock), (None, true));
    assert_eq!(code(restarted_without(&relay, token).write(retry)), ErrorCode::OutcomeUnknown);
}

#[test]
fn a_try_whose_removal_was_let_go_in_a_cache_of_the_site_is_unknown_after_a_restart() {
    let mut relay = Relay::serving(&["b"]);
    let retry = Write { retry: Some(relay.replica.clock()), ..relay.write_of(Operation::Put, LOCAL, "k", "v") };
    relay.write(Write { retry: None, ..retry.clone() }).expect("decided");
    relay.remove(LOCAL, "k");
    relay.now = ms(20_000);
    relay.housekeep();
    assert_eq!(relay.slot(LOCAL, "k"), None);
    let mut again = restarted_without(&relay, retry.token);
    // The removal itself is in the log still; without it nothing is held.
    again.housekeep();
    again.now = ms(40_000);
    again.housekeep();
    assert_eq!(again.slot(LOCAL, "k"), None);
    assert_eq!(code(again.write(retry)), ErrorCode::OutcomeUnknown);
}

#[test]
fn a_try_of_this_run_that_never_arrived_is_decided_whatever_was_outdone() {
    let (mut relay, _, refreshed) = refreshed_after_its_removal();
    let clock = relay.replica.clock();
    let never = Write { retry: Some(clock), ..relay.write_of(Operation::Put, WINS, "other", "v") };
    relay.remove(WINS, "k");
    relay.apply("b", vec![refreshed], &[]).expect("fits");
    assert!(relay.replica.core.outdone > clock);
    assert!(relay.clone().write(never.clone()).expect("it was not done").done);
    // Nor does what was outdone before a restart concern a try after it.
    let mut again = relay.restarted(run("z"));
    assert_eq!(code(again.write(never)), ErrorCode::OutcomeUnknown);
    let later = Write { retry: Some(again.replica.clock()), ..again.write_of(Operation::Put, WINS, "other", "v") };
    assert!(again.write(later).expect("decided").done);
}

#[test]
fn a_client_whose_window_overflowed_is_not_taken_for_whole() {
    let (mut relay, _, refreshed) = refreshed_after_its_removal();
    let clock = relay.replica.clock();
    relay.remove(WINS, "k");
    relay.apply("b", vec![refreshed], &[]).expect("fits");
    for _ in 0..=WINDOW_WRITES {
        relay.put(LATEST, "other", "v");
    }
    let forgotten = Write { retry: Some(clock), ..relay.write_of(Operation::Put, WINS, "fresh", "v") };
    assert_eq!(code(relay.write(forgotten)), ErrorCode::OutcomeUnknown);
}
