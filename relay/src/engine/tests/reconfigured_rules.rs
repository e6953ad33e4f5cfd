//! What another configuration keeps and what it resets: each rule by itself.

use landbridge_protocol::{
    error::ErrorCode,
    frame::peer::Introduction,
    record::{Kind, Merge},
    time::Millis,
    vector::Vector,
    version::{RunId, Version},
};

use super::bed::*;
use crate::engine::{
    command::{Command, Decided},
    index::MAX_CACHES,
    replica::{CacheConfig, ReplicaConfig, Replicate},
};

fn reconfigure(relay: &mut Relay, change: impl FnOnce(&mut ReplicaConfig)) -> Decided {
    let mut config = relay.replica.config().clone();
    change(&mut config);
    relay.step(Command::Reconfigure(Box::new(config)))
}

fn without_c(config: &mut ReplicaConfig) {
    config.peers.retain(|peer| *peer != site("c"));
    config.former_sites.insert(site("c"));
}

fn with_c(config: &mut ReplicaConfig) {
    config.peers.push(site("c"));
    config.former_sites.clear();
}

fn replicate(relay: &mut Relay, replicate: Replicate) {
    reconfigure(relay, |config| config.caches.get_mut(&cache(LATEST)).expect("declared").replicate = replicate)
        .expect("taken over");
}

/// Declares a cache more: what handshakes tell is something else.
fn declare(relay: &mut Relay) {
    let new = CacheConfig { merge: Merge::Latest, replicate: Replicate::Async, lifespan: None, max_entry_bytes: 64 };
    reconfigure(relay, |config| config.caches.extend([(cache("new"), new)])).expect("taken over");
}

#[test]
fn a_site_is_no_stranger_for_what_is_held_claimed_or_dropped_of_it() {
    let of_c = version("c", 1);
    let wrote: fn(&mut Relay) = |relay| {
        let mut batch = relay.batch_of("c", vec![live(LATEST, "k", version("c", 1), "1")], &[]);
        batch.vector = Vector::new();
        relay.step(apply("c", batch)).expect("a batch");
    };
    let claimed: fn(&mut Relay) = |relay| drop(relay.apply("b", vec![], &[version("c", 1)]).expect("a batch"));
    let dropped: fn(&mut Relay) = |relay| relay.replica.core.dropped = seen(&[version("c", 1)]);
    for (why, has) in [("held", wrote), ("claimed", claimed), ("dropped", dropped)] {
        let mut relay = Relay::serving(&["b", "c"]);
        relay.meet("b", Vector::new());
        relay.meet("c", Vector::new());
        let forget = |relay: &mut Relay| reconfigure(relay, |config| config.peers.retain(|peer| *peer != site("c")));
        let mut nothing = relay.clone();
        forget(&mut nothing).expect("nothing is of c");
        has(&mut relay);
        assert!(why != "held" || !relay.replica.seen().covers(&of_c));
        assert_eq!(code(forget(&mut relay)), ErrorCode::BadArgument, "{why}");
    }
}

#[test]
fn more_caches_than_a_relay_can_have_are_refused() {
    let mut relay = Relay::serving(&["b"]);
    let many = |relay: &mut Relay, count: usize| {
        reconfigure(relay, |config| {
            let one = config.caches[&cache(LATEST)].clone();
            config
                .caches
                .extend((config.caches.len()..count).map(|number| (cache(&format!("n{number}")), one.clone())));
        })
    };
    let refused = many(&mut relay, MAX_CACHES + 1).expect_err("too many");
    assert!(refused.message.contains("there may be 1024"), "{refused}");
    many(&mut relay, MAX_CACHES).expect("as many as there may be");
}

#[test]
fn links_begin_anew_for_whatever_a_handshake_tells() {
    let changes: [fn(&mut ReplicaConfig); 4] = [
        |config| config.former_sites.extend([site("z")]),
        |config| config.peers.push(site("d")),
        |config| config.caches.get_mut(&cache(LATEST)).expect("declared").merge = Merge::RemoveWins,
        |config| config.caches.get_mut(&cache(LATEST)).expect("declared").replicate = Replicate::Local,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut relay = Relay::serving(&["b"]);
        reconfigure(&mut relay, change).expect("taken over");
        assert_eq!(relay.replica.generation(), 1, "change {number}");
    }
}

#[test]
fn tombstones_are_looked_at_again_at_once() {
    let mut relay = Relay::serving(&["b"]);
    let removed = relay.remove(LATEST, "gone");
    relay.meet("b", seen(&[removed]));
    relay.now = ms(1_000);
    relay.heard("b", relay.now);
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "gone"), Some(Kind::Tombstone), "too young");
    reconfigure(&mut relay, |config| config.tombstone_min_age = Millis::ZERO).expect("taken over");
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "gone"), None);
}

#[test]
fn a_round_of_asking_ends_with_the_sites_of_which_it_was() {
    let mut relay = Relay::serving_with(ReplicaConfig { max_tombstones: 1, ..config("a", &["b", "c"]) });
    let versions: Vec<Version> = (0..3).map(|number| relay.remove(LATEST, &format!("k{number}"))).collect();
    relay.meet("b", seen(&versions));
    relay.now = ms(1);
    relay.housekeep();
    assert!(relay.replica.proposal(&site("b")).is_some(), "c is isolated");
    reconfigure(&mut relay, without_c).expect("taken over");
    assert_eq!(relay.replica.proposal(&site("b")), None);
}

