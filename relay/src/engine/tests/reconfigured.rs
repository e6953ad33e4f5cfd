//! Another configuration between two groups.

use std::collections::BTreeSet;

use landbridge_protocol::{
    error::ErrorCode,
    frame::{node::Operation, peer::Introduction},
    record::{Kind, Merge},
    vector::Vector,
};

use super::bed::*;
use crate::engine::{
    command::{Command, Decided},
    replica::{CacheConfig, ReplicaConfig, Replicate},
};

fn reconfigure(relay: &mut Relay, change: impl FnOnce(&mut ReplicaConfig)) -> Decided {
    let mut config = relay.replica.config().clone();
    change(&mut config);
    relay.step(Command::Reconfigure(Box::new(config)))
}

fn added() -> CacheConfig {
    CacheConfig { merge: Merge::Latest, replicate: Replicate::Async, lifespan: None, max_entry_bytes: 64 }
}

fn declare(relay: &mut Relay, name: &str) -> Decided {
    reconfigure(relay, |config| config.caches.extend([(cache(name), added())]))
}

fn take_out(relay: &mut Relay, name: &str) -> Decided {
    reconfigure(relay, |config| config.caches.retain(|declared, _| *declared != cache(name)))
}

/// Site `c` is decommissioned.
fn without_c(config: &mut ReplicaConfig) {
    config.peers.retain(|peer| *peer != site("c"));
    config.former_sites.insert(site("c"));
}

#[test]
fn a_cache_is_served_from_the_group_after_it_was_added_until_the_one_in_which_it_goes() {
    let mut relay = Relay::serving(&["b"]);
    let put = relay.write_of(Operation::Put, "new", "k", "1");
    assert_eq!(code(relay.step(command(put.clone()))), ErrorCode::UnknownCache);
    declare(&mut relay, "new").unwrap();
    relay.step(command(put.clone())).unwrap();
    take_out(&mut relay, "new").unwrap();
    assert_eq!(code(relay.step(command(put))), ErrorCode::UnknownCache);
    assert_eq!(relay.get("new", "k").as_deref(), Some("1"), "what it has stays");
    declare(&mut relay, "new").unwrap();
    relay.put("new", "l", "2");
    let restarted = relay.restarted(run("z"));
    assert_eq!((restarted.get("new", "k").as_deref(), restarted.get("new", "l").as_deref()), (Some("1"), Some("2")));
}

#[test]
fn another_merge_is_taken_over_only_where_nothing_is_held_by_the_former() {
    let mut relay = Relay::serving(&["b"]);
    let merges = |relay: &mut Relay, merge| {
        reconfigure(relay, |config| config.caches.get_mut(&cache(LATEST)).unwrap().merge = merge)
    };
    merges(&mut relay, Merge::RemoveWins).unwrap();
    relay.put(LATEST, "k", "1");
    assert_eq!(relay.replica.caches().find(|(name, _)| **name == cache(LATEST)).unwrap().1, Merge::RemoveWins);
    let refused = merges(&mut relay, Merge::Latest).unwrap_err();
    assert!(refused.message.contains("`merge` is remove_wins for what is held"), "{refused}");
    assert_eq!(relay.replica.config().caches[&cache(LATEST)].merge, Merge::RemoveWins, "nothing has changed");
    // Nor by taking it away first.
    take_out(&mut relay, LATEST).unwrap();
    let again = declare(&mut relay, LATEST);
    assert_eq!(code(again), ErrorCode::BadArgument);
}

#[test]
fn numbers_alone_leave_the_streams_as_they_are_and_what_handshakes_tell_does_not() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    relay.apply("b", vec![live(LATEST, "k", version("b", 1), "1")], &[]).unwrap();
    let generation = relay.replica.generation();
    reconfigure(&mut relay, |config| config.max_tombstones = 7).unwrap();
    reconfigure(&mut relay, |config| config.caches.get_mut(&cache(LATEST)).unwrap().max_entry_bytes = 7).unwrap();
    assert_eq!(relay.replica.generation(), generation);
    relay.apply("b", vec![live(LATEST, "l", version("b", 2), "1")], &[]).unwrap();
    declare(&mut relay, "new").unwrap();
    assert_eq!(relay.replica.generation(), generation + 1);
    let former = relay.apply("b", vec![live(LATEST, "m", version("b", 3), "1")], &[]);
    assert_eq!(code(former), ErrorCode::HandshakeAnew);
    assert_eq!((relay.kind(LATEST, "l"), relay.kind(LATEST, "m")), (Some(Kind::Live), None));
    relay.meet("b", Vector::new());
    relay.apply("b", vec![live(LATEST, "m", version("b", 3), "1")], &[]).unwrap();
}

