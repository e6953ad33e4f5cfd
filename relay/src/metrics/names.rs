//! Every metric by name: what it counts, in base units, with its labels in braces.

use metrics::Unit;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution, in these upper bounds.
    Histogram(Buckets),
}

/// Upper bounds of a histogram's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    /// From 50 µs to 10 s: a request on loopback to a commit on a sick disk.
    Seconds,
    /// Powers of two up to what a commit may hold.
    Records,
}

impl Buckets {
    /// The bounds.
    pub fn bounds(self) -> &'static [f64] {
        match self {
            Buckets::Seconds => &[
                0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
                2.5, 10.0,
            ],
            Buckets::Records => &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0],
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// What it counts.
    pub words: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:expr, $unit:ident, $words:literal;)*) => {
        $(
            #[doc = $words]
            pub const $constant: Metric = Metric { name: $name, kind: $kind, unit: Unit::$unit, words: $words };
        )*

        /// All there are.
        pub const ALL: &[Metric] = &[$($constant,)*];
    };
}

metrics! {
    REQUESTS = "landbridge_requests_total", Kind::Counter, Count,
        "Requests answered, by cache, op and outcome.";
    REQUEST_SECONDS = "landbridge_request_seconds", Kind::Histogram(Buckets::Seconds), Seconds,
        "Time from a request's arrival to its answer, by op.";
    COMMIT_SECONDS = "landbridge_commit_seconds", Kind::Histogram(Buckets::Seconds), Seconds,
        "Time that a commit took to become durable.";
    COMMIT_RECORDS = "landbridge_commit_records", Kind::Histogram(Buckets::Records), Count,
        "Records in a commit.";
    EXPIRATIONS = "landbridge_expirations_total", Kind::Counter, Count,
        "Entries whose lifespan ran out and that were marked so here, by cache.";
    BATCHES = "landbridge_link_batches_total", Kind::Counter, Count,
        "Batches, by peer and direction (sent, received).";
    BATCH_BYTES = "landbridge_link_bytes_total", Kind::Counter, Bytes,
        "Bytes of batches, by peer and direction (sent, received).";
    BATCH_RECORDS = "landbridge_link_records_total", Kind::Counter, Count,
        "Records in batches, by peer and direction (sent, received).";
    DISCARDED = "landbridge_link_discarded_total", Kind::Counter, Count,
        "Batches from a peer that were refused, by peer.";
    CONFLICTS = "landbridge_conflicts_total", Kind::Counter, Count,
        "Conflicts found here: a write was discarded for one that had not seen it, by cache and the peer that brought one of them.";
    BOUNDS_HIT = "landbridge_bounds_hit_total", Kind::Counter, Count,
        "How often a bound was reached, by bound.";
    REFUSED_CONNECTIONS = "landbridge_refused_connections_total", Kind::Counter, Count,
        "Connections that were not let in, by reason.";
    ENDED_CONNECTIONS = "landbridge_ended_connections_total", Kind::Counter, Count,
        "Connections that were closed because their certificate was not good any more, by role (node, peer, admin) and reason.";
    REFUSALS = "landbridge_refusals_total", Kind::Counter, Count,
        "Hellos, frames and streams that were refused to those who were let in, by role (node, peer, admin) and error.";
    READY = "landbridge_ready", Kind::Gauge, Count,
        "1 while the relay serves reads and writes, else 0.";
    UPTIME = "landbridge_uptime_seconds", Kind::Gauge, Seconds,
        "Time since the relay started.";
    HEAD = "landbridge_log_head", Kind::Gauge, Count,
        "Sequence of the newest record of the change log.";
    LOG_BYTES = "landbridge_log_bytes", Kind::Gauge, Bytes,
        "Bytes of records in the log, by state (live, dead).";
    ENTRIES = "landbridge_cache_entries", Kind::Gauge, Count,
        "Live entries, by cache.";
    TOMBSTONES = "landbridge_cache_tombstones", Kind::Gauge, Count,
        "Tombstones and marks of expiry, by cache.";
    CACHE_BYTES = "landbridge_cache_bytes", Kind::Gauge, Bytes,
        "Bytes of keys and values of live entries, by cache.";
    SESSIONS = "landbridge_sessions", Kind::Gauge, Count,
        "Sessions of nodes and commands, by kind (member, other).";
    SUBSCRIPTIONS = "landbridge_subscriptions", Kind::Gauge, Count,
        "Subscriptions that the sessions hold.";
    LINK_STATE = "landbridge_link_state", Kind::Gauge, Count,
        "1 for the state that the link to a peer is in, 0 for each other one, by peer and state.";
    LAG_CHANGES = "landbridge_link_lag_changes", Kind::Gauge, Count,
        "Changes that a peer has not acknowledged, by peer.";
    LAG_SECONDS = "landbridge_link_lag_seconds", Kind::Gauge, Seconds,
        "Age of the oldest change that a peer has not acknowledged, by peer.";
    SKEW = "landbridge_link_skew_seconds", Kind::Gauge, Seconds,
        "A peer's wall clock less this relay's, as last heard, by peer.";
    DRIFT = "landbridge_link_drift_entries", Kind::Gauge, Count,
        "Records that one side of a link should hold and does not, by the last drift check, by peer, cache and the side that lacks them (there: the peer; here: this relay).";
    DRIFT_CHECKED = "landbridge_link_drift_checked_timestamp_seconds", Kind::Gauge, Seconds,
        "When a drift check of what a peer holds was last done, in seconds since 1970, by peer.";
    DIFFERENCES = "landbridge_configuration_differences", Kind::Gauge, Count,
        "In how much a peer's configuration differs from this relay's where it must be equal, by peer.";
    CERTIFICATE_ENDS = "landbridge_certificate_expiry_timestamp_seconds", Kind::Gauge, Seconds,
        "When a certificate ends, in seconds since 1970, by certificate (own, the first of trust_nodes, trust_peers and trust_admins, peer as last shown) and site; days left: (this - time()) / 86400.";
    SITE_VIEW = "landbridge_site_view_members", Kind::Gauge, Count,
        "Nodes in the site view.";
    RELAY_VIEW = "landbridge_relay_view_members", Kind::Gauge, Count,
        "Relays in the relay view, this one included.";
}
