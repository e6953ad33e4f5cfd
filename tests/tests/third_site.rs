//! Promise 4 with a third site: what was removed stays removed, and tombstones go in the end, though a site is cut off,
//! wiped, or started again and again.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use bytes::Bytes;
use landbridge_client::Client;
use landbridge_tests::{
    load::{complete, until_equal},
    patience::until,
    sites::ThreeSites,
};

const CACHE: &str = "sessions";

async fn write(node: &Client, prefix: &str, count: usize) {
    for n in 0..count {
        let value = Bytes::from(format!("{prefix} {n}"));
        node.raw(CACHE).unwrap().put(format!("{prefix}-{n:03}").as_str(), value).await.unwrap();
    }
}

async fn remove(node: &Client, prefix: &str, count: usize) {
    for n in 0..count {
        let removed = node.raw(CACHE).unwrap().remove(format!("{prefix}-{n:03}").as_str()).await.unwrap();
        assert!(removed.is_some(), "{prefix}-{n:03} was not there to be removed");
    }
}

/// Waits until all nodes read the same, so many entries.
async fn equal(nodes: &[Client], entries: usize) {
    until(&format!("{entries} entries"), async || (complete(&nodes[0], CACHE).await.len() == entries).then_some(()))
        .await;
    assert_eq!(until_equal(nodes, CACHE).await, entries);
}

/// Two relays agree by messages to let go of what the third, cut off from both, has not seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removals_hold_at_a_site_that_was_cut_off_while_the_others_let_tombstones_go() {
    let settings = "[replication]\nforward_after = \"200ms\"\nmax_tombstones = 50\ntombstone_min_age = \"0s\"\n";
    let sites = ThreeSites::start_with(settings).await;
    let nodes = sites.nodes().await;
    write(&nodes[2], "gone", 300).await;
    write(&nodes[0], "kept", 20).await;
    equal(&nodes, 320).await;
    sites.cut(0, 2).await;
    sites.cut(1, 2).await;
    remove(&nodes[0], "gone", 150).await;
    for n in 150..300 {
        nodes[1].raw(CACHE).unwrap().remove(format!("gone-{n:03}").as_str()).await.unwrap().unwrap();
    }
    write(&nodes[2], "alone", 20).await;
    nodes[2].raw(CACHE).unwrap().put("gone-000", Bytes::from_static(b"refreshed")).await.unwrap();
    for at in 0..2 {
        until("the tombstones to be let go", async || (sites.tombstones(at, CACHE).await <= 50).then_some(())).await;
        let dropped = sites.status(at).await["dropped"].as_array().unwrap().len();
        assert!(dropped >= 2, "G of site{} tells of removals of both sites", at + 1);
    }
    assert_eq!(complete(&nodes[2], CACHE).await.len(), 340, "the third site has not heard of it");
    // The way back is over one link at first.
    sites.join(1, 2).await;
    equal(&nodes, 40).await;
    sites.join(0, 2).await;
    write(&nodes[2], "after", 20).await;
    equal(&nodes, 60).await;
    for at in 0..3 {
        until("no tombstone to be left", async || (sites.tombstones(at, CACHE).await == 0).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_relay_of_three_comes_back_with_its_own_writes_and_without_what_was_removed() {
    let settings = "[replication]\nforward_after = \"200ms\"\ntombstone_min_age = \"0s\"\n";
    let mut sites = ThreeSites::start_with(settings).await;
    let nodes = sites.nodes().await;
    for (at, node) in nodes.iter().enumerate() {
        write(node, &format!("of{at}"), 100).await;
    }
    equal(&nodes, 300).await;
    remove(&nodes[1], "of0", 50).await;
    equal(&nodes, 250).await;
    for at in 0..3 {
        until("the tombstones to be let go", async || (sites.tombstones(at, CACHE).await == 0).then_some(())).await;
    }
    // Some of what it had written is with one peer only when it is wiped.
    sites.cut(0, 2).await;
    write(&nodes[0], "late", 20).await;
    equal(&nodes[..2], 270).await;
    sites.kill(0).await;
    std::fs::remove_dir_all(sites.store(0)).unwrap();
    sites.join_one(2, 0).await;
    sites.spawn(0);
    sites.ready(0).await;
    // Ready means filled.
    assert_eq!(complete(&nodes[0], CACHE).await, complete(&nodes[1], CACHE).await);
    write(&nodes[0], "after", 20).await;
    remove(&nodes[0], "late", 20).await;
    equal(&nodes, 270).await;
}

/// Runs end by `kill -9` and in order; a change of an ended run is covered by every V in the end, or its tombstone would
/// stay for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tombstones_of_ended_runs_go_in_the_end() {
    let settings = "[replication]\nforward_after = \"200ms\"\ntombstone_min_age = \"0s\"\n";
    let mut sites = ThreeSites::start_with(settings).await;
    let nodes = sites.nodes().await;
    for run in 0..4 {
        let prefix = format!("run{run}");
        write(&nodes[0], &prefix, 30).await;
        remove(&nodes[0], &prefix, 10).await;
        // What it had not sent to all when it ended comes from the others, or from its own log.
        if run % 2 == 0 {
            sites.kill(0).await;
        } else {
            assert!(sites.take(0).stop().await.success());
        }
        let other = format!("other{run}");
        write(&nodes[1], &other, 10).await;
        remove(&nodes[1], &other, 10).await;
        sites.spawn(0);
        sites.ready(0).await;
        equal(&nodes, (run + 1) * 20).await;
    }
    for at in 0..3 {
        until("no tombstone to be left", async || (sites.tombstones(at, CACHE).await == 0).then_some(())).await;
    }
    equal(&nodes, 80).await;
}
