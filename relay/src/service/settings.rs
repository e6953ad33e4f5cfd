//! What the configuration means to the parts: theirs are plain values, without files and lines.

use landbridge_protocol::{time::Millis, version::RunId};

use crate::{
    config::{self, RelayConfig},
    engine::{
        guards::Guards,
        link::{Backoff, OfflinePolicy, SenderConfig},
        replica::{CacheConfig, ReplicaConfig, Replicate},
    },
    link::PeerOptions,
    store::{StoreLimits, StoreOptions},
};

/// Keys held here that one command of a reconcile goes through: about as many as a range has records.
const RECONCILE_KEYS: usize = landbridge_protocol::frame::MAX_BATCH_RECORDS;

/// What decides by rules must know.
pub(super) fn replica(config: &RelayConfig) -> ReplicaConfig {
    let replication = &config.replication;
    ReplicaConfig {
        site: config.site,
        peers: config.peers.iter().map(|peer| peer.site).collect(),
        former_sites: config.former_sites.iter().copied().collect(),
        caches: config.caches.iter().map(|cache| (cache.name.clone(), self::cache(cache))).collect(),
        max_clock_skew: replication.max_clock_skew,
        tombstone_min_age: replication.tombstone_min_age,
        tombstone_max_age: replication.tombstone_max_age,
        max_tombstones: replication.max_tombstones as u64,
        max_runs: replication.max_runs,
        reconcile_keys: RECONCILE_KEYS,
        // Off: a time that no link lives to see.
        forward_after: replication.forward_after.on().unwrap_or(Millis::new(u64::MAX)),
        fill_wait: replication.fill_wait,
        guards: Guards::all(),
    }
}

fn cache(cache: &config::CacheConfig) -> CacheConfig {
    CacheConfig {
        merge: cache.merge,
        replicate: match cache.replicate {
            config::Replicate::Async => Replicate::Async,
            config::Replicate::Local => Replicate::Local,
        },
        lifespan: cache.lifespan,
        max_entry_bytes: u32::try_from(cache.max_entry_bytes.get()).unwrap_or(u32::MAX),
    }
}

/// What the store is opened with, for a run of that number.
pub(super) fn store(config: &RelayConfig, recover: bool, run: RunId) -> StoreOptions {
    let limits = &config.limits;
    StoreOptions {
        dir: config.store.dir.clone(),
        fsync: config.store.fsync,
        recover,
        replica: replica(config),
        run,
        limits: StoreLimits {
            max_inbox_commands: limits.max_inbox,
            max_group_commands: limits.max_commit_commands,
            max_group_bytes: limits.max_commit_bytes.as_usize(),
            min_free_bytes: config.store.min_free_bytes.get(),
            progress_every: config.store.progress_every.into(),
            max_conflicts: limits.max_conflicts as u64,
            ..StoreLimits::default()
        },
    }
}

/// How each link behaves.
pub(super) fn sender(config: &RelayConfig) -> SenderConfig {
    let replication = &config.replication;
    SenderConfig {
        window: replication.max_batches_in_flight,
        batch_bytes: replication.max_batch_bytes.as_usize(),
        batch_records: replication.max_batch_records,
        heartbeat_every: replication.heartbeat_every,
        silence: config.limits.idle_timeout,
        drift_check_every: replication.drift_check_every.on(),
        backoff: Backoff { first: replication.backoff_min, cap: replication.backoff_max },
        ..SenderConfig::default()
    }
}

/// The peers, as links take them.
pub(super) fn peers(config: &RelayConfig) -> Vec<PeerOptions> {
    config.peers.iter().map(peer).collect()
}

fn peer(peer: &config::PeerConfig) -> PeerOptions {
    let after = peer.after_failures.on();
    PeerOptions {
        site: peer.site,
        address: peer.address.to_string(),
        offline: peer.offline,
        offline_policy: after.map(|failures| OfflinePolicy {
            after_failures: u32::try_from(failures).unwrap_or(u32::MAX),
            min_wait: peer.min_wait,
        }),
        max_bytes_per_second: peer.max_bytes_per_second.on().map(config::ByteSize::get),
    }
}
