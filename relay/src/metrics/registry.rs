//! One relay's numbers, and how handles on them are made.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
};

use landbridge_protocol::{
    error::Refusal,
    name::{CacheName, SiteName},
};
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::{
    handles::{Bound, CacheMetrics, LinkMetrics, StoreMetrics, of_cache, of_peer},
    names::{self, Kind, Metric},
};
use crate::certs::{RefusedBecause, Role};

const METADATA: Metadata<'static> = Metadata::new("landbridge", Level::INFO, None);

/// One relay's numbers. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    page: PrometheusHandle,
    pub(super) seen: Arc<Mutex<Seen>>,
}

/// What the last report had.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) caches: BTreeSet<CacheName>,
    pub(super) peers: BTreeSet<SiteName>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        let recorder = builder().expect("every histogram has buckets").build_recorder();
        for Metric { name, kind, unit, words } in names::ALL {
            let (name, unit, words) = ((*name).into(), Some(*unit), (*words).into());
            match kind {
                Kind::Counter => recorder.describe_counter(name, unit, words),
                Kind::Gauge => recorder.describe_gauge(name, unit, words),
                Kind::Histogram(_) => recorder.describe_histogram(name, unit, words),
            }
        }
        let page = recorder.handle();
        Self { recorder: Arc::new(recorder), page, seen: Arc::default() }
    }

    /// All numbers, in Prometheus' text format.
    pub fn render(&self) -> String {
        self.page.render()
    }

    /// Puts together what histograms have taken in since the last time. To be called every few seconds also where
    /// nobody reads the page, so that what was taken in does not pile up.
    pub fn upkeep(&self) {
        self.page.run_upkeep();
    }

    /// For a session to count the requests of one cache.
    pub fn cache(&self, cache: &CacheName) -> CacheMetrics {
        CacheMetrics::new(self.clone(), cache)
    }

    /// For both ends of the links with a peer.
    pub fn link(&self, peer: SiteName) -> LinkMetrics {
        LinkMetrics::new(self, peer)
    }

    /// For the writer of the store.
    pub fn store(&self) -> StoreMetrics {
        StoreMetrics::new(self)
    }

    /// Counts that a bound was reached.
    pub fn bound_hit(&self, bound: Bound) {
        self.counter(names::BOUNDS_HIT, vec![Label::from_static_parts("bound", bound.as_str())]).increment(1);
    }

    /// Counts conflicts of a cache, of which the peer brought one side.
    pub fn conflicts(&self, cache: &CacheName, peer: SiteName, count: u64) {
        self.counter(names::CONFLICTS, vec![of_cache(cache), of_peer(peer)]).increment(count);
    }

    /// Counts a connection that was not let in.
    pub fn refused_connection(&self, because: RefusedBecause) {
        let labels = vec![Label::from_static_parts("reason", because.as_str())];
        self.counter(names::REFUSED_CONNECTIONS, labels).increment(1);
    }

    /// Counts a connection that stood, and whose certificate is not good any more.
    pub fn ended_connection(&self, role: Role, because: RefusedBecause) {
        let labels =
            vec![Label::from_static_parts("role", role.as_str()), Label::from_static_parts("reason", because.as_str())];
        self.counter(names::ENDED_CONNECTIONS, labels).increment(1);
    }

    /// Counts a hello, frame or stream of one who was let in that was refused.
    pub fn refused(&self, role: Role, refusal: &Refusal) {
        let error = refusal.code().map_or_else(|| "unknown".to_owned(), |code| snake_case(&format!("{code:?}")));
        let labels = vec![Label::from_static_parts("role", role.as_str()), Label::new("error", error)];
        self.counter(names::REFUSALS, labels).increment(1);
    }

    pub(super) fn counter(&self, metric: Metric, labels: Vec<Label>) -> Counter {
        debug_assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
        self.recorder.register_counter(&Key::from_parts(metric.name, labels), &METADATA)
    }

    pub(super) fn gauge(&self, metric: Metric, labels: Vec<Label>) -> Gauge {
        debug_assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        self.recorder.register_gauge(&Key::from_parts(metric.name, labels), &METADATA)
    }

    pub(super) fn histogram(&self, metric: Metric, labels: Vec<Label>) -> Histogram {
        debug_assert!(matches!(metric.kind, Kind::Histogram(_)), "{}", metric.name);
        self.recorder.register_histogram(&Key::from_parts(metric.name, labels), &METADATA)
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    names::ALL.iter().try_fold(PrometheusBuilder::new(), |builder, metric| match metric.kind {
        Kind::Histogram(buckets) => builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), buckets.bounds()),
        Kind::Counter | Kind::Gauge => Ok(builder),
    })
}
