//! Where a token goes on, and where what was missed can't be told any more.

use bytes::Bytes;
use landbridge_protocol::{
    position::Sequence,
    record::{Kind, Record},
    token::ResumeToken,
    vector::Vector,
    version::{Clock, Origin, Version},
};

use super::tests::{Log, origin, origin_of, shown, subscribe};

fn token(origin: Origin, sequence: u64, seen: u64) -> Bytes {
    let seen = [(origin_of("site1", 2), Clock::from_bits(seen))].into_iter().collect();
    ResumeToken { origin, sequence: Sequence::new(sequence), seen }.to_bytes()
}

#[tokio::test]
async fn a_token_of_a_run_that_ended_badly_hears_what_its_vector_does_not_cover() {
    let log = Log::new();
    log.append("a", Kind::Live, "1");
    log.append("b", Kind::Live, "2");
    log.append("c", Kind::Live, "3");
    let log = log.killed(3);
    let (mut subscriber, _) = subscribe(&log, Some(token(origin(2), 3, 2)), false).begun().await;
    assert_eq!(shown(&subscriber.event().await), "Created c=3");
    log.append("d", Kind::Live, "4");
    assert_eq!(shown(&subscriber.event().await), "Created d=4");
}

#[tokio::test]
async fn a_token_of_a_store_that_is_lost_gives_a_gap_also_where_all_that_it_speaks_for_is_there() {
    let log = Log::new();
    log.append("a", Kind::Live, "1");
    let lost_end = token(origin(2), 2, 1);
    let wiped = token(origin(1), 1, 1);
    for token in [lost_end, wiped] {
        let (mut subscriber, _) = subscribe(&log, Some(token), false).begun().await;
        assert_eq!(subscriber.until("SnapshotEnd").await, ["Gap =", "Created a=1", "SnapshotEnd ="]);
    }
}

#[tokio::test]
async fn a_run_that_was_killed_before_it_wrote_anything_leaves_tokens_that_can_be_resumed_from() {
    let log = Log::new();
    log.append("a", Kind::Live, "1");
    // The run between has left nothing on disk.
    let (idle, next) = (log.killed(3), log.killed(4));
    let (_, token) = subscribe(&idle, None, false).begun().await;
    next.append("b", Kind::Live, "2");
    let (mut again, token) = subscribe(&next, Some(token), false).begun().await;
    assert_eq!(shown(&again.event().await), "Created b=2");
    let token = ResumeToken::from_bytes(&token).unwrap();
    assert_eq!(token.origin, origin(4), "it has written by now");
}

#[tokio::test]
async fn a_token_that_does_not_cover_what_was_dropped_gives_a_gap() {
    let log = Log::new();
    log.append("a", Kind::Live, "1");
    log.append("b", Kind::Tombstone, "");
    log.drop_tombstone(Version { clock: Clock::from_bits(2), origin: origin(2) });
    for log in [&log, &log.killed(3)] {
        let (mut subscriber, _) = subscribe(log, Some(token(origin(2), 1, 1)), false).begun().await;
        assert_eq!(subscriber.until("SnapshotEnd").await, ["Gap =", "Created a=1", "SnapshotEnd ="]);
    }
}

#[tokio::test]
async fn a_token_of_another_site_hears_what_its_vector_does_not_cover_and_then_the_log() {
    let log = Log::new();
    log.append("a", Kind::Live, "1");
    log.append("b", Kind::Live, "2");
    // Further in its own log than this relay is, and ahead of it in what it was told.
    let ahead = [(origin(2), Clock::from_bits(1)), (origin_of("site2", 7), Clock::from_bits(9))].into_iter().collect();
    let token = |site| {
        let (origin, sequence) = (origin_of(site, 7), Sequence::new(77));
        let seen: &Vector = &ahead;
        ResumeToken { origin, sequence, seen: seen.clone() }.to_bytes()
    };
    let (mut subscriber, _) = subscribe(&log, Some(token("site2")), false).begun().await;
    let event = subscriber.event().await;
    assert_eq!(shown(&event), "Created b=2");
    let told = ResumeToken::from_bytes(&event.token).unwrap();
    assert_eq!((told.origin, &told.seen), (origin(2), &log.seen()), "it speaks for what this relay does, and no more");
    log.append("c", Kind::Live, "3");
    assert_eq!(shown(&subscriber.event().await), "Created c=3");
    // Nothing of this cache comes from there.
    let (mut subscriber, _) = subscribe(&log, Some(token("stranger")), false).begun().await;
    assert_eq!(subscriber.until("SnapshotEnd").await.len(), 5);
}

