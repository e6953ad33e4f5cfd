//! Tombstones: kept until every site has said, in its own stream, that it has seen them.

use landbridge_protocol::{position::Sequence, record::Kind, time::Millis, vector::Vector};

use super::bed::*;
use crate::engine::command::Command;

/// Site `a` with these peers, and a tombstone.
fn removed_at(peers: &[&str]) -> (Relay, landbridge_protocol::version::Version) {
    let mut relay = Relay::serving(peers);
    let version = relay.remove(LATEST, "k");
    (relay, version)
}

#[test]
fn only_what_every_peers_own_stream_covers_is_dropped() {
    let (relay, version) = removed_at(&["b", "c"]);
    let cases: [(&[&str], &[&str], bool); 4] = [
        (&[], &[], false),
        (&["b"], &[], false),
        (&["b"], &["c"], false), // c's V is known from this relay's own link only
        (&["b", "c"], &[], true),
    ];
    for (streams, out_of_band, dropped) in cases {
        let mut relay = relay.clone();
        relay.now = ms(20_000);
        for peer in streams {
            relay.meet(peer, seen(&[version]));
        }
        for peer in out_of_band {
            let peer = Box::new(relay.introduction_of(peer, seen(&[version])));
            relay.step(Command::Introduced { peer, incoming: false }).expect("good");
        }
        relay.housekeep();
        assert_eq!(relay.slot(LATEST, "k").is_none(), dropped, "{streams:?} {out_of_band:?}");
        assert_eq!(relay.replica.dropped() == &seen(&[version]), dropped);
    }
}

#[test]
fn a_batchs_vector_counts_like_the_handshake() {
    let (mut relay, version) = removed_at(&["b"]);
    relay.meet("b", Vector::new());
    relay.now = ms(20_000);
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "k"), Some(Kind::Tombstone));
    relay.apply("b", vec![], &[version]).expect("fits");
    relay.housekeep();
    assert_eq!(relay.slot(LATEST, "k"), None);
}

#[test]
fn a_wiped_peer_holds_tombstones_back_again() {
    let (mut relay, version) = removed_at(&["b"]);
    relay.meet("b", seen(&[version]));
    let mut wiped = relay.introduction_of("b", Vector::new());
    wiped.run = landbridge_protocol::version::RunId(99);
    relay.step(Command::Introduced { peer: Box::new(wiped), incoming: false }).expect("good");
    relay.now = ms(20_000);
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "k"), Some(Kind::Tombstone));
}

#[test]
fn a_tombstone_is_kept_for_its_least_age() {
    let (mut relay, version) = removed_at(&["b"]);
    relay.meet("b", seen(&[version]));
    relay.now = ms(9_999);
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "k"), Some(Kind::Tombstone));
    assert!(relay.replica.next_due() <= Some(ms(10_000).after(Millis::from_secs(10))));
    relay.now = ms(10_000);
    relay.housekeep();
    assert_eq!(relay.slot(LATEST, "k"), None);
    assert_eq!(relay.log.commits.last().expect("one").header.dropped, seen(&[version]), "G is durable");
}

#[test]
fn a_foreign_tombstone_waits_for_own_v() {
    let mut relay = Relay::serving(&["b"]);
    let at = version("b", 1);
    relay.meet("b", seen(&[at]));
    let mut batch = relay.batch_of("b", vec![removed(LATEST, "k", at, at)], &[]);
    batch.vector = Vector::new();
    relay.step(apply("b", batch)).expect("fits");
    relay.now = ms(20_000);
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "k"), Some(Kind::Tombstone));
    relay.apply("b", vec![], &[at]).expect("fits");
    relay.housekeep();
    assert_eq!(relay.slot(LATEST, "k"), None);
}

#[test]
fn a_local_tombstone_waits_for_nobody_and_is_no_matter_of_g() {
    let mut relay = Relay::serving(&["b"]);
    relay.remove(LOCAL, "k");
    relay.now = ms(10_000);
    relay.housekeep();
    assert_eq!(relay.slot(LOCAL, "k"), None);
    assert!(relay.replica.dropped().is_empty());
}

#[test]
fn without_peers_tombstones_go_by_age() {
    let (mut relay, version) = removed_at(&[]);
    relay.now = ms(10_000);
    relay.housekeep();
    assert_eq!((relay.slot(LATEST, "k"), relay.replica.dropped()), (None, &seen(&[version])));
}

#[test]
fn one_that_was_superseded_in_the_group_is_not_dropped_for_it() {
    let (mut relay, version) = removed_at(&["b"]);
    relay.meet("b", seen(&[version]));
    relay.now = ms(20_000);
    let put = command(relay.write_of(landbridge_protocol::frame::node::Operation::Put, LATEST, "k", "2"));
    relay.steps([put, Command::Housekeep]);
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("2"));
    assert!(relay.replica.dropped().is_empty());
}

#[test]
fn an_idle_relay_writes_nothing() {
    let (mut relay, version) = removed_at(&["b"]);
    relay.meet("b", Vector::new());
    let (head, commits) = (relay.replica.head(), relay.log.commits.len());
    for at in 0..10 {
        relay.now = ms(20_000 + at * 1_000);
        relay.heard("b", relay.now);
        relay.housekeep();
    }
    assert_eq!((relay.replica.head(), relay.log.commits.len()), (head, commits));
    assert!(relay.slot(LATEST, "k").is_some_and(|slot| slot.version == version));
}

#[test]
fn a_record_stands_for_what_it_superseded_and_a_peer_may_lack() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay.put(LATEST, "k", "1");
    let first = relay.slot(LATEST, "k").expect("held").sequence;
    relay.put(LATEST, "k", "2");
    assert_eq!(relay.slot(LATEST, "k").expect("held").stands_from, first);
    let second = relay.slot(LATEST, "k").expect("held").sequence;
    let ack = |at: Sequence| Command::Acknowledged {
        peer: site("b"),
        run: run("b"),
        through: landbridge_protocol::position::Through { direct: at, complete: at },
    };
    relay.step(ack(first)).expect("present");
    relay.put(LATEST, "k", "3");
    assert_eq!(relay.slot(LATEST, "k").expect("held").stands_from, first, "the second is on its way");
    let third = relay.slot(LATEST, "k").expect("held").sequence;
    assert!(third > second);
    relay.step(ack(third)).expect("present");
    relay.clear(LATEST);
    let clear = relay.replica.clear_of(&cache(LATEST)).expect("held");
    assert_eq!(clear.stands_from, clear.sequence);
    relay.now = relay.now.after(Millis::new(1));
}

#[test]
fn tombstones_that_an_absent_peer_keeps_are_not_looked_through_whenever_another_says_something() {
    let mut relay = Relay::serving(&["b", "c"]);
    let versions: Vec<_> = (0..1_000).map(|number| relay.remove(LATEST, &format!("k{number}"))).collect();
    relay.meet("b", seen(&versions));
    let rested = |relay: &Relay| relay.replica.next_due().is_some_and(|due| due > relay.now);
    relay.now = ms(20_000);
    relay.heard("b", relay.now);
    relay.housekeep();
    assert!(rested(&relay));
    relay.heard("b", relay.now);
    assert!(rested(&relay), "it has just looked through them");
    relay.now = ms(20_010);
    assert!(!rested(&relay));
    // What was looked through by a clock that has been set back since keeps nothing.
    relay.housekeep();
    relay.now = ms(1_000);
    relay.heard("b", relay.now);
    assert!(!rested(&relay));
    relay.now = ms(20_020);
    relay.meet("c", seen(&versions));
    relay.housekeep();
    assert_eq!(relay.slot(LATEST, "k7"), None);
}
