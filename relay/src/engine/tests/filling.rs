//! Whether a store may serve, and whether that is remembered.

use landbridge_protocol::{
    error::ErrorCode,
    frame::{
        node::Operation,
        peer::{Batch, Introduction},
    },
    vector::Vector,
    version::{Clock, Origin, RunId, Version},
};

use super::bed::*;
use crate::engine::command::Command;

fn fresh(peers: &[&str]) -> Relay {
    Relay::fresh(config("a", peers))
}

#[test]
fn without_peers_it_serves_at_once() {
    let mut relay = fresh(&[]);
    assert!(relay.replica.ready(START));
    relay.put(LATEST, "k", "1");
}

#[test]
fn a_store_that_reaches_nobody_waits_and_then_serves_for_good() {
    let mut relay = fresh(&["b"]);
    let write = relay.write_of(Operation::Put, LATEST, "k", "1");
    assert_eq!(code(relay.write(write)), ErrorCode::NotReady);
    assert_eq!(
        code({
            let clear = relay.clear_command(LATEST);
            relay.step(clear)
        }),
        ErrorCode::NotReady
    );
    relay.now = ms(29_999);
    assert!(!relay.replica.ready(relay.now));
    assert_eq!(relay.replica.next_due(), Some(ms(30_000)));
    relay.now = ms(30_000);
    assert!(relay.replica.ready(relay.now));
    // A peer that comes only now changes nothing, whether or not anybody has housekept since.
    for housekept in [false, true] {
        let mut relay = relay.clone();
        if housekept {
            relay.housekeep();
            assert!(relay.log.commits.last().expect("one").header.filled);
            assert_eq!(relay.replica.next_due(), None);
        }
        relay.meet("b", seen(&[version("b", 1)]));
        assert!(relay.replica.ready(relay.now));
        assert!(relay.restarted(run("z")).replica.ready(relay.now), "at once");
    }
}

#[test]
fn a_fill_once_begun_has_no_deadline() {
    let mut relay = fresh(&["b"]);
    relay.meet("b", seen(&[version("b", 1)]));
    relay.now = ms(1_000_000);
    relay.housekeep();
    assert!(!relay.replica.ready(relay.now));
    let part = relay.batch_of("b", vec![live(LATEST, "k", version("b", 1), "1")], &[]);
    let part = Batch { caught_up: false, vector: Vector::new(), ..part };
    relay.step(apply("b", part)).expect("fits");
    assert!(!relay.replica.ready(relay.now));
    relay.lose("b");
    assert!(!relay.replica.ready(relay.now));
}

#[test]
fn filled_from_one_peer_it_waits_for_the_others_at_first_and_serves_also_after_a_restart() {
    let mut relay = fresh(&["b", "c"]);
    relay.meet("b", seen(&[version("b", 1)]));
    relay.apply("b", vec![live(LATEST, "k", version("b", 1), "1")], &[]).expect("fits");
    assert_eq!((relay.replica.ready(relay.now), relay.replica.awaited(relay.now)), (false, vec![site("c")]));
    relay.now = ms(30_000);
    relay.housekeep();
    assert!(relay.replica.ready(relay.now));
    assert!(relay.restarted(run("z")).replica.ready(relay.now), "though it has only received");
}

#[test]
fn an_empty_peer_fills_too() {
    let mut relay = fresh(&["b"]);
    relay.meet("b", Vector::new());
    assert!(!relay.replica.ready(relay.now), "a peer that serves has yet to say that this is all");
    relay.apply("b", vec![], &[]).expect("fits");
    assert!(relay.replica.ready(relay.now));
    assert!(relay.restarted(run("z")).replica.ready(relay.now));
}

#[test]
fn two_fresh_ones_fill_each_other_at_once() {
    let mut relay = fresh(&["b"]);
    relay.meet_as(Introduction { filling: true, ..relay.introduction_of("b", Vector::new()) });
    assert!(relay.replica.ready(relay.now));
    assert!(relay.restarted(run("z")).replica.ready(relay.now));
    let mut relay = fresh(&["b"]);
    relay.meet_as(Introduction { filling: true, ..relay.introduction_of("b", seen(&[version("b", 1)])) });
    assert!(!relay.replica.ready(relay.now), "one that is being filled itself is not empty");
}

#[test]
fn a_wiped_store_waits_for_every_peer_that_may_have_dropped_something() {
    let former = Version { clock: Clock::at(START), origin: Origin { site: site("a"), run: RunId(5) } };
    let mut relay = fresh(&["b", "c"]);
    relay.meet("b", seen(&[former]));
    relay.apply("b", vec![], &[former]).expect("fits");
    assert_eq!((relay.replica.ready(relay.now), relay.replica.awaited(relay.now)), (false, vec![site("c")]));
    relay.meet("c", seen(&[former]));
    assert!(relay.replica.ready(relay.now), "it has dropped nothing");
    assert!(relay.restarted(run("z")).replica.ready(relay.now));
}

#[test]
fn what_a_peer_has_dropped_is_awaited() {
    let gone = version("c", 3);
    let mut relay = fresh(&["b", "c"]);
    relay.meet_as(Introduction { dropped: seen(&[gone]), ..relay.introduction_of("c", seen(&[gone])) });
    relay.meet("b", Vector::new());
    relay.apply("b", vec![], &[]).expect("fits");
    assert_eq!((relay.replica.ready(relay.now), relay.replica.awaited(relay.now)), (false, vec![site("c")]));
    relay.reconcile_begin("c", seen(&[gone]), seen(&[gone])).expect("needed");
    relay.reconcile_chunk("c", None, None, vec![]).expect("the whole of it");
    assert!(relay.replica.ready(relay.now));
    assert!(relay.log.commits.last().expect("one").header.filled);
}

#[test]
fn not_ready_is_refused_before_anything_is_written() {
    let mut relay = fresh(&["b"]);
    let write = command(relay.write_of(Operation::Put, LATEST, "k", "1"));
    relay.steps([write, Command::Housekeep]);
    assert!(relay.log.commits.is_empty());
}
