//! Ended runs: V is raised to what is held of them when no site can have more of them for this one.

use landbridge_protocol::{
    frame::peer::{Batch, Introduction},
    vector::Vector,
    version::{Origin, RunId, Version},
};

use super::bed::*;
use crate::engine::command::Command;

const NEXT: RunId = RunId(99);

/// A record of `b`'s first run that came without a claim, and `b` in its next run.
fn ended(peers: &[&str]) -> (Relay, Version) {
    let mut relay = Relay::serving(peers);
    relay.meet("b", Vector::new());
    let last = version("b", 5);
    let mut batch = relay.batch_of("b", vec![live(LATEST, "k", last, "1")], &[]);
    batch.vector = Vector::new();
    relay.step(apply("b", batch)).expect("fits");
    relay.meet_as(Introduction {
        run: NEXT,
        runs: vec![Origin { site: site("b"), run: NEXT }],
        ..relay.introduction_of("b", Vector::new())
    });
    (relay, last)
}

/// `peer`'s next batch: it has nothing unsent, and knows these runs.
fn caught_up(relay: &mut Relay, peer: &str, run: RunId, runs: Vec<Origin>) {
    let batch = Batch { runs, ..relay.batch_of(peer, vec![], &[]) };
    relay.step(Command::Apply { peer: site(peer), run, batch: Box::new(batch) }).expect("fits");
    relay.housekeep();
}

#[test]
fn a_run_is_closed_when_every_site_that_knows_of_its_end_has_nothing_unsent() {
    let (mut relay, last) = ended(&["b", "c"]);
    relay.housekeep();
    assert!(!relay.replica.seen().covers(&last));
    caught_up(&mut relay, "b", NEXT, vec![]);
    assert!(!relay.replica.seen().covers(&last), "c may have more of it");
    relay.meet("c", Vector::new());
    caught_up(&mut relay, "c", run("c"), vec![]);
    assert!(!relay.replica.seen().covers(&last), "c does not know that the run has ended");
    caught_up(&mut relay, "c", run("c"), vec![Origin { site: site("b"), run: NEXT }]);
    assert!(relay.replica.seen().covers(&last));
    assert!(relay.restarted(run("z")).replica.seen().covers(&last), "durably");
}

#[test]
fn the_present_run_is_not_closed() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    let at = version("b", 5);
    let mut batch = relay.batch_of("b", vec![live(LATEST, "k", at, "1")], &[]);
    batch.vector = Vector::new();
    relay.step(apply("b", batch)).expect("fits");
    relay.housekeep();
    assert!(!relay.replica.seen().covers(&at));
}

#[test]
fn what_comes_in_the_same_group_is_closed_with_the_rest() {
    let (mut relay, last) = ended(&["b"]);
    let later = Version { clock: last.clock.next(ms(7)).expect("a clock"), ..last };
    let mut batch = relay.batch_of("b", vec![live(LATEST, "k", later, "2")], &[]);
    batch.vector = Vector::new();
    let applied = Command::Apply { peer: site("b"), run: NEXT, batch: Box::new(batch) };
    relay.steps([applied, Command::Housekeep]);
    assert!(relay.replica.seen().covers(&later));
}

#[test]
fn a_lost_stream_must_catch_up_anew() {
    let (mut relay, last) = ended(&["b", "c"]);
    relay.meet("c", Vector::new());
    caught_up(&mut relay, "c", run("c"), vec![Origin { site: site("b"), run: NEXT }]);
    relay.lose("c");
    caught_up(&mut relay, "b", NEXT, vec![]);
    assert!(!relay.replica.seen().covers(&last));
}

#[test]
fn own_former_runs_are_closed_too() {
    let mut relay = Relay::serving(&["b"]);
    let lost = Version { origin: Origin { site: site("a"), run: RunId(5) }, ..version("a", 3) };
    relay.meet("b", Vector::new());
    let mut batch = relay.batch_of("b", vec![live(LATEST, "k", lost, "of a lost tail")], &[]);
    batch.vector = Vector::new();
    batch.runs = vec![relay.replica.origin()];
    relay.step(apply("b", batch)).expect("it comes back like any foreign record");
    relay.housekeep();
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("of a lost tail"));
    assert!(relay.replica.seen().covers(&lost));
}
