//! Conflicts and contexts: what is counted, and what is not.

use landbridge_protocol::{
    record::{Kind, MAX_CONTEXT, Record},
    time::Millis,
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};

use super::bed::*;
use crate::engine::{conflicts::Because, context::saw};

/// Site `a`, linked with `b` and `c`, which say nothing of themselves.
fn relay() -> Relay {
    let mut relay = Relay::serving(&["b", "c"]);
    relay.meet("b", Vector::new());
    relay.meet("c", Vector::new());
    relay
}

/// A batch with this record from a peer that claims no more than `claims`.
fn deliver(relay: &mut Relay, from: &str, record: Record, claims: &[Version]) {
    let mut batch = relay.batch_of(from, vec![record], &[]);
    batch.vector = seen(claims);
    relay.step(apply(from, batch)).expect("it fits");
}

fn over(record: Record, context: &[Version]) -> Record {
    Record { context: seen(context), ..record }
}

fn told(relay: &Relay) -> Vec<(Because, Option<Version>, Version)> {
    let told =
        |c: &crate::engine::conflicts::Conflict| (c.because(), c.winner.as_ref().map(|w| w.version), c.loser.version);
    relay.conflicts.iter().map(told).collect()
}

#[test]
fn a_context_names_what_others_had_a_part_in_and_accumulates() {
    let mut relay = relay();
    relay.put(LATEST, "k", "1");
    let mine = relay.put(LATEST, "k", "2");
    assert!(relay.record(LATEST, "k").context.is_empty(), "own writes over own ones have seen them");
    let (theirs, before) = (version("b", 5), version("c", 1));
    deliver(&mut relay, "b", over(live(LATEST, "k", theirs, "3"), &[mine, before]), &[theirs]);
    relay.now = ms(10);
    relay.put(LATEST, "k", "4");
    assert_eq!(relay.record(LATEST, "k").context, seen(&[theirs, before]), "through what is not covered, by the log");
    relay.remove(LATEST, "k");
    assert_eq!(relay.record(LATEST, "k").context, seen(&[theirs, before]));
    assert!(relay.conflicts.is_empty());
}

#[test]
fn where_v_covers_a_context_no_write_reads_the_log() {
    let mut relay = relay();
    let theirs = version("b", 5);
    deliver(&mut relay, "b", live(LATEST, "k", theirs, "1"), &[theirs]);
    relay.now = ms(10);
    relay.put(LATEST, "k", "2");
    relay.log.unreadable = true;
    let write = landbridge_protocol::frame::node::Write {
        return_previous: false,
        ..relay.write_of(landbridge_protocol::frame::node::Operation::Put, LATEST, "k", "3")
    };
    relay.write(write).expect("nothing is read");
    relay.log.unreadable = false;
    assert_eq!(relay.record(LATEST, "k").context, seen(&[theirs]));
}

#[test]
fn a_context_outlives_a_restart_and_names_the_former_run() {
    let mut relay = relay();
    let theirs = version("b", 5);
    deliver(&mut relay, "b", live(LATEST, "k", theirs, "1"), &[theirs]);
    relay.now = ms(10);
    let former = relay.put(LATEST, "k", "2");
    let mut relay = relay.restarted(RunId(77));
    relay.log.unreadable = true;
    relay.now = ms(20);
    for value in ["3", "4"] {
        let write = landbridge_protocol::frame::node::Write {
            return_previous: false,
            ..relay.write_of(landbridge_protocol::frame::node::Operation::Put, LATEST, "k", value)
        };
        relay.write(write).expect("nothing is read");
    }
    relay.log.unreadable = false;
    assert_eq!(relay.record(LATEST, "k").context, seen(&[theirs, former]));
}

#[test]
fn a_write_that_comes_without_those_between_is_no_conflict() {
    let mut relay = relay();
    let mine = relay.put(LATEST, "k", "a1");
    deliver(&mut relay, "b", over(live(LATEST, "k", version("b", 5), "b2"), &[mine]), &[]);
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("b2"));
    // By way of a third site, and late: what b2 was written over.
    deliver(&mut relay, "c", over(live(LATEST, "k", version("b", 4), "b1"), &[mine]), &[]);
    let between = version("c", 3);
    deliver(&mut relay, "b", over(live(LATEST, "k", version("b", 9), "b3"), &[mine, between]), &[]);
    deliver(&mut relay, "c", over(live(LATEST, "k", between, "c1"), &[mine]), &[]);
    assert_eq!(told(&relay), []);
}

#[test]
fn concurrent_writes_are_a_conflict_whichever_comes_first_and_however_often() {
    let mut relay = relay();
    let mine = relay.put(LATEST, "k", "a1");
    let (later, earlier) = (version("b", 5), Version { clock: Clock::from_bits(1), origin: origin("c") });
    deliver(&mut relay, "c", live(LATEST, "k", earlier, "c1"), &[earlier]);
    deliver(&mut relay, "b", live(LATEST, "k", later, "b1"), &[later]);
    let expected = [(Because::Later, Some(mine), earlier), (Because::Later, Some(later), mine)];
    assert_eq!(told(&relay), expected);
    deliver(&mut relay, "b", live(LATEST, "k", later, "b1"), &[later]);
    deliver(&mut relay, "b", live(LATEST, "k", earlier, "c1"), &[]);
    assert_eq!(told(&relay), expected, "what is covered has met already");
    let counts: Vec<_> = relay.replica.conflicts.iter().map(|((_, peer), count)| (*peer, *count)).collect();
    assert_eq!(counts, [(site("b"), 1), (site("c"), 1)]);
    let kept = &relay.conflicts[1];
    assert_eq!((kept.loser.value.as_ref(), kept.peer), (&b"a1"[..], site("b")));
}

