//! Batches from peers: what fits, what is merged, what is refused whole.

use bytes::Bytes;
use landbridge_protocol::{
    error::ErrorCode,
    frame::{
        MAX_ENTRY_BYTES,
        peer::{Batch, CacheDigest, Introduction},
    },
    record::{Kind, Merge, Record},
    vector::Vector,
    version::{Origin, RunId, Version},
};

use super::bed::*;
use crate::engine::{
    command::{Answer, Command},
    replica::{CacheConfig, Replicate, digest_of},
};

fn met() -> Relay {
    let mut relay = Relay::serving(&["b", "c"]);
    relay.meet("b", Vector::new());
    relay
}

#[test]
fn a_batch_that_fits_is_committed_with_its_cursor_and_vector() {
    let mut relay = met();
    let at = version("b", 5);
    let batch = relay.batch_of("b", vec![live(LATEST, "k", at, "1")], &[version("c", 9)]);
    let Ok(Answer::Applied(to)) = relay.step(apply("b", batch)) else { panic!("it fits") };
    assert_eq!(to, through(1, 1));
    assert_eq!(relay.replica.seen(), &seen(&[at, version("c", 9)]));
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("1"));
    assert!(relay.put(LATEST, "k", "2") > version("c", 9), "the clock moves past records and vectors");
    let header = &relay.log.commits[1].header;
    assert_eq!((header.cursors[0].1.cursor.through, &header.seen), (to, &seen(&[at, version("c", 9)])));
}

#[test]
fn where_a_cache_does_not_replicate_with_a_peer_its_vectors_speak_for_its_own_writes_alone() {
    let mut relay = met();
    let local = CacheConfig { replicate: Replicate::Local, ..relay.replica.config().caches[&cache(LATEST)].clone() };
    let mut introduction = relay.introduction_of("c", Vector::new());
    introduction.caches.retain(|told| told.cache != cache(LATEST));
    introduction.caches.push(digest_of(&cache(LATEST), &local));
    relay.meet_as(introduction);
    let (theirs, other) = (version("b", 5), version("c", 6));
    // To the third site nothing of that cache was sent, and all that the second wrote was claimed.
    relay.apply("c", vec![], &[theirs, other]).expect("it fits");
    assert_eq!(relay.replica.seen(), &seen(&[other]));
    relay.apply("b", vec![live(LATEST, "k", theirs, "1")], &[]).expect("it fits");
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("1"));
    assert_eq!(relay.replica.seen(), &seen(&[theirs, other]));
    // Nor can its reconcile tell what has gone of that cache.
    let dropped = seen(&[version("b", 9)]);
    assert_eq!(code(relay.reconcile_begin("c", dropped.clone(), dropped.clone())), ErrorCode::ReconcileFirst);
    relay.reconcile_begin("b", dropped.clone(), dropped).expect("the cache replicates with it");
}

#[test]
fn a_local_cache_that_one_site_alone_declares_takes_nothing_from_what_that_site_says() {
    let mut relay = met();
    let local = CacheConfig { replicate: Replicate::Local, ..relay.replica.config().caches[&cache(LATEST)].clone() };
    let mut introduction = relay.introduction_of("c", Vector::new());
    introduction.caches.push(digest_of(&cache("theirs"), &local));
    relay.meet_as(introduction);
    let (theirs, other) = (version("b", 5), version("c", 6));
    relay.apply("c", vec![], &[theirs, other]).expect("it fits");
    assert_eq!(relay.replica.seen(), &seen(&[theirs, other]));
    let dropped = seen(&[version("b", 9)]);
    relay.reconcile_begin("c", dropped.clone(), dropped).expect("all that is held here replicates with it");
}

#[test]
fn a_batch_that_does_not_begin_at_the_cursor_is_refused() {
    let mut relay = met();
    let batch = relay.batch_of("b", vec![live(LATEST, "k", version("b", 5), "1")], &[]);
    relay.step(apply("b", batch.clone())).expect("it fits");
    let before = relay.replica.clone();
    assert_eq!(code(relay.step(apply("b", batch.clone()))), ErrorCode::CursorMismatch, "it was applied already");
    let gap = Batch { after: through(2, 1), ..batch.clone() };
    assert_eq!(code(relay.step(apply("b", gap))), ErrorCode::CursorMismatch);
    assert_eq!(code(relay.step(apply("c", batch.clone()))), ErrorCode::FormerRun, "no handshake with that one");
    let back = Batch { after: through(1, 1), through: through(1, 0), ..batch };
    assert_eq!(code(relay.step(apply("b", back))), ErrorCode::Malformed, "cursors go forward");
    assert_eq!(relay.replica, before);
}

