//! The relay, as an operator sees it.

use std::{fmt, path::PathBuf, sync::Arc};

use landbridge_protocol::{
    blob::Blob,
    error::{ErrorCode, Refusal},
    frame::admin::{
        BackupPart, CacheReport, ConflictRecord, ConflictReport, Conflicts, Drift, LinkReport, Reloaded, Status,
    },
    name::{CacheName, SiteName},
    record::{Kind, Record},
    time::Timestamp,
    vector::Vector,
};
use tokio::{sync::watch, time::Instant};

use super::{readiness::Readiness, reload::Reloading, shelf::Stock};
use crate::{
    admin::Operated,
    config::{CacheConfig, RelayConfig},
    engine::header::ReadError,
    link::Links,
    session::{Roster, show_view},
    store::{Backup, KeptConflict},
};

/// Everything that a report is made of.
pub(super) struct Reporter {
    pub(super) reloading: Reloading,
    pub(super) stock: Stock,
    pub(super) roster: Roster,
    pub(super) links: Links,
    pub(super) readiness: watch::Receiver<Readiness>,
    pub(super) started: Instant,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reporter({})", self.config().site)
    }
}

/// A backup under way, for the operator.
pub(super) struct Parts(Backup);

impl Iterator for Parts {
    type Item = Result<BackupPart, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        let unreadable = |error: ReadError| Refusal::new(ErrorCode::Internal, error.to_string());
        let part = self.0.next_part().map_err(unreadable).transpose()?;
        Some(part.map(|part| BackupPart {
            bytes: Blob(part.bytes),
            through: part.through.get(),
            head: part.head.get(),
            last: part.is_last,
        }))
    }
}

impl Operated for Reporter {
    type Backup = Parts;

    fn status(&self) -> Status {
        let Stock { store, clock, .. } = &self.stock;
        let now = clock.now();
        let readiness = match &*self.readiness.borrow() {
            Readiness::Draining => Readiness::Draining,
            _ => Readiness::of(store, now),
        };
        let (log_live_bytes, log_dead_bytes) = store.log_bytes();
        let config = self.config();
        let mut caches: Vec<_> = config.caches.iter().map(|cache| self.cache(cache)).collect();
        caches.sort_by(|a, b| a.name.cmp(&b.name));
        let (origin, head, seen, dropped) =
            store.view(|replica| (replica.origin(), replica.head(), listed(replica.seen()), listed(replica.dropped())));
        Status {
            site: config.site,
            origin: origin.to_string(),
            software: env!("CARGO_PKG_VERSION").into(),
            ready: readiness == Readiness::Ready,
            not_ready_because: readiness.not_ready_because(),
            head: head.get(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            log_live_bytes,
            log_dead_bytes,
            seen,
            dropped,
            sessions: self.roster.report(now),
            links: self.links.reports(),
            caches,
            site_view: show_view(&self.roster.view().borrow()),
            relay_view: show_view(&self.links.view().borrow()),
            certificates: self.reloading.renewal.report(),
            former_sites: config.former_sites.clone(),
            warnings: self.warnings(now),
        }
    }

    fn conflicts(&self, cache: Option<&CacheName>, after: u64, limit: usize) -> Result<Conflicts, Refusal> {
        let unreadable = |error: ReadError| Refusal::new(ErrorCode::Internal, error.to_string());
        let (kept, more_after) = self.stock.store.conflicts(cache, after, limit).map_err(unreadable)?;
        if let (Some(cache), true) = (cache, kept.is_empty() && after == 0) {
            // A slip of the pen must not read as good news; of a cache that was removed they are told.
            self.stock.terms.borrow().cache(cache)?;
        }
        Ok(Conflicts { conflicts: kept.into_iter().filter_map(conflict).collect(), more_after })
    }

    async fn backup(&self) -> Result<Parts, Refusal> {
        self.stock.store.backup().await.map(Parts)
    }

    async fn reload(&self, file: Option<PathBuf>) -> Result<Reloaded, Refusal> {
        self.reloading.reload(file).await
    }

    fn drift(&self, peer: Option<SiteName>, cache: Option<CacheName>, begin: Option<bool>) -> Result<Drift, Refusal> {
        if let Some(cache) = &cache {
            self.stock.terms.borrow().cache(cache)?;
        }
        self.links.drift(peer, cache.as_ref(), begin)
    }

    async fn set_offline(&self, peer: SiteName, offline: bool) -> Result<LinkReport, Refusal> {
        if offline { self.links.take_offline(peer) } else { self.links.bring_online(peer) }
    }
}

impl Reporter {
    /// The configuration that holds.
    pub(super) fn config(&self) -> Arc<RelayConfig> {
        self.reloading.config.borrow().clone()
    }

    fn warnings(&self, now: Timestamp) -> Vec<String> {
        let strange = self.stock.store.view(|replica| replica.strange());
        let certificates = self.reloading.renewal.held.in_force().warnings(now);
        strange.iter().map(ToString::to_string).chain(certificates).collect()
    }

    fn cache(&self, cache: &CacheConfig) -> CacheReport {
        let stats = self.stock.store.view(|replica| replica.stats(&cache.name)).unwrap_or_default();
        CacheReport {
            name: cache.name.clone(),
            merge: cache.merge.as_str().into(),
            replicate: cache.replicate.as_str().into(),
            entries: stats.entries,
            tombstones: stats.tombstones,
            bytes: stats.bytes,
            conflicts: self.stock.store.view(|replica| replica.conflicts(&cache.name)),
        }
    }
}

fn conflict(kept: KeptConflict) -> Option<ConflictReport> {
    let KeptConflict { number, conflict, loser_bytes, winner_bytes } = kept;
    let because = conflict.because().as_str().into();
    let key = conflict.loser.key.clone()?;
    Some(ConflictReport {
        number,
        at: conflict.at,
        cache: conflict.loser.cache.clone(),
        key,
        merge: conflict.merge.as_str().into(),
        because,
        peer: conflict.peer,
        winner: conflict.winner.map(|winner| side(winner, winner_bytes)),
        loser: side(conflict.loser, loser_bytes),
    })
}

fn side(record: Record, value_bytes: u64) -> ConflictRecord {
    ConflictRecord {
        kind: match record.kind {
            Kind::Live => "live",
            Kind::Tombstone => "removed",
            Kind::Mark => "expired",
            Kind::Clear => "cleared",
        }
        .into(),
        version: record.version.to_string(),
        birth: record.birth.to_string(),
        node: record.node,
        deadline: record.deadline,
        context: listed(&record.context),
        value: Blob(record.value),
        value_bytes,
    }
}

fn listed(vector: &Vector) -> Vec<(String, u64)> {
    vector.iter().map(|(origin, clock)| (origin.to_string(), clock.bits())).collect()
}
