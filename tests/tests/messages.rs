//! Caches of messages: who was away for longer than a message lived is told that it was missed.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::time::Duration;

use bytes::Bytes;
use landbridge_client::{Change, Key, RawListener};
use landbridge_tests::{
    patience::{PATIENCE, until},
    sites::TwoSites,
};

const CACHES: &str = "[replication]\ntombstone_min_age = \"1h\"\n\
    [[caches]]\nname = \"work\"\nlifespan = \"3s\"\nmessages = true\n\
    [[caches]]\nname = \"others\"\n";

async fn next(listener: &mut RawListener) -> Change<Key, Bytes> {
    tokio::time::timeout(PATIENCE, listener.next()).await.unwrap().unwrap().unwrap().change
}

/// Whether it is about that key.
fn of(change: &Change<Key, Bytes>, key: &str) -> bool {
    match change {
        Change::Created(entry) => entry.key.as_bytes() == key.as_bytes(),
        Change::Expired(entry) => entry.key.as_bytes() == key.as_bytes(),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_expired_untold_gives_a_gap_and_in_other_caches_its_expiry_is_told() {
    let sites = TwoSites::start_with(CACHES).await;
    let (one, two) = (sites.node(0, "node11").await, sites.node(1, "node21").await);
    let mut tokens = Vec::new();
    for cache in ["work", "others"] {
        let listener = one.raw(cache).unwrap().listen().start_raw().await.unwrap();
        tokens.push(listener.token().cloned().unwrap());
    }
    for cache in ["work", "others"] {
        let cache = two.raw(cache).unwrap().with_lifespan(Duration::from_millis(100));
        cache.put("missed", Bytes::from_static(b"1")).await.unwrap();
    }
    for cache in ["work", "others"] {
        until("it to have expired", async || (sites.tombstones(0, cache).await == 1).then_some(())).await;
    }
    let [of_work, of_others]: [_; 2] = tokens.try_into().unwrap();
    let mut work = one.raw("work").unwrap().listen().from(of_work).start_raw().await.unwrap();
    assert_eq!(next(&mut work).await, Change::Gap);
    assert_eq!(next(&mut work).await, Change::SnapshotEnd);
    let mut others = one.raw("others").unwrap().listen().from(of_others).start_raw().await.unwrap();
    let told = next(&mut others).await;
    assert!(matches!(told, Change::Expired(_)) && of(&told, "missed"), "{told:?}");
    // Who is there hears each message, and that it expired.
    one.raw("work").unwrap().put("heard", Bytes::from_static(b"1")).await.unwrap();
    let told = next(&mut work).await;
    assert!(matches!(told, Change::Created(_)) && of(&told, "heard"), "{told:?}");
    let told = next(&mut work).await;
    assert!(matches!(told, Change::Expired(_)) && of(&told, "heard"), "{told:?}");
}
