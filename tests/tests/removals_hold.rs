//! Promise 4: what was removed while the peer was away stays removed when it is back.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeMap;

use bytes::Bytes;
use landbridge_client::Client;
use landbridge_tests::{load::contents, patience::until, sites::TwoSites};

const ENTRIES: usize = 1000;

fn key(n: usize) -> String {
    format!("session-{n:04}")
}

async fn fill(node: &Client) {
    let cache = node.raw("sessions").unwrap();
    for n in 0..ENTRIES {
        cache.put(key(n).as_str(), Bytes::from(format!("value {n}"))).await.unwrap();
    }
}

async fn remove_all(node: &Client) {
    let cache = node.raw("sessions").unwrap();
    for n in 0..ENTRIES {
        assert!(cache.remove(key(n).as_str()).await.unwrap().is_some(), "{} was not there to be removed", key(n));
    }
}

async fn holds(node: &Client, entries: usize) {
    until(&format!("{entries} entries"), async || (contents(node, "sessions").await.len() == entries).then_some(()))
        .await;
}

async fn equal(a: &Client, b: &Client) -> BTreeMap<String, (String, Bytes)> {
    until("both sites to be equal", async || {
        let (first, second) = (contents(a, "sessions").await, contents(b, "sessions").await);
        (first == second).then_some(first)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_entries_removed_while_the_peer_was_down_stay_removed() {
    let mut sites = TwoSites::start().await;
    let (one, two) = (sites.node(0, "node11").await, sites.node(1, "node21").await);
    fill(&one).await;
    holds(&two, ENTRIES).await;
    sites.kill(1).await;
    remove_all(&one).await;
    holds(&one, 0).await;
    sites.spawn(1);
    sites.ready(1).await;
    holds(&two, 0).await;
    assert!(equal(&one, &two).await.is_empty());
}

/// The tombstones had to go before the peer was back: it is reconciled, and keeps what it wrote meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removals_hold_when_their_tombstones_went_before_the_peer_was_back() {
    let mut sites = TwoSites::start_with("[replication]\nmax_tombstones = 100\ntombstone_min_age = \"0s\"\n").await;
    let (one, two) = (sites.node(0, "node11").await, sites.node(1, "node21").await);
    fill(&one).await;
    holds(&two, ENTRIES).await;
    sites.kill(1).await;
    remove_all(&one).await;
    until("the tombstones to be let go", async || {
        let status = sites.status(0).await;
        let sessions = status["caches"].as_array()?.iter().find(|c| c["name"] == "sessions")?.clone();
        (sessions["tombstones"].as_u64()? <= 100).then_some(())
    })
    .await;
    sites.spawn(1);
    sites.ready(1).await;
    holds(&two, 0).await;
    two.raw("sessions").unwrap().put("after", Bytes::from_static(b"the return")).await.unwrap();
    holds(&one, 1).await;
    assert_eq!(equal(&one, &two).await.len(), 1);
}

/// Both sites are cut from each other and both let tombstones go: each is reconciled from the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removals_hold_when_both_sites_had_let_tombstones_go() {
    let sites = TwoSites::start_with("[replication]\nmax_tombstones = 50\ntombstone_min_age = \"0s\"\n").await;
    let (one, two) = (sites.node(0, "node11").await, sites.node(1, "node21").await);
    fill(&one).await;
    holds(&two, ENTRIES).await;
    for (at, peer) in [(0, "site2"), (1, "site1")] {
        let (code, _, err) = sites.command(at, &["take-offline", peer]).await;
        assert_eq!(code, Some(0), "{err}");
    }
    let (first, second) = (one.raw("sessions").unwrap(), two.raw("sessions").unwrap());
    for n in 0..ENTRIES / 2 {
        first.remove(key(n).as_str()).await.unwrap();
        second.remove(key(ENTRIES / 2 + n).as_str()).await.unwrap();
    }
    first.put("of-site1", Bytes::from_static(b"1")).await.unwrap();
    second.put("of-site2", Bytes::from_static(b"2")).await.unwrap();
    for at in 0..2 {
        until("the tombstones to be let go", async || {
            let status = sites.status(at).await;
            let sessions = status["caches"].as_array()?.iter().find(|c| c["name"] == "sessions")?.clone();
            (sessions["tombstones"].as_u64()? <= 50).then_some(())
        })
        .await;
    }
    for (at, peer) in [(0, "site2"), (1, "site1")] {
        let (code, _, err) = sites.command(at, &["bring-online", peer]).await;
        assert_eq!(code, Some(0), "{err}");
    }
    holds(&one, 2).await;
    holds(&two, 2).await;
    let held: Vec<String> = equal(&one, &two).await.into_keys().collect();
    assert_eq!(held, ["of-site1", "of-site2"]);
}