/// `b` says that it knows `c` to be decommissioned, and that it has nothing unsent.
fn knows(relay: &mut Relay) {
    relay.meet_as(Introduction { former_sites: vec![site("c")], ..relay.introduction_of("b", Vector::new()) });
    relay.apply("b", vec![], &[]).expect("a batch");
}

/// A write of `c` comes from there, which no vector claims.
fn unclaimed(relay: &mut Relay, last: Version) {
    relay.meet("c", Vector::new());
    let mut batch = relay.batch_of("c", vec![live(LATEST, "k", last, "1")], &[]);
    batch.vector = Vector::new();
    relay.step(apply("c", batch)).expect("a batch");
}

#[test]
fn a_run_that_was_closed_when_its_site_left_is_closed_again_when_it_leaves_again() {
    let mut relay = Relay::serving(&["b", "c"]);
    for last in [version("c", 5), version("c", 9)] {
        unclaimed(&mut relay, last);
        reconfigure(&mut relay, without_c).expect("taken over");
        knows(&mut relay);
        relay.housekeep();
        assert!(relay.replica.seen().covers(&last));
        reconfigure(&mut relay, with_c).expect("taken over");
    }
}

#[test]
fn what_a_peer_had_unsent_by_the_former_configuration_closes_nothing() {
    let mut relay = Relay::serving(&["b", "c"]);
    let last = version("c", 5);
    unclaimed(&mut relay, last);
    knows(&mut relay);
    reconfigure(&mut relay, without_c).expect("taken over");
    relay.housekeep();
    assert!(!relay.replica.seen().covers(&last), "b was caught up by what this relay was configured with then");
    knows(&mut relay);
    relay.housekeep();
    assert!(relay.replica.seen().covers(&last));
}

#[test]
fn until_a_peer_says_anew_how_far_it_is_what_replaces_a_record_stands_from_where_that_did() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay.put(LATEST, "k", "1");
    let first = relay.slot(LATEST, "k").expect("held").sequence;
    let head = relay.replica.head().get();
    let all = Command::Acknowledged { peer: site("b"), run: run("b"), through: through(head, head) };
    relay.step(all).expect("met");
    let mut kept = relay.clone();
    kept.put(LATEST, "k", "2");
    assert!(kept.slot(LATEST, "k").expect("held").stands_from > first, "b has passed the first");
    declare(&mut relay);
    relay.put(LATEST, "k", "2");
    assert_eq!(relay.slot(LATEST, "k").expect("held").stands_from, first);
}

#[test]
fn what_is_lacked_of_a_site_that_is_gone_is_lacked_no_more() {
    let mut relay = Relay::serving(&["b", "c"]);
    relay.meet("b", Vector::new());
    relay.meet("c", Vector::new());
    relay.replica.core.cursors.get_mut(&site("c")).expect("met").lacks.insert(cache(LATEST));
    let lacks = |relay: &Relay| relay.replica.published().lacks.contains(&(site("c"), cache(LATEST)));
    assert!(lacks(&relay));
    reconfigure(&mut relay, without_c).expect("taken over");
    assert!(!lacks(&relay), "nobody will ever bring it");
}

#[test]
fn what_others_claimed_of_a_peers_log_while_the_cache_stayed_here_is_lacked_of_that_peer() {
    let mut relay = Relay::serving(&["b", "c"]);
    relay.meet("b", Vector::new());
    relay.meet("c", Vector::new());
    relay.apply("b", vec![], &[]).expect("a batch");
    replicate(&mut relay, Replicate::Local);
    replicate(&mut relay, Replicate::Async);
    let lacked = |relay: &Relay| relay.replica.core.cursors[&site("b")].lacks.contains(&cache(LATEST));
    assert!(lacked(&relay), "though no word came of b meanwhile");
    assert!(lacked(&relay.restarted(run("z"))), "it is durable");
    assert_eq!(relay.replica.core.cursors[&site("b")].digest, 0, "nor is a cursor of before gone on from");
}

#[test]
fn who_has_no_peer_any_more_is_filled_and_serves_whoever_comes_later() {
    let mut relay = Relay::fresh(config("a", &["c"]));
    assert!(!relay.replica.ready(relay.now));
    reconfigure(&mut relay, without_c).expect("taken over");
    relay.put(LATEST, "k", "v");
    reconfigure(&mut relay, with_c).expect("taken over");
    assert!(relay.replica.ready(relay.now), "it takes writes already");
    assert!(relay.restarted(RunId(99)).replica.ready(relay.now));
}

#[test]
fn a_reconcile_that_is_under_way_ends_with_the_configuration_that_it_was_begun_by() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay.reconcile_begin("b", Vector::new(), seen(&[version("b", 5)])).expect("a reconcile begins");
    declare(&mut relay);
    let late = relay.reconcile_chunk("b", None, None, vec![]);
    assert_eq!(code(late), ErrorCode::HandshakeAnew);
    assert_eq!(relay.replica.report(&site("b")).expect("a peer").reconcile, None);
}
