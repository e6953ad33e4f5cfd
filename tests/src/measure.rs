//! What a third site costs: bytes on the wire, and what one that is frozen costs the other two.

use std::time::Duration;

use landbridge_client::Client;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::{
    load::until_equal,
    metrics::{scrape, total},
    sites::ThreeSites,
    steady::{self, Latencies},
};

const CACHE: &str = "sessions";
/// Keys of each node's load.
const KEYS: u64 = 5_000;
/// How often the lag is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What went over all links together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    /// Bytes of batches.
    pub bytes: f64,
    /// Batches.
    pub batches: f64,
    /// Records in them.
    pub records: f64,
    /// The greatest lag that was seen, in seconds.
    pub lag_seconds: f64,
}

async fn traffic(sites: &ThreeSites) -> Traffic {
    let mut sum = Traffic::default();
    for at in 0..3 {
        let port = sites.port(at);
        let metrics = tokio::task::spawn_blocking(move || scrape(port)).await.expect("a scrape");
        let sent = |name| total(&metrics, name, "direction=\"sent\"");
        sum.bytes += sent("landbridge_link_bytes_total");
        sum.batches += sent("landbridge_link_batches_total");
        sum.records += sent("landbridge_link_records_total");
    }
    sum
}

/// The greatest lag of any link, until it is stopped.
fn watch_lag(ports: [u16; 3]) -> (watch::Sender<bool>, JoinHandle<f64>) {
    let (stop, stopped) = watch::channel(false);
    let watching = tokio::spawn(async move {
        let mut greatest = 0.0_f64;
        while !*stopped.borrow() {
            for port in ports {
                let metrics = tokio::task::spawn_blocking(move || scrape(port)).await.expect("a scrape");
                let lags = metrics.lines().filter(|line| line.starts_with("landbridge_link_lag_seconds{"));
                let lags = lags.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
                greatest = lags.fold(greatest, f64::max);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        greatest
    });
    (stop, watching)
}

/// What goes over the links of three sites while `per_second` puts a second are made at all three together for `span`, with
/// that `forward_after`, until all are equal and `settle` has passed.
///
/// # Panics
/// When a put fails, or the sites don't become equal.
pub async fn forwarding(forward_after: &str, per_second: u32, span: Duration, settle: Duration) -> Traffic {
    let sites = ThreeSites::start_with(&format!("[replication]\nforward_after = \"{forward_after}\"\n")).await;
    let nodes = sites.nodes().await;
    let before = traffic(&sites).await;
    let (stop, watching) = watch_lag([sites.port(0), sites.port(1), sites.port(2)]);
    let loads = nodes.iter().zip(["a", "b", "c"]);
    let loads = loads.map(|(node, prefix)| spawn_load(node, prefix, per_second / 3, span));
    for load in loads.collect::<Vec<_>>() {
        load.await.expect("a load");
    }
    until_equal(&nodes, CACHE).await;
    tokio::time::sleep(settle).await;
    stop.send_replace(true);
    let lag_seconds = watching.await.expect("the watch of the lag");
    let after = traffic(&sites).await;
    Traffic {
        bytes: after.bytes - before.bytes,
        batches: after.batches - before.batches,
        records: after.records - before.records,
        lag_seconds,
    }
}

/// What two sites' nodes had of their puts, without and with the third site's relay frozen.
#[derive(Debug)]
pub struct Frozen {
    /// While all three ran.
    pub without: [Latencies; 2],
    /// While the third was stopped (SIGSTOP).
    pub with: [Latencies; 2],
    /// How long the third took, once it went on, until it held the same.
    pub caught_up_after: Duration,
    /// Entries that all held then.
    pub entries: usize,
}

/// Loads two sites of three with `per_second` puts a second each, for `span` with the third running, and for `span` with it
/// frozen; then that one goes on.
///
/// # Panics
/// When a put fails, or the third site does not catch up.
pub async fn frozen(per_second: u32, span: Duration) -> Frozen {
    let mut sites = ThreeSites::start().await;
    let nodes = sites.nodes().await;
    // Once before it counts, so that both whiles are of the same store.
    both(&nodes, per_second, span.min(Duration::from_secs(5))).await;
    let without = both(&nodes, per_second, span).await;
    sites.relay(2).signal("STOP").await;
    let with = both(&nodes, per_second, span).await;
    sites.relay(2).signal("CONT").await;
    let begun = Instant::now();
    let entries = until_equal(&nodes, CACHE).await;
    Frozen { without, with, caught_up_after: begun.elapsed(), entries }
}

async fn both(nodes: &[Client], per_second: u32, span: Duration) -> [Latencies; 2] {
    let [first, second] = [(0, "a"), (1, "b")].map(|(at, prefix)| spawn_load(&nodes[at], prefix, per_second, span));
    [first.await.expect("a load"), second.await.expect("a load")]
}

fn spawn_load(node: &Client, prefix: &'static str, per_second: u32, span: Duration) -> JoinHandle<Latencies> {
    let node = node.clone();
    tokio::spawn(async move { steady::load(&node, CACHE, prefix, per_second, span, KEYS).await })
}