#[test]
fn what_was_sent_while_a_cache_stayed_here_is_asked_for_once_it_does_not() {
    let mut relay = Relay::serving(&["b"]);
    relay.meet("b", Vector::new());
    let replicate = |relay: &mut Relay, replicate| {
        reconfigure(relay, |config| config.caches.get_mut(&cache(LATEST)).unwrap().replicate = replicate).unwrap();
    };
    replicate(&mut relay, Replicate::Local);
    let theirs = relay.introduction_of("b", Vector::new());
    let latest =
        |config: &ReplicaConfig| crate::engine::replica::digest_of(&cache(LATEST), &config.caches[&cache(LATEST)]);
    let stays = latest(relay.replica.config());
    let caches = |of| [of].into_iter().collect::<Vec<_>>();
    replicate(&mut relay, Replicate::Async);
    let goes = latest(relay.replica.config());
    replicate(&mut relay, Replicate::Local);
    assert_ne!(stays, goes);
    // The peer's goes everywhere; what it sends meanwhile is not for here.
    relay.meet_as(Introduction { caches: caches(goes.clone()), ..theirs.clone() });
    relay.apply("b", vec![], &[version("b", 9)]).unwrap();
    replicate(&mut relay, Replicate::Async);
    relay.meet_as(Introduction {
        caches: caches(goes),
        head: landbridge_protocol::position::Sequence::new(50),
        ..theirs
    });
    assert_eq!(relay.replica.introduction(relay.now, "").lacks, [(site("b"), cache(LATEST))]);
    relay.apply("b", vec![live(LATEST, "k", version("b", 5), "1")], &[]).unwrap();
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("1"), "though V covers it");
}

#[test]
fn a_site_is_decommissioned_by_name_and_what_it_wrote_stays_and_is_passed_on() {
    let mut relay = Relay::serving(&["b", "c"]);
    relay.meet("b", Vector::new());
    relay.meet("c", Vector::new());
    relay.apply("c", vec![live(LATEST, "k", version("c", 1), "1")], &[]).unwrap();
    let refused = reconfigure(&mut relay, |config| config.peers.retain(|peer| *peer != site("c"))).unwrap_err();
    assert!(refused.message.contains("name it in `former_sites`"), "{refused}");
    reconfigure(&mut relay, without_c).unwrap();
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("1"));
    let hello = relay.introduction_of("c", Vector::new());
    assert_eq!(code(relay.step(Command::Introduced { peer: Box::new(hello), incoming: true })), ErrorCode::UnknownPeer);
    // What another site has of it is taken; a site that was never here is not.
    relay.meet("b", seen(&[version("c", 1)]));
    relay.apply("b", vec![live(LATEST, "l", version("c", 2), "1")], &[]).unwrap();
    let foreign = relay.apply("b", vec![live(LATEST, "m", version("d", 2), "1")], &[]);
    assert_eq!(code(foreign), ErrorCode::ForeignOrigin);
    let restarted = relay.restarted(run("z"));
    assert_eq!(restarted.get(LATEST, "l").as_deref(), Some("1"));
}

