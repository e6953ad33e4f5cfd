//! Promises 6 and 7: who asks, or listens, and does not read is held back alone. What the relay keeps for it is bounded and
//! counted, and everybody else goes on.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::time::Duration;

use bytes::Bytes;
use landbridge_client::Client;
use landbridge_protocol::{
    error::ErrorCode,
    frame::{
        ALPN_NODE, NodeToRelay, RelayToNode,
        node::{KeyRef, Request, Subscribe},
    },
    record::Key,
};
use landbridge_tests::{
    hearer::Hearer,
    load::until_equal,
    metrics::{scrape, total},
    patience::{until, until_true},
    sites::ThreeSites,
    stranger::{Stranger, closed, hello_of_node, honest, next_frame, of_node},
};
use quinn::{Connection, RecvStream, SendStream};

/// What a relay may take more in memory for any of it.
const MORE_RESIDENT_BYTES: u64 = 256 << 20;
/// Bytes of a value that does not fit into what a stranger takes unread.
const LARGE: usize = 256 << 10;
/// Bytes of a stream that a stranger takes unread.
const WINDOW: u32 = 16 << 10;
/// `limits.max_subscriptions`.
const SUBSCRIPTIONS: usize = 128;

/// A session at the first site whose streams take little unread.
async fn session(sites: &ThreeSites) -> (Connection, SendStream, RecvStream) {
    let connection = Stranger::new(sites, 0, "node12", ALPN_NODE).with_window(WINDOW).connect().await.unwrap();
    let (mut to, mut from) = connection.open_bi().await.unwrap();
    to.write_all(&hello_of_node("node12")).await.unwrap();
    next_frame(&mut from).await;
    (connection, to, from)
}

/// Asks for the large value, many thousand times.
async fn ask_on(mut to: SendStream) {
    let get = KeyRef { cache: "sessions".parse().unwrap(), key: Key::new("large").unwrap() };
    let get = of_node(&NodeToRelay::Request(Request::Get(get)));
    for _ in 0..100_000 {
        if to.write_all(&get).await.is_err() {
            return;
        }
    }
}

async fn hits(sites: &ThreeSites, bound: &str) {
    let hit = format!("landbridge_bounds_hit_total{{bound=\"{bound}\"}}");
    until_true(&hit, || total(&scrape(sites.port(0)), &hit, "") > 0.0).await;
}

/// Honest nodes write, and hear of it at both sites.
async fn undisturbed(nodes: &[Client; 2]) {
    let cache = nodes[0].raw("sessions").unwrap();
    for number in 0..200 {
        cache.put(&format!("k-{number}"), Bytes::from_static(b"1")).await.unwrap();
    }
    until_equal(nodes, "sessions").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_never_reads_is_held_back_alone() {
    let (mut sites, nodes) = honest("").await;
    nodes[0].raw("sessions").unwrap().put("large", Bytes::from(vec![b'v'; LARGE])).await.unwrap();
    let before = sites.relay(0).resident_bytes();
    let (_connection, to, _from) = session(&sites).await;
    let asking = tokio::spawn(ask_on(to));
    hits(&sites, "session_bytes").await;
    undisturbed(&nodes).await;
    let grown = sites.relay(0).resident_bytes().saturating_sub(before);
    assert!(grown < MORE_RESIDENT_BYTES, "{grown} bytes more");
    assert!(!asking.is_finished(), "all that was asked has been taken in");
    asking.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_a_byte_a_second_is_served_as_slowly_and_alone() {
    let (mut sites, nodes) = honest("").await;
    nodes[0].raw("sessions").unwrap().put("large", Bytes::from(vec![b'v'; LARGE])).await.unwrap();
    let before = sites.relay(0).resident_bytes();
    let (connection, to, mut from) = session(&sites).await;
    let asking = tokio::spawn(ask_on(to));
    let reading = tokio::spawn(async move {
        let mut byte = [0];
        while from.read_exact(&mut byte).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    hits(&sites, "session_bytes").await;
    undisturbed(&nodes).await;
    let grown = sites.relay(0).resident_bytes().saturating_sub(before);
    assert!(grown < MORE_RESIDENT_BYTES, "{grown} bytes more");
    assert!(connection.close_reason().is_none() && !reading.is_finished(), "slowness alone ends no session");
    // Its node gets in meanwhile: a newer hello of the same certificate is served, and the slow session ends.
    sites.node(0, "node12").await.raw("sessions").unwrap().get("large").await.unwrap().unwrap();
    closed(&connection).await;
    asking.await.unwrap();
    reading.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_that_are_never_read_are_held_back_alone() {
    let (mut sites, nodes) = honest("").await;
    let hearer = Hearer::start(&nodes[0], "sessions").await;
    let before = sites.relay(0).resident_bytes();
    let (connection, _to, _from) = session(&sites).await;
    let subscribe = Subscribe { cache: "sessions".parse().unwrap(), from: None, snapshot: true };
    let subscribe = of_node(&NodeToRelay::Subscribe(subscribe));
    let mut unread = Vec::new();
    for _ in 0..SUBSCRIPTIONS {
        let (mut to, mut from) = connection.open_bi().await.unwrap();
        to.write_all(&subscribe).await.unwrap();
        assert!(matches!(RelayToNode::decode(&next_frame(&mut from).await).unwrap(), RelayToNode::Subscribed(_)));
        unread.push((to, from));
    }
    let (mut to, mut from) = connection.open_bi().await.unwrap();
    to.write_all(&subscribe).await.unwrap();
    let RelayToNode::Refused(refusal) = RelayToNode::decode(&next_frame(&mut from).await).unwrap() else { panic!() };
    assert_eq!(refusal.code(), Some(ErrorCode::Busy), "one subscription too many");
    hits(&sites, "subscriptions").await;
    // Far more than all of them, and QUIC, could hold: unbounded, it would be 4 GiB.
    let cache = nodes[0].raw("sessions").unwrap();
    for number in 0..128 {
        cache.put(&format!("large-{number}"), Bytes::from(vec![b'v'; LARGE])).await.unwrap();
    }
    undisturbed(&nodes).await;
    until("the one that reads to hear all", async || (hearer.heard().values.len() == 328).then_some(())).await;
    assert_eq!(hearer.heard().gaps, 0);
    let grown = sites.relay(0).resident_bytes().saturating_sub(before);
    assert!(grown < MORE_RESIDENT_BYTES, "{grown} bytes more");
    assert!(connection.close_reason().is_none());
    drop(unread);
}
