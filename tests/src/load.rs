//! A load that remembers what was acknowledged: writers that each own some keys, put and remove them in turn, and know
//! for each key what its last acknowledged state is.

use std::collections::BTreeMap;

use bytes::Bytes;
use landbridge_client::{Client, Error, RawCache};
use landbridge_protocol::time::Timestamp;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinSet};

use crate::patience::until;

/// What is known of a key: the bytes last acknowledged, or that it was removed.
pub type Known = BTreeMap<String, Option<Bytes>>;

/// A running load.
#[derive(Debug)]
pub struct Load {
    stop: watch::Sender<bool>,
    writers: JoinSet<(Known, u64)>,
}

impl Load {
    /// Starts `writers` writers on `client`, each with `keys` keys of its own in `cache`. Each writes one thing after the
    /// other; every eighth write is a removal.
    ///
    /// # Panics
    /// In a writer, when a write is refused for good.
    pub fn start(client: &Client, cache: &str, prefix: &str, writers: u32, keys: u32, seed: u64) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut set = JoinSet::new();
        for writer in 0..writers {
            let cache = client.raw(cache).expect("a cache's name");
            let prefix = format!("{prefix}-{writer:02}");
            let rng = StdRng::seed_from_u64(seed ^ u64::from(writer));
            set.spawn(write(cache, prefix, keys, rng, stopped.clone()));
        }
        Self { stop, writers: set }
    }

    /// Ends it after the writes under way; what is known of each key, and how many writes were acknowledged.
    ///
    /// # Panics
    /// When a writer panicked.
    pub async fn stop(mut self) -> (Known, u64) {
        self.stop.send_replace(true);
        let (mut all, mut count) = (Known::new(), 0);
        while let Some(done) = self.writers.join_next().await {
            let (known, writes) = done.expect("a writer panicked");
            all.extend(known);
            count += writes;
        }
        (all, count)
    }
}

async fn write(
    cache: RawCache,
    prefix: String,
    keys: u32,
    mut rng: StdRng,
    stopped: watch::Receiver<bool>,
) -> (Known, u64) {
    let (mut known, mut count) = (Known::new(), 0_u64);
    while !*stopped.borrow() {
        let key = format!("{prefix}-{:04}", rng.random_range(0..keys));
        if rng.random_ratio(1, 8) {
            retrying(&cache, &key, None).await;
            known.insert(key, None);
        } else {
            let mut value = format!("{key} {count} ").into_bytes();
            value.resize(rng.random_range(value.len()..256), b'.');
            let value = Bytes::from(value);
            retrying(&cache, &key, Some(&value)).await;
            known.insert(key, Some(value));
        }
        count += 1;
    }
    (known, count)
}

/// Puts the value, or removes the key, and tries again what timed out: the writer is the only one of its keys, so doing it
/// twice is doing it.
async fn retrying(cache: &RawCache, key: &str, value: Option<&Bytes>) {
    for _ in 0..10 {
        let done = match value {
            Some(value) => cache.put(key, value.clone()).await.map(drop),
            None => cache.remove(key).await.map(drop),
        };
        match done {
            Ok(()) => return,
            // A try that was given up may have been done after the next one, and have taken its trace away.
            Err(e) if e.is_retryable() || matches!(e, Error::OutcomeUnknown(_)) => {}
            Err(e) => panic!("a write was refused for good: {e}"),
        }
    }
    panic!("ten tries of a write timed out");
}

/// All entries of a cache as one node reads them, page by page.
///
/// # Panics
/// When reading fails.
pub async fn contents(client: &Client, cache: &str) -> BTreeMap<String, (String, Bytes)> {
    let cache = client.raw(cache).expect("a cache's name");
    let mut entries = cache.entries(Bytes::new());
    let mut all = BTreeMap::new();
    while let Some(entry) = entries.next().await {
        let entry = entry.expect("reading a page");
        let key = String::from_utf8_lossy(entry.key.as_bytes()).into_owned();
        all.insert(key, (entry.version.to_string(), entry.value));
    }
    all
}

/// As [`contents`], with the deadlines too: all that has to be equal at all sites.
///
/// # Panics
/// When reading fails.
pub async fn complete(client: &Client, cache: &str) -> BTreeMap<Bytes, (String, Option<Timestamp>, Bytes)> {
    let mut entries = client.raw(cache).expect("a cache's name").entries(Bytes::new());
    let mut all = BTreeMap::new();
    while let Some(entry) = entries.next().await {
        let entry = entry.expect("reading a page");
        all.insert(entry.key.into_bytes(), (entry.version.to_string(), entry.deadline, entry.value));
    }
    all
}

/// Waits until all of them read the same of a cache, and gives how many entries that is.
///
/// # Panics
/// When they stay different.
pub async fn until_equal(nodes: &[Client], cache: &str) -> usize {
    until(&format!("{cache} to be equal everywhere"), async || {
        let first = complete(&nodes[0], cache).await;
        for node in &nodes[1..] {
            if complete(node, cache).await != first {
                return None;
            }
        }
        Some(first.len())
    })
    .await
}
