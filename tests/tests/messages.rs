//! Caches of messages: who was away for longer than a message lived is told that it was missed; also where a reload has made
//! the cache one.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::time::Duration;

use bytes::Bytes;
use landbridge_client::{Change, Client, Key, RawListener, Token};
use landbridge_tests::{
    patience::{PATIENCE, until},
    sites::TwoSites,
};

const CACHES: &str = "[replication]\ntombstone_min_age = \"1h\"\n\
    [[caches]]\nname = \"work\"\nlifespan = \"3s\"\nmessages = true\n\
    [[caches]]\nname = \"others\"\n";
/// The same with the two in each other's place.
const SWITCHED: &str = "[replication]\ntombstone_min_age = \"1h\"\n\
    [[caches]]\nname = \"work\"\nlifespan = \"3s\"\n\
    [[caches]]\nname = \"others\"\nmessages = true\n";

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

/// Where a listener of each cache stood before something expired there that nobody was told of.
async fn missed(sites: &TwoSites, one: &Client, two: &Client, key: &str) -> [Token; 2] {
    let mut tokens = Vec::new();
    for name in ["work", "others"] {
        let listener = one.raw(name).unwrap().listen().start_raw().await.unwrap();
        tokens.push(listener.token().cloned().unwrap());
        let before = sites.tombstones(0, name).await;
        let cache = two.raw(name).unwrap().with_lifespan(Duration::from_millis(100));
        cache.put(key, Bytes::from_static(b"1")).await.unwrap();
        until("it to have expired", async || (sites.tombstones(0, name).await > before).then_some(())).await;
    }
    tokens.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_expired_untold_gives_a_gap_and_in_other_caches_its_expiry_is_told() {
    let sites = TwoSites::start_with(CACHES).await;
    let (one, two) = (sites.node(0, "node11").await, sites.node(1, "node21").await);
    let [of_work, of_others] = missed(&sites, &one, &two, "missed").await;
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

    // A reload puts the two in each other's place, while both are listened to.
    let told = sites.reload(0, SWITCHED).await;
    assert!(told.contains("cache work: messages: was true, is false"), "{told}");
    assert!(told.contains("cache others: messages: was false, is true"), "{told}");
    let [of_work, of_others] = missed(&sites, &one, &two, "later").await;
    let mut resumed = one.raw("others").unwrap().listen().from(of_others).start_raw().await.unwrap();
    assert_eq!(next(&mut resumed).await, Change::Gap);
    assert_eq!(next(&mut resumed).await, Change::SnapshotEnd);
    let mut resumed = one.raw("work").unwrap().listen().from(of_work).start_raw().await.unwrap();
    let told = next(&mut resumed).await;
    assert!(matches!(told, Change::Expired(_)) && of(&told, "later"), "{told:?}");
    // Who listened before hears on: how much of what lived shortly depends on how busy the machine is.
    for (name, listener) in [("work", &mut work), ("others", &mut others)] {
        one.raw(name).unwrap().put("last", Bytes::from_static(b"1")).await.unwrap();
        while !of(&next(listener).await, "last") {}
    }
}
