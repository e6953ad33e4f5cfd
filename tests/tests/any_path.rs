//! Promise 3 with three sites: a change arrives wherever some chain of links leads, and in the end all stores are equal.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::time::Duration;

use bytes::Bytes;
use landbridge_client::Client;
use landbridge_tests::{
    load::{Load, complete, until_equal},
    patience::{until, until_true},
    sites::ThreeSites,
    wire::{Way, Weather, Wire},
};

/// Changes of a third site are passed on soon, so that the tests need not wait for it.
const SOON: &str = "[replication]\nforward_after = \"200ms\"\n";
/// Merged by `remove_wins` and by `latest`.
const CACHES: [&str; 2] = ["sessions", "actionTokens"];
/// Every link.
const LINKS: [(usize, usize); 3] = [(0, 1), (1, 2), (0, 2)];

/// Entries with and without a deadline, in both caches.
async fn write(node: &Client, prefix: &str, count: usize) {
    for cache in CACHES {
        let cache = node.raw(cache).unwrap();
        let mortal = cache.clone().with_lifespan(Duration::from_secs(3600));
        for n in 0..count {
            let cache = if n % 2 == 0 { &cache } else { &mortal };
            cache.put(format!("{prefix}-{n:03}").as_str(), Bytes::from(format!("{prefix} {n}"))).await.unwrap();
        }
    }
}

async fn remove(node: &Client, prefix: &str, count: usize) {
    for cache in CACHES {
        for n in 0..count {
            let removed = node.raw(cache).unwrap().remove(format!("{prefix}-{n:03}").as_str()).await.unwrap();
            assert!(removed.is_some(), "{prefix}-{n:03} was not there to be removed");
        }
    }
}

/// Waits until these nodes read the same in all caches, so many entries in each.
async fn equal(nodes: &[Client], entries: usize) {
    for cache in CACHES {
        until(&format!("{entries} entries in {cache} everywhere"), async || {
            (complete(&nodes[0], cache).await.len() == entries).then_some(())
        })
        .await;
        assert_eq!(until_equal(nodes, cache).await, entries, "{cache}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_and_removals_reach_all_three_with_any_one_link_cut() {
    let sites = ThreeSites::start_with(SOON).await;
    let nodes = sites.nodes().await;
    for (round, (one, other)) in LINKS.into_iter().enumerate() {
        sites.cut(one, other).await;
        for (at, node) in nodes.iter().enumerate() {
            write(node, &format!("round{round}-of{at}"), 20).await;
        }
        equal(&nodes, 3 * (10 * round + 20)).await;
        // each removes what another site wrote, of which the next link is the way to it in some round
        for (at, node) in nodes.iter().enumerate() {
            remove(node, &format!("round{round}-of{}", (at + 1) % 3), 10).await;
        }
        equal(&nodes, 3 * (10 * round + 10)).await;
        sites.join(one, other).await;
    }
    write(&nodes[0], "after", 1).await;
    equal(&nodes, 91).await;
}

/// There is never more than one link, and no moment at which a chain of links leads from the first site to the third.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_reach_all_three_over_links_that_are_never_up_at_once() {
    let sites = ThreeSites::start_with(SOON).await;
    let nodes = sites.nodes().await;
    write(&nodes[2], "old", 20).await;
    equal(&nodes, 20).await;
    for (one, other) in LINKS {
        sites.cut(one, other).await;
    }
    for (at, node) in nodes.iter().enumerate() {
        write(node, &format!("of{at}"), 20).await;
    }
    remove(&nodes[0], "old", 10).await;
    // refreshed by one that can't know of the logout
    let refreshed = Bytes::from_static(b"refreshed");
    nodes[2].raw("sessions").unwrap().put("old-000", refreshed).await.unwrap();
    for (phase, (one, other)) in LINKS.into_iter().enumerate() {
        sites.join(one, other).await;
        let pair = [nodes[one].clone(), nodes[other].clone()];
        let entries = if phase == 0 { 50 } else { 70 };
        equal(&pair, entries).await;
        sites.cut(one, other).await;
    }
    let held = complete(&nodes[1], "sessions").await;
    assert!(!held.contains_key(&Bytes::from_static(b"old-000")), "a logout beats a refresh that did not know of it");
    for (one, other) in LINKS {
        sites.join(one, other).await;
    }
    for cache in CACHES {
        until_equal(&nodes, cache).await;
    }
}

/// Not by the admin's word but by the network, which says nothing: both ways, one way, and in foul weather.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_loses_everything_between_two_sites_keeps_nothing_from_the_third() {
    let mut sites = ThreeSites::prepare("");
    let settings =
        format!("[limits]\nidle_timeout = \"1s\"\nkeep_alive = \"200ms\"\n\n{SOON}heartbeat_every = \"200ms\"\n");
    let wires = [Wire::to(sites.port(2), 1).await, Wire::to(sites.port(0), 2).await];
    sites.dial_through(0, 2, wires[0].port());
    sites.dial_through(2, 0, wires[1].port());
    (0..3).for_each(|at| sites.configure(at, &settings));
    sites.start_all().await;
    let nodes = sites.nodes().await;
    write(&nodes[0], "first", 20).await;
    equal(&nodes, 20).await;

    wires.iter().for_each(|wire| wire.set(&Weather::CUT));
    until_true("the network to lose something", || wires.iter().all(|wire| wire.lost() > 0)).await;
    write(&nodes[0], "cut", 20).await;
    remove(&nodes[2], "first", 10).await;
    equal(&nodes, 30).await;

    wires[0].set(&Weather::FAIR);
    wires[1].set_way(Way::Back, &Weather::FAIR);
    write(&nodes[2], "one-way", 20).await;
    equal(&nodes, 50).await;

    let delay = Duration::ZERO..Duration::from_millis(30);
    wires.iter().for_each(|wire| wire.set(&Weather { cut: false, loss: 0.05, doubled: 0.05, delay: delay.clone() }));
    let loads = [0, 2].map(|at| Load::start(&nodes[at], "sessions", &format!("foul{at}"), 2, 20, at as u64));
    write(&nodes[1], "foul", 20).await;
    let mut expected = 70;
    for load in loads {
        expected += load.stop().await.0.values().flatten().count();
    }
    wires.iter().for_each(|wire| wire.set(&Weather::FAIR));
    until("the loads' keys everywhere", async || {
        (complete(&nodes[1], "sessions").await.len() == expected).then_some(())
    })
    .await;
    assert_eq!(until_equal(&nodes, "sessions").await, expected);
    assert_eq!(until_equal(&nodes, "actionTokens").await, 70);
}