#[test]
fn one_bad_record_or_claim_refuses_the_whole_batch() {
    let mut relay = met();
    let own = relay.put(LATEST, "mine", "1");
    let beyond = Version { clock: own.clock.next(relay.now).expect("a clock"), ..own };
    let good = live(LATEST, "k", version("b", 1), "1");
    let foreign = version("x", 1);
    let far = version("b", 120_001);
    let bad = [
        ("foreign version", live(LATEST, "k", foreign, ""), ErrorCode::ForeignOrigin),
        ("foreign birth", Record { birth: foreign, ..good.clone() }, ErrorCode::ForeignOrigin),
        ("foreign context", Record { context: seen(&[foreign]), ..good.clone() }, ErrorCode::ForeignOrigin),
        ("never written", live(LATEST, "k", beyond, ""), ErrorCode::ForeignOrigin),
        ("from afar", live(LATEST, "k", far, ""), ErrorCode::ClockSkew),
        ("born afar", Record { birth: far, ..good.clone() }, ErrorCode::ClockSkew),
        ("context afar", Record { context: seen(&[far]), ..good.clone() }, ErrorCode::ClockSkew),
        ("born after it was written", Record { birth: version("b", 2), ..good.clone() }, ErrorCode::Malformed),
        ("no key", Record { key: None, ..good.clone() }, ErrorCode::Malformed),
        ("a clear with a key", Record { kind: Kind::Clear, ..good.clone() }, ErrorCode::Malformed),
        ("local", live(LOCAL, "k", version("b", 1), ""), ErrorCode::ConfigMismatch),
    ];
    let before = (relay.replica.clone(), relay.log.commits.len());
    for (what, record, expected) in bad {
        let batch = Batch { vector: Vector::new(), ..relay.batch_of("b", vec![good.clone(), record], &[]) };
        assert_eq!(code(relay.step(apply("b", batch))), expected, "{what}");
    }
    for (claim, expected) in
        [(foreign, ErrorCode::ForeignOrigin), (far, ErrorCode::ClockSkew), (beyond, ErrorCode::ForeignOrigin)]
    {
        assert_eq!(code(relay.apply("b", vec![good.clone()], &[claim])), expected, "{claim}");
    }
    let runs = Batch { runs: vec![origin("x")], ..relay.batch_of("b", vec![good.clone()], &[]) };
    assert_eq!(code(relay.step(apply("b", runs))), ErrorCode::ForeignOrigin);
    assert_eq!((relay.replica.clone(), relay.log.commits.len()), before);
    relay.apply("b", vec![good, live(LATEST, "k", version("b", 120_000), "")], &[]).expect("as far as may be");
}

#[test]
fn nothing_is_taken_before_what_was_dropped_is_covered() {
    let (mut relay, dropped) = with_dropped(LATEST);
    relay.meet("b", Vector::new());
    let record = live(LATEST, "k", version("b", 1), "1");
    assert_eq!(code(relay.apply("b", vec![record.clone()], &[])), ErrorCode::ReconcileFirst);
    assert!(relay.replica.must_reconcile(&site("b")));
    relay.apply("b", vec![record], &[dropped]).expect("its vector covers what was dropped");
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("1"));
}

#[test]
fn what_is_covered_is_merged_only_where_it_ends_a_life() {
    let mut relay = met();
    let (low, high) = (version("c", 3), version("b", 6));
    relay.apply("b", vec![], &[high, low]).expect("a claim");
    relay.apply("b", vec![live(LATEST, "k", high, "1")], &[]).expect("fits");
    assert_eq!(relay.slot(LATEST, "k"), None, "a covered entry is known or outgrown");
    relay.apply("b", vec![removed(LATEST, "k", high, high)], &[]).expect("fits");
    assert_eq!(relay.slot(LATEST, "k"), None, "there is nothing for a covered tombstone to end");
    let late = version("c", 9);
    relay.apply("b", vec![live(LATEST, "k", late, "2")], &[]).expect("fits");
    relay.apply("b", vec![removed(LATEST, "k", high, high)], &[]).expect("fits");
    assert_eq!(relay.get(LATEST, "k").as_deref(), Some("2"), "a lower tombstone ends nothing");
    let mut other = met();
    let unclaimed = Batch { vector: Vector::new(), ..other.batch_of("b", vec![live(LATEST, "k", low, "1")], &[]) };
    other.step(apply("b", unclaimed)).expect("fits");
    other.apply("b", vec![], &[high, low]).expect("a claim");
    other.apply("b", vec![removed(LATEST, "k", high, low)], &[]).expect("fits");
    assert_eq!(other.kind(LATEST, "k"), Some(Kind::Tombstone), "a covered one onto a lower entry");
}

