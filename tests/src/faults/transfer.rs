//! Kills in the middle of a state transfer, and of compaction: the first site's disk is wiped, its relay started, and killed
//! again before it is filled, while the second site's keys are written over all the time, so that both logs are compacted.

use std::{
    fs,
    time::{Duration, Instant},
};

use bytes::Bytes;
use landbridge_client::Client;
use landbridge_protocol::record::Key;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    crash::verify,
    hearer::Hearer,
    load::{Known, Load},
    metrics::{scrape, total},
    patience::until,
    sites::TwoSites,
};

const CACHE: &str = "sessions";
/// Entries that lie at the second site all the time, and the bytes of each.
const LYING: usize = 4000;
const VALUE_BYTES: usize = 1000;
/// So that a transfer takes half a second, and kills hit it.
const SLOWLY: &str = "max_bytes_per_second = \"8MiB\"\n";
/// A handshake with one that was killed in the middle of it is given up after that time only.
const SETTINGS: &str = "[replication]\nconnect_timeout = \"500ms\"\nbackoff_max = \"200ms\"\n";
/// Keys written over, and the bytes of all of them, about.
const KEYS: u32 = 30;

/// What is told of a round.
#[derive(Debug)]
pub struct Round {
    /// From 1.
    pub number: u32,
    /// Kills of the wiped relay before it was ready, thus in the middle of the transfer.
    pub in_transfer: u32,
    /// Kills of it after.
    pub after: u32,
    /// Whether the relay that fills it was killed too.
    pub source: bool,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Bytes in the second site's log: what was written there in all rounds, less what compaction took.
    pub log_bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// Runs `rounds` rounds with moments drawn from `seed`; tells each.
///
/// # Panics
/// When an acknowledged write or removal is not at both sites, or the listener missed a key's last change.
pub async fn run(rounds: u32, seed: u64, mut tell: impl FnMut(Round)) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sites = TwoSites::prepare("");
    sites.set_peer(1, 0, SLOWLY);
    (0..2).for_each(|at| sites.configure(at, SETTINGS));
    sites.start_all().await;
    let nodes = sites.nodes().await;
    let mut known = lying(&nodes[1], &mut rng).await;
    let mut listeners = Vec::new();
    for node in &nodes {
        listeners.push(Hearer::start(node, CACHE).await);
    }
    for number in 1..=rounds {
        let begun = Instant::now();
        let load = Load::start(&nodes[1], CACHE, "over", 4, KEYS, rng.random());
        let source = rng.random_ratio(1, 3);
        let (mut in_transfer, mut after) = (0, 0);
        for kill in 0..rng.random_range(1..4) {
            if kill == 0 {
                sites.kill(0).await;
                fs::remove_dir_all(sites.store(0)).expect("a store can be wiped");
            }
            let before = sites.log(0).len();
            sites.spawn(0);
            // Not ready yet, so that what kills it hits the transfer mostly.
            until("the relay to wait for a peer or to be ready", async || {
                let said = sites.log(0).split_off(before);
                (said.contains("is not yet filled") || said.contains("the relay is ready")).then_some(())
            })
            .await;
            sleep(Duration::from_millis(rng.random_range(0..250))).await;
            if source && kill == 0 {
                sites.kill(1).await;
                sites.spawn(1);
                sites.ready(1).await;
            }
            sites.kill(0).await;
            match sites.log(0).split_off(before).contains("the relay is ready") {
                true => after += 1,
                false => in_transfer += 1,
            }
        }
        sites.spawn(0);
        sites.ready(0).await;
        let (of_load, writes) = load.stop().await;
        known.extend(of_load);
        verify(&nodes, &listeners, &known, number).await;
        let port = sites.port(1);
        let metrics = tokio::task::spawn_blocking(move || scrape(port)).await.expect("a scrape");
        let log_bytes = total(&metrics, "landbridge_log_bytes", "") as u64;
        tell(Round { number, in_transfer, after, source, writes, log_bytes, took: begun.elapsed() });
    }
}

async fn lying(node: &Client, rng: &mut StdRng) -> Known {
    let cache = node.raw(CACHE).expect("a cache's name");
    let mut known = Known::new();
    for part in 0..LYING / 500 {
        let puts: Vec<(String, Bytes)> = (0..500)
            .map(|at| {
                let value: Vec<u8> = (0..VALUE_BYTES).map(|_| rng.random()).collect();
                (format!("lying-{:04}", part * 500 + at), value.into())
            })
            .collect();
        let keyed = puts.iter().map(|(key, value)| (Key::new(key.clone()).expect("a key"), value.clone()));
        cache.put_all(keyed).await.expect("puts");
        known.extend(puts.into_iter().map(|(key, value)| (key, Some(value))));
    }
    known
}
