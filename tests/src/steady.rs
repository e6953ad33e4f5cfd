//! A load that does not wait: so many puts a second, however long each takes, and how long each took from the moment at
//! which it was due.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use landbridge_client::Client;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

/// Bytes of each value.
const VALUE_BYTES: usize = 256;
/// Puts that may be under way; when it is reached, the load falls behind and that shows in how long the puts took.
const MAX_UNDER_WAY: usize = 4096;

/// How long puts took, shortest first.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// How many puts there were.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// As long as that share of the puts took at most.
    pub fn share(&self, share: f64) -> Duration {
        let at = ((self.0.len() as f64 * share) as usize).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |share| self.share(share).as_secs_f64() * 1000.0;
        let (half, most, all) = (ms(0.5), ms(0.99), ms(1.0));
        write!(f, "{} puts, half within {half:.1} ms, 99 % within {most:.1} ms, all within {all:.1} ms", self.count())
    }
}

/// Puts `per_second` entries for `span`, over `keys` keys that begin with `prefix`.
///
/// # Panics
/// When a put fails.
pub async fn load(node: &Client, cache: &str, prefix: &str, per_second: u32, span: Duration, keys: u64) -> Latencies {
    let cache = node.raw(cache).expect("a cache's name");
    let places = Arc::new(Semaphore::new(MAX_UNDER_WAY));
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut puts = JoinSet::new();
    let count = (span.as_secs_f64() * f64::from(per_second)) as u64;
    for number in 0..count {
        let due: Instant = ticks.tick().await;
        let place = places.clone().acquire_owned().await.expect("never closed");
        let (cache, key) = (cache.clone(), format!("{prefix}-{:06}", number % keys));
        let mut value = format!("{key} {number:08} ").into_bytes();
        value.resize(VALUE_BYTES, b'.');
        puts.spawn(async move {
            cache.put(key.as_str(), Bytes::from(value)).await.expect("a put of a steady load");
            drop(place);
            due.elapsed()
        });
    }
    let mut all: Vec<Duration> = puts.join_all().await;
    all.sort_unstable();
    Latencies(all)
}