/// A record of another site, as its link brings it.
fn of_site2(log: &Log, key: &str, clock: u64) -> Record {
    let version = Version { clock: Clock::from_bits(clock), origin: origin_of("site2", 7) };
    let record = log.after(0).remove(0);
    let key = landbridge_protocol::record::Key::new(key.to_owned()).unwrap();
    Record { key: Some(key), version, birth: version, ..record }
}

#[tokio::test]
async fn while_a_cache_is_transferred_a_token_speaks_for_what_its_relay_has_alone() {
    let log = Log::new();
    log.append("a", Kind::Live, "1");
    let lacked = of_site2(&log, "lacked", 9);
    // V is one for all caches, and goes on.
    log.learn(&[(lacked.version.origin, lacked.version.clock)].into_iter().collect());
    log.lack(&["site2"]);
    let (mut subscriber, began) = subscribe(&log, None, false).begun().await;
    log.append("b", Kind::Live, "2");
    let told = subscriber.event().await.token;
    let own: Vector = log.seen().iter().filter(|(of, _)| *of == origin(2)).collect();
    assert_eq!(ResumeToken::from_bytes(&told).unwrap().seen, own);
    // What comes is told, also where the log is read anew, as V covered it all the time.
    let killed = log.killed(3);
    killed.receive(lacked.clone());
    for token in [began, told] {
        let (mut again, _) = subscribe(&killed, Some(token), false).begun().await;
        let events = again.until("Created lacked").await;
        assert!(!events.iter().any(|event| event.starts_with("Gap")), "{events:?}");
    }
    // Once all has come, and was told, V speaks for it.
    killed.lack(&[]);
    let (mut again, _) = subscribe(&killed, None, false).begun().await;
    killed.append("c", Kind::Live, "3");
    assert_eq!(ResumeToken::from_bytes(&again.event().await.token).unwrap().seen, killed.seen());
}

#[tokio::test]
async fn what_was_let_go_of_caches_that_others_have_alone_is_not_missed() {
    let log = Log::new();
    log.append("a", Kind::Live, "1");
    log.lack(&["stranger"]);
    let (_, token) = subscribe(&log, None, false).begun().await;
    log.drop_tombstone(Version { clock: Clock::from_bits(9), origin: origin_of("stranger", 7) });
    log.append("b", Kind::Live, "2");
    let (mut again, _) = subscribe(&log, Some(token.clone()), false).begun().await;
    assert_eq!(shown(&again.event().await), "Created b=2");
    // Of one with which the cache goes to and fro, it may be of this one.
    log.drop_tombstone(Version { clock: Clock::from_bits(9), origin: origin_of("site2", 7) });
    let (mut again, _) = subscribe(&log, Some(token), false).begun().await;
    assert_eq!(again.until("SnapshotEnd").await.len(), 4);
}

/// The token's V covers the removal, which it was told of elsewhere, and this relay's does not: what was told here since goes
/// with a reconcile, for that removal's sake.
#[tokio::test]
async fn what_a_reconcile_takes_away_is_said_to_one_who_heard_of_the_removal_elsewhere() {
    let (here, there) = (Log::new(), Log::of(origin_of("site2", 7)));
    here.append("k", Kind::Live, "1");
    there.receive(here.after(0)[0].clone());
    there.learn(&here.seen());
    there.append("k", Kind::Tombstone, "");
    let (mut elsewhere, _) = subscribe(&there, None, true).begun().await;
    let token = elsewhere.event().await.token;
    let (mut again, _) = subscribe(&here, Some(token), false).begun().await;
    here.append("k", Kind::Live, "2");
    again.until("Created k=2").await;
    here.drop_tombstone(there.after(1)[0].version);
    here.append("a", Kind::Live, "3");
    let events = again.until("SnapshotEnd").await;
    assert!(events.iter().any(|event| event.starts_with("Gap")), "{events:?}");
}