#[test]
fn a_floor_keeps_out_what_is_below_it_by_the_caches_order() {
    let mut relay = met();
    let (early, floor, late) = (version("b", 1), version("b", 5), version("b", 9));
    for name in [LATEST, WINS] {
        relay.apply("b", vec![cleared(name, floor)], &[]).expect("fits");
        relay.apply("b", vec![live(name, "early", version("c", 2), "1")], &[]).expect("fits");
        assert_eq!(relay.slot(name, "early"), None);
        let long_lived = Record { birth: early, ..live(name, "k", late, "2") };
        let batch = Batch { vector: Vector::new(), ..relay.batch_of("b", vec![long_lived], &[]) };
        relay.step(apply("b", batch)).expect("fits");
        assert_eq!(relay.slot(name, "k").is_some(), name == LATEST, "{name}");
    }
    relay.apply("b", vec![cleared(LATEST, early)], &[]).expect("fits");
    assert_eq!(relay.replica.clear_of(&cache(LATEST)).expect("held").version, floor, "a floor only rises");
}

#[test]
fn limits_bind_nodes_and_the_protocols_bound_peers() {
    let mut relay = met();
    let of = |bytes: usize| Record {
        value: Bytes::from(vec![b'v'; bytes]),
        ..live(LATEST, &format!("k{bytes}"), version("b", 1), "")
    };
    relay.apply("b", vec![of(65)], &[]).expect("a replicated record has no such limit");
    assert_eq!(relay.get(LATEST, "k65").expect("held").len(), 65);
    let most = MAX_ENTRY_BYTES as usize;
    relay.apply("b", vec![Record { version: version("b", 2), ..of(most) }], &[]).expect("as large as values may be");
    // It would fit this batch, and no frame on the way to a third site.
    let beyond = Record { version: version("b", 3), ..of(most + 1) };
    assert_eq!(code(relay.apply("b", vec![beyond], &[])), ErrorCode::Malformed);
}

#[test]
fn a_batch_has_one_clear_of_a_cache_at_most() {
    let mut relay = met();
    let (low, high) = (version("b", 5), version("b", 6));
    let before = relay.replica.clone();
    for twice in [[low, high], [high, low], [high, high]] {
        let clears = twice.map(|at| cleared(LATEST, at)).to_vec();
        assert_eq!(code(relay.apply("b", clears, &[])), ErrorCode::Malformed);
    }
    assert_eq!(relay.replica, before);
    relay.apply("b", vec![cleared(LATEST, low), cleared(WINS, low)], &[]).expect("one of each");
    relay.apply("b", vec![cleared(LATEST, high)], &[]).expect("the next one");
    assert_eq!(relay.replica.clear_of(&cache(LATEST)).expect("held").version, high);
}

#[test]
fn a_cache_that_is_not_declared_is_kept_under_the_peers_merge() {
    let mut relay = met();
    let theirs = crate::engine::replica::CacheConfig {
        merge: Merge::RemoveWins,
        replicate: crate::engine::replica::Replicate::Async,
        lifespan: None,
        max_entry_bytes: 0,
    };
    let mut introduction = relay.introduction_of("b", Vector::new());
    introduction.caches.push(crate::engine::replica::digest_of(&cache("theirs"), &theirs));
    relay.meet_as(introduction);
    relay.apply("b", vec![live("theirs", "k", version("b", 1), "1")], &[]).expect("kept");
    assert_eq!(relay.get("theirs", "k").as_deref(), Some("1"));
    let of = |relay: &Relay| relay.replica.caches().find(|(name, _)| name.as_str() == "theirs").map(|(_, merge)| merge);
    assert_eq!(of(&relay), Some(Merge::RemoveWins));
    assert_eq!(of(&relay.restarted(run("z"))), Some(Merge::RemoveWins));
    let write = relay.write_of(landbridge_protocol::frame::node::Operation::Put, "theirs", "k", "2");
    assert_eq!(code(relay.write(write)), ErrorCode::UnknownCache, "no node sees it");
}

