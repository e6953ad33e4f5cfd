//! Links that are given up by policy, and links with a limit, on real relays.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use landbridge_tests::{
    load::until_equal,
    patience::{until, until_true},
    sites::TwoSites,
};

async fn link(sites: &TwoSites, at: usize) -> (String, String) {
    let status = sites.status(at).await;
    let link = &status["links"][0];
    (link["state"].as_str().unwrap().to_owned(), link["detail"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stays_away_is_given_up_and_comes_back_by_the_admins_word_alone() {
    let mut sites = TwoSites::prepare("");
    sites.set_peer(0, 1, "after_failures = 3\nmin_wait = \"300ms\"\n");
    sites.configure(0, "[replication]\nbackoff_max = \"200ms\"\nconnect_timeout = \"300ms\"\n");
    sites.start_all().await;
    let nodes = sites.nodes().await;
    nodes[0].raw("sessions").unwrap().put("before", Bytes::from_static(b"1")).await.unwrap();
    until_equal(&nodes, "sessions").await;
    sites.kill(1).await;
    until("the link to be given up", async || (link(&sites, 0).await.0 == "offline").then_some(())).await;
    let (_, detail) = link(&sites, 0).await;
    assert!(detail.starts_with("taken offline by policy after"), "{detail}");
    let told = || sites.log(0).contains("link offline: taken offline by policy");
    until_true("the relay to say so", told).await;
    nodes[0].raw("sessions").unwrap().put("while-away", Bytes::from_static(b"2")).await.unwrap();
    sites.spawn(1);
    sites.ready(1).await;
    nodes[1].raw("sessions").unwrap().put("back", Bytes::from_static(b"3")).await.unwrap();
    // The peer's own link is refused, and says why.
    until("the peer to be told", async || link(&sites, 1).await.1.contains("taken offline").then_some(())).await;
    assert_eq!(link(&sites, 0).await.0, "offline");
    sites.join_one(0, 1).await;
    assert_eq!(until_equal(&nodes, "sessions").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_with_a_limit_takes_its_time_and_status_says_so() {
    let mut sites = TwoSites::prepare("");
    sites.set_peer(0, 1, "max_bytes_per_second = \"64KiB\"\n");
    sites.configure(0, "");
    sites.start_all().await;
    let nodes = sites.nodes().await;
    let begun = Instant::now();
    let value = Bytes::from(vec![b'x'; 4096]);
    for n in 0..64 {
        // Written at once: the limit is the link's alone.
        nodes[0].raw("sessions").unwrap().put(format!("k{n}").as_str(), value.clone()).await.unwrap();
    }
    until("status to tell", async || (link(&sites, 0).await.1 == "held to 65536 bytes a second").then_some(())).await;
    nodes[1].raw("sessions").unwrap().put("other", Bytes::from_static(b"way")).await.unwrap();
    assert_eq!(until_equal(&nodes, "sessions").await, 65);
    // 256 KiB, of which the last batch need not be paid for.
    assert!(begun.elapsed() > Duration::from_secs(3), "{:?}", begun.elapsed());
}