#[test]
fn a_removal_conflicts_with_a_write_and_agrees_with_a_removal() {
    let mut relay = relay();
    let mine = relay.remove(LATEST, "agreed");
    deliver(&mut relay, "b", removed(LATEST, "agreed", version("b", 5), version("b", 5)), &[]);
    let undone = relay.remove(LATEST, "undone");
    deliver(&mut relay, "b", live(LATEST, "undone", version("b", 6), "v"), &[]);
    assert_eq!(told(&relay), [(Because::Later, Some(version("b", 6)), undone)], "not {mine}");
    relay.conflicts.clear();
    let born = relay.put(WINS, "session", "v");
    relay.now = ms(20);
    let refreshed = relay.put(WINS, "session", "v");
    let logout = over(removed(WINS, "session", version("b", 10), born), &[born]);
    deliver(&mut relay, "b", logout, &[]);
    assert_eq!(told(&relay), [(Because::Removed, Some(version("b", 10)), refreshed)]);
    relay.conflicts.clear();
    let anew = version("c", 30);
    let unaware = over(live(WINS, "session", anew, "login"), &[born]);
    deliver(&mut relay, "c", unaware, &[]);
    assert_eq!(told(&relay), [(Because::LaterLife, Some(anew), version("b", 10))]);
}

#[test]
fn what_has_expired_loses_nothing_and_its_mark_knows_what_the_entry_did() {
    let mut relay = relay();
    relay.put_for(LATEST, "k", Millis::new(5));
    relay.now = ms(10);
    deliver(&mut relay, "b", live(LATEST, "k", version("b", 9), "b1"), &[]);
    assert_eq!(told(&relay), [], "it was over");
    relay.put_for(LATEST, "k", Millis::new(5));
    relay.now = ms(20);
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "k"), Some(Kind::Mark));
    assert_eq!(relay.record(LATEST, "k").context, seen(&[version("b", 9)]));
    deliver(&mut relay, "b", live(LATEST, "k", version("b", 9), "b1"), &[]);
    assert_eq!(told(&relay), [], "the entry had seen it");
    let unseen = version("c", 8);
    deliver(&mut relay, "c", live(LATEST, "k", unseen, "c1"), &[]);
    assert_eq!(told(&relay).len(), 1, "a write that lost to one that has expired since");
}

#[test]
fn a_clear_conflicts_with_what_it_ends_unseen() {
    for name in [LATEST, WINS] {
        let mut relay = relay();
        let (known, unseen, late) = (version("b", 2), version("c", 1), version("c", 3));
        deliver(&mut relay, "b", live(name, "known", known, "v"), &[]);
        deliver(&mut relay, "c", live(name, "unseen", unseen, "v"), &[]);
        let floor = version("b", 50);
        let clear = over(cleared(name, floor), &[known]);
        deliver(&mut relay, "b", clear, &[]);
        assert_eq!(told(&relay), [(Because::Cleared, Some(floor), unseen)], "{name}");
        deliver(&mut relay, "c", live(name, "late", late, "v"), &[]);
        deliver(&mut relay, "c", removed(name, "late", late, late), &[]);
        assert_eq!(told(&relay).len(), 2, "{name}: and what comes after it, but no removal");
        assert_eq!((relay.get(name, "unseen"), relay.get(name, "late")), (None, None));
    }
    let mut relay = relay();
    let theirs = version("b", 2);
    deliver(&mut relay, "b", live(LATEST, "k", theirs, "v"), &[]);
    relay.now = ms(9);
    relay.clear(LATEST);
    assert!(relay.log.commits.last().is_some_and(|c| format!("{c:?}").contains("Clear")));
    deliver(&mut relay, "b", live(LATEST, "k", theirs, "v"), &[]);
    assert_eq!(told(&relay), [], "the clear had seen what was held beyond V");
}

#[test]
fn a_reconcile_that_ends_an_unseen_refresh_tells_of_it() {
    let (mut relay, _) = with_dropped(WINS);
    let born = version("b", 1);
    relay.apply("b", vec![live(WINS, "session", born, "v")], &[]).expect("taken");
    let refreshed = relay.put(WINS, "session", "refreshed");
    let dropped = version("b", 5_000);
    relay.reconcile_begin("b", seen(&[born, dropped]), seen(&[dropped])).expect("begun");
    relay.reconcile_chunk("b", None, None, Vec::new()).expect("taken");
    assert_eq!(relay.slot(WINS, "session"), None);
    assert_eq!(told(&relay), [(Because::Dropped, None, refreshed)]);
}

#[test]
fn a_full_context_misses_rather_than_makes_up() {
    let of = |n: u64| Version { clock: Clock::from_bits(100 + n), origin: Origin { site: site("b"), run: RunId(n) } };
    let mut relay = relay();
    let versions: Vec<Version> = (0..=MAX_CONTEXT as u64).map(of).collect();
    for at in 0..versions.len() {
        let record = over(live(LATEST, "k", versions[at], "v"), &versions[at.saturating_sub(MAX_CONTEXT)..at]);
        deliver(&mut relay, "b", record, &[]);
    }
    relay.now = ms(10);
    let mine = relay.put(LATEST, "k", "mine");
    let context = relay.record(LATEST, "k").context;
    assert_eq!(context, seen(&versions[1..]), "the eight newest of nine");
    assert!(saw(&context, &mine, &versions[0]), "an older one counts as seen");
    let unseen = Version { clock: Clock::from_bits(105), origin: origin("c") };
    assert!(!saw(&context, &mine, &unseen));
    assert_eq!(told(&relay), []);
}