#[test]
fn caches_that_mean_different_things_do_not_replicate() {
    let mut relay = met();
    let mut introduction = relay.introduction_of("b", Vector::new());
    for theirs in introduction.caches.iter_mut().filter(|theirs| theirs.cache.as_str() == LATEST) {
        *theirs = CacheDigest { merge: Merge::RemoveWins, digest: 1, ..theirs.clone() };
    }
    relay.meet_as(introduction);
    assert_eq!(relay.replica.mismatched(&site("b")), [cache(LATEST)]);
    let refused = relay.apply("b", vec![live(LATEST, "k", version("b", 1), "1")], &[]);
    assert_eq!(code(refused), ErrorCode::ConfigMismatch);
    relay.apply("b", vec![live(WINS, "k", version("b", 1), "1")], &[]).expect("the others do");
}

#[test]
fn a_wider_filter_changes_the_digest() {
    let mut relay = met();
    let with_all = relay.replica.digest_with(&site("b"));
    let mut fewer = relay.introduction_of("b", Vector::new());
    for theirs in fewer.caches.iter_mut().filter(|theirs| theirs.cache.as_str() == LATEST) {
        theirs.digest = 1;
    }
    relay.meet_as(Introduction { ..fewer });
    assert_ne!(relay.replica.digest_with(&site("b")), with_all);
}

#[test]
fn more_caches_than_the_bound_are_refused() {
    let mut relay = met();
    let of = |number: usize| live(&format!("cache{number}"), "k", version("b", 1), "1");
    let refused = relay.apply("b", (0..crate::engine::index::MAX_CACHES).map(of).collect(), &[]);
    assert_eq!(code(refused), ErrorCode::ConfigMismatch);
    relay.apply("b", (0..100).map(of).collect(), &[]).expect("within the bound");
}

/// As many runs of a peer's store, that nobody has heard of.
fn runs_of(peer: &str, from: u64, count: u64) -> Vector {
    let of = |run| Origin { site: site(peer), run: RunId(run) };
    (from..from + count).map(|run| (of(run), version(peer, 1).clock)).collect()
}

#[test]
fn a_peer_that_claims_new_runs_without_end_is_refused_and_nothing_grows() {
    let mut relay = met();
    relay.apply("b", vec![live(LATEST, "k", version("b", 2), "0")], &[]).expect("one of a known run");
    let bound = relay.replica.config().max_runs as u64;
    let claim = |relay: &Relay, from| Batch { vector: runs_of("c", from, 8), ..relay.batch_of("b", vec![], &[]) };
    let mut refused = 0;
    for round in 0..bound {
        let batch = claim(&relay, 1_000 + round * 8);
        refused += u64::from(relay.step(apply("b", batch)).is_err());
    }
    assert!(relay.replica.seen().len() as u64 <= bound, "{} runs", relay.replica.seen().len());
    let before = relay.replica.clone();
    let batch = claim(&relay, 0);
    assert_eq!(code(relay.step(apply("b", batch))), ErrorCode::ForeignOrigin);
    let (many, none) = (runs_of("c", 0, bound), Vector::new());
    let peer = Box::new(relay.introduction_of("b", many.clone()));
    assert_eq!(code(relay.step(Command::Introduced { peer, incoming: true })), ErrorCode::ForeignOrigin);
    assert_eq!(code(relay.reconcile_begin("b", none, many)), ErrorCode::ForeignOrigin);
    assert_eq!(relay.replica, before);
    assert!(refused > bound / 2, "{refused}");
    relay.apply("b", vec![live(LATEST, "k", version("b", 5), "1")], &[]).expect("known runs go on");
    relay.put(LATEST, "mine", "1");
}

#[test]
fn a_peer_that_names_more_caches_than_there_may_be_is_refused() {
    let mut relay = met();
    let mut introduction = relay.introduction_of("b", Vector::new());
    let one = introduction.caches[0].clone();
    introduction.caches = vec![one; crate::engine::index::MAX_CACHES + 1];
    let peer = Box::new(introduction);
    assert_eq!(code(relay.step(Command::Introduced { peer, incoming: true })), ErrorCode::ConfigMismatch);
}
