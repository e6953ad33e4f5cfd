//! A relay as all benchmarks have it: one cache that replicates, and defaults for the rest.

use landbridge_protocol::{
    name::{CacheName, NodeName, SiteName},
    record::Merge,
    time::Millis,
};
use landbridge_relay::engine::{
    guards::Guards,
    replica::{CacheConfig, ReplicaConfig, Replicate},
};

pub(crate) fn site(name: &str) -> SiteName {
    SiteName::new(name).expect("a name")
}
pub(crate) fn cache() -> CacheName {
    CacheName::new("sessions").expect("a name")
}
pub(crate) fn node() -> NodeName {
    NodeName::new("node11").expect("a name")
}

pub(crate) fn config(own: &str, peers: &[&str]) -> ReplicaConfig {
    let of =
        CacheConfig { merge: Merge::RemoveWins, replicate: Replicate::Async, lifespan: None, max_entry_bytes: 1 << 20 };
    ReplicaConfig {
        site: site(own),
        peers: peers.iter().map(|peer| site(peer)).collect(),
        former_sites: Default::default(),
        caches: [(cache(), of)].into(),
        max_clock_skew: Millis::from_secs(60),
        tombstone_min_age: Millis::from_secs(60),
        tombstone_max_age: Millis::from_secs(86_400),
        max_tombstones: 1_000_000,
        max_runs: 16_384,
        reconcile_keys: 4096,
        forward_after: Millis::from_secs(2),
        fill_wait: Millis::ZERO,
        guards: Guards::all(),
    }
}
