//! The crash loop: relays killed with `kill -9` at random moments under load, and everything that was acknowledged looked
//! up afterwards, at both sites.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use landbridge_client::Client;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::sleep;

use crate::{
    hearer::Hearer,
    load::{Known, Load, contents},
    patience::until,
    sites::{NODES, SITES, TwoSites},
};

/// The cache of the loop. It merges by `remove_wins`, as the default configuration has it.
const CACHE: &str = "sessions";

/// What is told of a round.
#[derive(Debug)]
pub struct Round {
    /// From 1.
    pub number: u32,
    /// The sites whose relays were killed.
    pub killed: Vec<&'static str>,
    /// Writes that were acknowledged in it.
    pub writes: u64,
    /// Keys with a known state, all rounds so far.
    pub keys: usize,
    /// How long it took.
    pub took: Duration,
}

/// Runs `rounds` rounds with moments and values drawn from `seed`; tells each.
///
/// # Panics
/// When an acknowledged write or removal is not at both sites, or a listener missed a key's last change.
pub async fn run(rounds: u32, seed: u64, mut tell: impl FnMut(Round)) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sites = TwoSites::start().await;
    let mut nodes = Vec::new();
    for (at, [name, _]) in NODES.into_iter().take(2).enumerate() {
        nodes.push(sites.node(at, name).await);
    }
    let mut listeners = Vec::new();
    for node in &nodes {
        listeners.push(Hearer::start(node, CACHE).await);
    }
    let mut known = Known::new();
    for number in 1..=rounds {
        let begun = Instant::now();
        // eight sets of keys in turn, so that those of the seven rounds before are left as they are, and checked again
        let prefix = |at: usize| format!("{}-{:03}", SITES[at], number % 8);
        let loads = [0, 1].map(|at| Load::start(&nodes[at], CACHE, &prefix(at), 4, 50, rng.random()));
        // Here and below nothing is waited for: the random moment itself is what is tested.
        sleep(Duration::from_millis(rng.random_range(50..800))).await;
        let victims: &[usize] = [&[0][..], &[1], &[0, 1]][rng.random_range(0..3)];
        for at in victims {
            sites.kill(*at).await;
        }
        sleep(Duration::from_millis(rng.random_range(0..500))).await;
        for at in victims {
            sites.spawn(*at);
        }
        for at in victims {
            sites.ready(*at).await;
        }
        sleep(Duration::from_millis(rng.random_range(0..300))).await;
        let mut writes = 0;
        for load in loads {
            let (of_load, count) = load.stop().await;
            known.extend(of_load);
            writes += count;
        }
        verify(&nodes, &listeners, &known, number).await;
        let killed = victims.iter().map(|at| SITES[*at]).collect();
        tell(Round { number, killed, writes, keys: known.len(), took: begun.elapsed() });
    }
}

/// Waits until both relays and both listeners hold exactly what was acknowledged.
///
/// # Panics
/// When they don't in time.
pub async fn verify(nodes: &[Client], listeners: &[Hearer], known: &Known, round: u32) {
    let expected: BTreeMap<String, Bytes> = known.iter().filter_map(|(k, v)| Some((k.clone(), v.clone()?))).collect();
    for at in 0..2 {
        let what = format!("round {round}: every acknowledged state at {}", SITES[at]);
        until(&what, async || {
            let held = contents(&nodes[at], CACHE).await;
            let values: BTreeMap<String, Bytes> = held.into_iter().map(|(k, (_, value))| (k, value)).collect();
            (values == expected).then_some(())
        })
        .await;
        let what = format!("round {round}: every key's last change at the listener of {}", SITES[at]);
        until(&what, async || (listeners[at].heard().values == expected).then_some(())).await;
    }
    let [first, second] = [contents(&nodes[0], CACHE).await, contents(&nodes[1], CACHE).await];
    assert!(first == second, "round {round}: equal values, but versions that differ");
}