#[test]
fn tombstones_wait_for_a_new_site_and_not_for_a_decommissioned_one() {
    let mut relay = Relay::serving(&["b"]);
    let removed = relay.remove(LATEST, "gone");
    reconfigure(&mut relay, |config| config.peers.push(site("c"))).unwrap();
    relay.now = ms(20_000);
    let all_seen = |relay: &mut Relay, peer: &str| {
        relay.meet(peer, seen(&[removed]));
        relay.heard(peer, relay.now);
        relay.housekeep();
    };
    all_seen(&mut relay, "b");
    assert_eq!(relay.kind(LATEST, "gone"), Some(Kind::Tombstone), "c has not heard of it");
    reconfigure(&mut relay, without_c).unwrap();
    relay.housekeep();
    assert_eq!(relay.kind(LATEST, "gone"), Some(Kind::Tombstone), "b may lack something by the new configuration");
    all_seen(&mut relay, "b");
    assert_eq!(relay.kind(LATEST, "gone"), None);
    // Should it come back as it was, it is reconciled before anything is taken from it.
    reconfigure(&mut relay, |config| {
        config.peers.push(site("c"));
        config.former_sites.clear();
    })
    .unwrap();
    relay.meet("c", Vector::new());
    assert!(relay.replica.must_reconcile(&site("c")));
    let early = relay.apply("c", vec![live(LATEST, "gone", version("c", 1), "1")], &[]);
    assert_eq!(code(early), ErrorCode::ReconcileFirst);
}

#[test]
fn the_runs_of_a_decommissioned_site_are_closed_when_every_other_knows_and_has_nothing_unsent() {
    let mut relay = Relay::serving(&["b", "c"]);
    relay.meet("c", Vector::new());
    let last = version("c", 5);
    let mut batch = relay.batch_of("c", vec![live(LATEST, "k", last, "1")], &[]);
    batch.vector = Vector::new();
    relay.step(apply("c", batch)).unwrap();
    reconfigure(&mut relay, without_c).unwrap();
    relay.housekeep();
    assert!(!relay.replica.seen().covers(&last));
    let knows = |relay: &mut Relay, former_sites| {
        relay.meet_as(Introduction { former_sites, ..relay.introduction_of("b", Vector::new()) });
        relay.apply("b", vec![], &[]).unwrap();
        relay.housekeep();
    };
    knows(&mut relay, vec![]);
    assert!(!relay.replica.seen().covers(&last), "b may yet take something from it");
    knows(&mut relay, vec![site("c")]);
    assert!(relay.replica.seen().covers(&last));
}

#[test]
fn what_differs_is_said_in_words() {
    let mut relay = Relay::serving(&["b", "c"]);
    let mut theirs = relay.replica.config().clone();
    theirs.caches.get_mut(&cache(LATEST)).unwrap().merge = Merge::RemoveWins;
    theirs.caches.get_mut(&cache(LOCAL)).unwrap().replicate = Replicate::Async;
    theirs.caches.insert(cache("new"), added());
    theirs.caches.insert(cache("own"), CacheConfig { replicate: Replicate::Local, ..added() });
    theirs.caches.remove(&cache(WINS));
    let caches = theirs.caches.iter().map(|(name, cache)| crate::engine::replica::digest_of(name, cache)).collect();
    let hello = Introduction {
        caches,
        sites: vec![site("a"), site("b"), site("d")],
        former_sites: vec![site("c")],
        ..relay.introduction_of("b", Vector::new())
    };
    assert!(relay.replica.differences(&site("b")).is_empty(), "nothing is said yet");
    relay.meet_as(hello.clone());
    assert_eq!(
        relay.replica.differences(&site("b")),
        [
            "cache latest: merge is latest here, remove_wins at b; it does not replicate between the two",
            "cache local: replicate is local here, async at b; it does not replicate between the two",
            "cache new: configured at b, not here, where its entries are kept and none is served",
            "cache remove_wins: configured here, not at b, which keeps its entries and serves none",
            "site c: configured here, decommissioned at b",
            "site d: not configured here, configured at b",
        ]
    );
    let alike = relay.introduction_of("b", Vector::new());
    let sites: BTreeSet<_> = relay.replica.config().sites().collect();
    relay.meet_as(Introduction { sites: sites.into_iter().collect(), ..alike.clone() });
    assert!(relay.replica.differences(&site("b")).is_empty());
    relay.meet_as(Introduction { sites: vec![], ..alike });
    assert!(relay.replica.differences(&site("b")).is_empty(), "an older relay says nothing of sites");
    let many = Introduction { former_sites: vec![site("c"); 65], ..hello };
    assert_eq!(
        code(relay.step(Command::Introduced { peer: Box::new(many), incoming: true })),
        ErrorCode::ConfigMismatch
    );
}
