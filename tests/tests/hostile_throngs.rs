//! Promises 6 and 7: hundreds of hostile connections at each protocol, with certificates that let them in, and thousands of
//! handshakes that never end. Honest work goes on, all is bounded and counted, and nothing is left of it.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use landbridge_protocol::frame::{ALPN_ADMIN, ALPN_NODE, ALPN_PEER};
use landbridge_tests::{
    load::{Load, contents, until_equal},
    metrics::{scrape, total},
    patience::until_true,
    stranger::{Stranger, honest},
    wire::{Way, Weather, Wire},
};
use quinn::{Connection, SendStream};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{sync::Semaphore, task::JoinSet};

/// Hostile connections at each protocol.
const THRONG: u64 = 300;
/// Of those, handshakes that this test does at once.
const AT_ONCE: usize = 16;
/// Handshakes that never end.
const HALF_OPEN: usize = 1000;
/// What a relay may take more in memory for any of it.
const MORE_RESIDENT_BYTES: u64 = 256 << 20;

/// All golden frames of a conversation.
fn golden(conversation: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../protocol/golden/{conversation}.hex"));
    let text = fs::read_to_string(path).unwrap();
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for line in text.lines() {
        match frames.last_mut() {
            Some(frame) if !line.starts_with('#') => {
                frame.extend((0..line.len() / 2).map(|at| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).unwrap()));
            }
            _ => frames.push(Vec::new()),
        }
    }
    assert!(frames.len() > 3 && frames.iter().all(|frame| frame.len() >= 14), "{conversation}.hex has changed");
    frames
}

/// What one of a throng has to say: nothing, noise, a changed frame, a frame without end, or one that stops midway.
fn words(of: u64, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut chance = StdRng::seed_from_u64(of);
    let mut one = frames[chance.random_range(0..frames.len())].clone();
    match of % 5 {
        0 => Vec::new(),
        1 => (0..2048).map(|_| chance.random()).collect(),
        2 => {
            for _ in 0..chance.random_range(1..4) {
                let at = chance.random_range(4..one.len());
                one[at] = chance.random();
            }
            one
        }
        3 => {
            let endless = [&(4_000_000_u32).to_be_bytes()[..], &frames[0][4..14]].concat();
            [endless, vec![0x93; 64 << 10]].concat()
        }
        _ => one[..chance.random_range(1..one.len())].to_vec(),
    }
}

/// Comes with all connections, and stays.
async fn throng(stranger: Stranger, conversation: &str, seed: u64) -> Vec<(Connection, Option<SendStream>)> {
    let (stranger, frames) = (Arc::new(stranger), Arc::new(golden(conversation)));
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut coming = JoinSet::new();
    for of in 0..THRONG {
        let (stranger, frames, places) = (stranger.clone(), frames.clone(), places.clone());
        coming.spawn(async move {
            let _place = places.acquire().await.unwrap();
            let connection = stranger.connect().await.ok()?;
            let words = words(seed ^ of, &frames);
            // Whoever was turned away by now can't open a stream, and need not.
            let mut stream = connection.open_bi().await.ok().map(|(to, _)| to);
            if let Some(to) = &mut stream {
                drop(to.write_all(&words).await);
            }
            Some((connection, stream))
        });
    }
    coming.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throngs_at_every_protocol_disturb_nobody() {
    let (mut sites, nodes) = honest("[limits]\nhello_timeout = \"2s\"\n").await;
    let load = Load::start(&nodes[0], "sessions", "honest", 2, 20, 3);
    let before = sites.relay(0).resident_bytes();
    // Kept: what was begun is not ended by them.
    let mut all = Vec::new();
    for (conversation, certificate, alpn) in
        [("node", "node12", ALPN_NODE), ("peer", "site2.relay", ALPN_PEER), ("admin", "site1.admin", ALPN_ADMIN)]
    {
        let came = throng(Stranger::new(&sites, 0, certificate, alpn), conversation, 1 << 20).await;
        assert!(came.len() as u64 > THRONG / 2, "{conversation}: {} came in", came.len());
        let refused = format!("landbridge_refusals_total{{role=\"{conversation}\",error=\"malformed\"}}");
        until_true(&refused, || total(&scrape(sites.port(0)), &refused, "") > 0.0).await;
        let grown = sites.relay(0).resident_bytes().saturating_sub(before);
        assert!(grown < MORE_RESIDENT_BYTES, "{conversation}: {grown} bytes more");
        all.extend(came);
    }
    for bound in ["hello_timeout", "peer_connections", "operators"] {
        let hit = format!("landbridge_bounds_hit_total{{bound=\"{bound}\"}}");
        until_true(&hit, || total(&scrape(sites.port(0)), &hit, "") > 0.0).await;
    }
    let (known, _) = load.stop().await;
    until_equal(&nodes, "sessions").await;
    let held = contents(&nodes[0], "sessions").await;
    assert_eq!(held.len(), known.values().flatten().count());
    assert!(!sites.log(0).contains("panicked"), "{}", sites.log(0));
    drop(all);
    // All places are free again: an operator and a node get in.
    sites.status(0).await;
    sites.node(0, "node12").await.raw("sessions").unwrap().put("after", Bytes::from_static(b"1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_never_end_keep_nobody_out_for_long() {
    let (sites, nodes) = honest("[limits]\nhello_timeout = \"2s\"\n").await;
    let load = Load::start(&nodes[0], "sessions", "honest", 2, 20, 4);
    // Nothing that the relay says arrives.
    let wire = Wire::to(sites.port(0), 1).await;
    wire.set_way(Way::Back, &Weather::CUT);
    let stranger = Stranger::new(&sites, 0, "node12", ALPN_NODE).through(wire.port());
    let dials: Vec<_> = (0..HALF_OPEN).map(|_| stranger.dial()).collect();
    let crowded = "landbridge_bounds_hit_total{bound=\"handshakes\"}";
    until_true(crowded, || total(&scrape(sites.port(0)), crowded, "") > 0.0).await;
    drop(dials);
    let newcomer = sites.node(0, "node12").await;
    newcomer.raw("sessions").unwrap().put("newcomer", Bytes::from_static(b"1")).await.unwrap();
    let (known, _) = load.stop().await;
    assert_eq!(until_equal(&nodes, "sessions").await, known.values().flatten().count() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_say_nothing_keep_out_neither_operators_nor_peers() {
    let (mut sites, nodes) = honest("[limits]\nhello_timeout = \"60s\"\nmax_sessions = 8\n").await;
    let stranger = Stranger::new(&sites, 0, "node12", ALPN_NODE);
    let full = "landbridge_bounds_hit_total{bound=\"connections\"}";
    let mut silent = Vec::new();
    // All from one address, as all the others here.
    while total(&scrape(sites.port(0)), full, "") == 0.0 {
        assert!(silent.len() as u64 <= THRONG, "{} connections of nodes are in", silent.len());
        silent.push(stranger.connect().await);
    }
    let (code, _, err) = sites.command(0, &["status"]).await;
    assert_eq!(code, Some(0), "{err}");
    sites.kill(2).await;
    sites.spawn(2);
    sites.ready(2).await;
    nodes[1].raw("sessions").unwrap().put("from-a-peer", Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(until_equal(&nodes, "sessions").await, 1);
    drop(silent);
}
