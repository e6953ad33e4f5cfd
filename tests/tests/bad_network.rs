//! Promise 3 over a network as bad as networks get: loss, doubling, reordering, addresses that change, a partition of many
//! changes, a cut one way. What both relays hold in the end is compared completely.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::time::Duration;

use bytes::Bytes;
use landbridge_client::Client;
use landbridge_tests::{
    load::{Known, Load, contents, until_equal},
    patience::{until, until_true},
    sites::TwoSites,
    wire::{Way, Weather, Wire},
};

/// Merged by `remove_wins` and by `latest`.
const CACHES: [&str; 2] = ["sessions", "actionTokens"];
/// So that a cut is noticed within seconds.
const SETTINGS: &str = "[limits]\nidle_timeout = \"1s\"\nkeep_alive = \"200ms\"\n\n\
     [replication]\nheartbeat_every = \"200ms\"\nbackoff_max = \"200ms\"\nconnect_timeout = \"500ms\"\n";

/// Two sites, and the wires on which each dials the other: that of the first, that of the second.
async fn wired(seed: u64) -> (TwoSites, [Wire; 2], Vec<Client>) {
    let mut sites = TwoSites::prepare("");
    let wires = [Wire::to(sites.port(1), seed).await, Wire::to(sites.port(0), seed + 1).await];
    for at in [0, 1] {
        sites.dial_through(at, 1 - at, wires[at].port());
        sites.configure(at, SETTINGS);
    }
    sites.start_all().await;
    let nodes = sites.nodes().await;
    (sites, wires, nodes)
}

/// A load in each cache at each site.
fn loads(nodes: &[Client], prefix: &str) -> Vec<Load> {
    let each = nodes.iter().enumerate().flat_map(|(at, node)| CACHES.map(|cache| (at, node, cache)));
    each.map(|(at, node, cache)| Load::start(node, cache, &format!("{prefix}-{cache}-{at}"), 2, 40, at as u64))
        .collect()
}

/// Waits until both hold all that was acknowledged and nothing else, with equal versions and deadlines.
async fn converge(nodes: &[Client], loads: Vec<Load>, others: usize) {
    let mut known = Known::new();
    for load in loads {
        known.extend(load.stop().await.0);
    }
    let entries = known.values().flatten().count() + others;
    until("all that was acknowledged at both", async || {
        let mut held = 0;
        for cache in CACHES {
            held += contents(&nodes[1], cache).await.len();
        }
        (held == entries).then_some(())
    })
    .await;
    let mut equal = 0;
    for cache in CACHES {
        equal += until_equal(nodes, cache).await;
        let held = contents(&nodes[0], cache).await;
        for (key, value) in known.iter().filter(|(key, _)| key.contains(cache)) {
            assert_eq!(held.get(key).map(|(_, value)| value), value.as_ref(), "{key}");
        }
    }
    assert_eq!(equal, entries);
}

async fn state(sites: &TwoSites, at: usize) -> String {
    sites.status(at).await["links"][0]["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_lose_double_and_reorder_while_addresses_change_converge() {
    let (_sites, wires, nodes) = wired(1).await;
    let foul = Weather { cut: false, loss: 0.1, doubled: 0.1, delay: Duration::ZERO..Duration::from_millis(30) };
    wires.iter().for_each(|wire| wire.set(&foul));
    let loads = loads(&nodes, "foul");
    for _ in 0..2 {
        for wire in &wires {
            let before = wire.lost();
            wire.change_addresses();
            until_true("the network to lose more", || wire.lost() > before + 20).await;
        }
    }
    converge(&nodes, loads, 0).await;
    assert!(wires.iter().all(|wire| wire.changes() == 2), "addresses changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_partition_with_many_changes_at_both_sides_heals() {
    let (sites, wires, nodes) = wired(3).await;
    for n in 0..20 {
        for cache in CACHES {
            nodes[n % 2].raw(cache).unwrap().put(format!("old-{n}").as_str(), Bytes::from_static(b"v")).await.unwrap();
        }
    }
    for cache in CACHES {
        assert_eq!(until_equal(&nodes, cache).await, 20);
    }
    wires.iter().for_each(|wire| wire.set(&Weather::CUT));
    let loads = loads(&nodes, "apart");
    for at in [0, 1] {
        until("the partition to be noticed", async || (state(&sites, at).await != "streaming").then_some(())).await;
    }
    // Each removes half of what both had.
    for n in 0..10 {
        for cache in CACHES {
            for (at, node) in nodes.iter().enumerate() {
                node.raw(cache).unwrap().remove(format!("old-{}", 2 * n + at).as_str()).await.unwrap();
            }
        }
    }
    wires.iter().for_each(|wire| wire.set(&Weather::FAIR));
    converge(&nodes, loads, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_one_way_is_noticed_at_both_ends_and_heals() {
    let (sites, wires, nodes) = wired(5).await;
    for at in [0, 1] {
        until("the links to stream", async || (state(&sites, at).await == "streaming").then_some(())).await;
    }
    // What the first sends is lost, on the connection that it dialled and on the other; it still hears the second.
    wires[0].set_way(Way::Forth, &Weather::CUT);
    wires[1].set_way(Way::Back, &Weather::CUT);
    let loads = loads(&nodes, "one-way");
    for at in [0, 1] {
        until("the cut to be noticed", async || {
            let link = &sites.status(at).await["links"][0];
            (link["state"] != "streaming" && link["incoming"] == false).then_some(())
        })
        .await;
    }
    wires.iter().for_each(|wire| wire.set(&Weather::FAIR));
    converge(&nodes, loads, 0).await;
}
