//! What is told of a measurement.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    BenchArgs,
    load::{Counts, Span},
    relays::site,
    usage::Usage,
};

/// The JSON of `--json`: the parameters, and what was measured.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    #[serde(flatten)]
    pub(super) parameters: BenchArgs,
    /// Operations that ended within the measured time; of `event` the events that came, in all subscriptions.
    pub(super) operations: u64,
    pub(super) operations_per_second: f64,
    /// Latencies of requests, from when each should have begun; of `event` until its event came.
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) max_us: f64,
    pub(super) mean_us: f64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// Of `event`: puts that began within the measured time and were answered.
    pub(super) puts: Option<u64>,
    /// Of `event`: events that did not come to a subscription, as another put of the key came first.
    pub(super) coalesced: u64,
    /// Of `event`: the median of each quarter of the measured time; nothing for one in which nothing was put.
    pub(super) quarters_p50_us: Option<[Option<f64>; 4]>,
    /// Processor time of this command.
    pub(super) load_cpu_seconds: Option<f64>,
    /// Own relays.
    pub(super) relays: Vec<RelayFigures>,
}

/// What a relay used within the measured time.
#[derive(Debug, Serialize)]
pub(super) struct RelayFigures {
    pub(super) site: String,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) cpu_us_per_operation: Option<f64>,
    pub(super) rss_bytes: Option<u64>,
}

impl Figures {
    pub(super) fn new(args: &BenchArgs, counts: Counts, span: Span) -> Self {
        let (latencies, hearing) = (&counts.latencies, counts.hearing.as_ref());
        let us = |nanos: u64| nanos as f64 / 1000.0;
        let median = |of: &Histogram<u64>| (!of.is_empty()).then(|| us(of.value_at_quantile(0.5)));
        Self {
            parameters: args.clone(),
            operations: counts.operations,
            operations_per_second: counts.operations as f64 / (span.end - span.begin).as_secs_f64(),
            p50_us: us(latencies.value_at_quantile(0.5)),
            p99_us: us(latencies.value_at_quantile(0.99)),
            p999_us: us(latencies.value_at_quantile(0.999)),
            max_us: us(latencies.max()),
            mean_us: latencies.mean() / 1000.0,
            errors: counts.errors,
            first_error: counts.first_error,
            puts: hearing.map(|hearing| hearing.puts),
            coalesced: hearing.map_or(0, |hearing| hearing.coalesced),
            quarters_p50_us: hearing.map(|hearing| hearing.quarters.each_ref().map(median)),
            load_cpu_seconds: None,
            relays: Vec::new(),
        }
    }
}

impl RelayFigures {
    pub(super) fn new(at: usize, before: Option<Usage>, after: Option<Usage>, operations: u64) -> Self {
        let cpu_seconds = Usage::between(before, after);
        let each = |seconds: f64| (operations > 0).then(|| seconds * 1e6 / operations as f64);
        Self {
            site: site(at),
            cpu_seconds,
            cpu_us_per_operation: cpu_seconds.and_then(each),
            rss_bytes: after.map(|usage| usage.rss_bytes),
        }
    }
}
