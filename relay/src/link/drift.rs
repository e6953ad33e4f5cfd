//! What the drift checks of a link have found, both ways: answered, kept, told.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use landbridge_protocol::{
    frame::{
        admin::{DriftCache, DriftRecord, DriftSide, DriftSummary, LinkDrift},
        peer::{DriftEnd, DriftFound, DriftPart, DriftSums, DriftUnequal},
    },
    name::{CacheName, SiteName},
    record::Kind,
    time::Timestamp,
};

use super::{peer::Peer, view::RelayView};
use crate::{
    engine::{
        drift::{DriftOrder, DriftReport, Lacked, lacked},
        link::SenderInput,
    },
    store::Store,
};

/// What this relay was found to lack by the peer's checks, and what was told.
#[derive(Debug, Default)]
pub(super) struct Drift {
    here: Mutex<DriftReport>,
    asked: AtomicU64,
    told: Mutex<[Vec<(CacheName, u64)>; 2]>,
}

/// The peer's check of what this relay holds, as it comes in on one stream.
#[derive(Debug, Default)]
pub(super) struct Checked(DriftReport);

impl Checked {
    /// Compares sums.
    pub(super) fn sums(&mut self, peer: SiteName, sums: &DriftSums, store: &Store) -> DriftUnequal {
        let DriftSums { cache, sums } = sums;
        let (left_out, buckets) = store.view(|replica| match replica.undecidable(&peer, cache) {
            Some(why) => (Some(why), Vec::new()),
            None => (None, replica.drift_unequal(cache, sums)),
        });
        match &left_out {
            Some(why) => drop(self.0.left_out.insert(cache.clone(), why.clone())),
            None => drop(self.0.caches.entry(cache.clone()).or_default()),
        }
        DriftUnequal { buckets, left_out }
    }

    /// Looks up what the peer has listed.
    pub(super) fn part(&mut self, peer: SiteName, part: &DriftPart, store: &Store, now: Timestamp) -> DriftFound {
        let DriftPart { cache, seen, checksums, records } = part;
        let (left_out, findings) = store.view(|replica| match replica.undecidable(&peer, cache) {
            Some(why) => (Some(why), Vec::new()),
            None => (None, replica.drift_found(cache, seen, (records, checksums), now)),
        });
        if let Some(why) = &left_out {
            self.0.left_out.insert(cache.clone(), why.clone());
        }
        self.0.add(cache, findings.iter().filter_map(|finding| lacked(records, finding)));
        DriftFound { findings, left_out }
    }

    /// So many records of a repair were taken.
    pub(super) fn repaired(&mut self, cache: &CacheName, taken: u32) {
        self.0.repaired(cache, u64::from(taken));
    }

    /// The check is done.
    pub(super) fn end(&mut self, end: &DriftEnd, peer: &Peer, now: Timestamp) {
        let mut found = std::mem::take(&mut self.0);
        found.asked = end.ask;
        let mut here = peer.drift.here.lock().unwrap_or_else(PoisonError::into_inner);
        *here = found.done(&here, end.cache.as_ref(), now);
    }
}

impl Peer {
    /// Begins a check of both ways; tells its number.
    pub(super) fn check_drift(&self, cache: Option<CacheName>, repair: bool, store: &Store, now: Timestamp) -> u64 {
        let asked = self.drift.asked.fetch_add(1, Ordering::Relaxed) + 1;
        self.handle(SenderInput::CheckDrift(DriftOrder { asked, ask: 0, cache, repair }), store, now);
        self.changed.notify_one();
        asked
    }

    /// Both ways, for the operator.
    pub(super) fn drift(&self, view: &RelayView) -> LinkDrift {
        let (there, why_not) = self.with_sender(|sender| (side(sender.drift_report()), sender.drift_impossible()));
        let here = side(&self.drift.here.lock().unwrap_or_else(PoisonError::into_inner));
        let away = || format!("the link of {} to this relay does not stream", self.site);
        let why_not_here = why_not.clone().or_else(|| (!view.incoming(self.site)).then(away));
        let asked = self.drift.asked.load(Ordering::Relaxed);
        LinkDrift { peer: self.site, asked, why_not, why_not_here, there, here }
    }

    /// Both ways, in numbers.
    pub(super) fn drift_summary(&self) -> DriftSummary {
        let [there, here] = self.drift_remaining();
        self.with_sender(|sender| DriftSummary {
            checked: sender.drift_report().checked,
            why_not: sender.knows_no_drift(),
            there,
            here,
        })
    }

    fn drift_remaining(&self) -> [Vec<(CacheName, u64)>; 2] {
        let here = self.drift.here.lock().unwrap_or_else(PoisonError::into_inner).remaining().collect();
        [self.with_sender(|sender| sender.drift_report().remaining().collect()), here]
    }

    /// Logs what is lacked, where that has changed.
    pub(super) fn tell_drift(&self) {
        let remaining = self.drift_remaining();
        let mut told = self.drift.told.lock().unwrap_or_else(PoisonError::into_inner);
        for (side, (now, before)) in [format!("{} lacks", self.site), format!("lacked here and held at {}", self.site)]
            .iter()
            .zip(remaining.iter().zip(&*told))
        {
            for (cache, count) in now.iter().filter(|count| count.1 > 0 && !before.contains(count)) {
                tracing::error!(peer = %self.site, %cache, "drift: {side}: {count} records; `landbridge drift` lists them");
            }
            if before.iter().any(|(_, count)| *count > 0) && now.iter().all(|(_, count)| *count == 0) {
                tracing::info!(peer = %self.site, "drift: {side}: nothing any more");
            }
        }
        *told = remaining;
    }
}

fn side(report: &DriftReport) -> DriftSide {
    let found = report.caches.iter().map(|(cache, (found, repaired))| DriftCache {
        cache: cache.clone(),
        found: *found,
        repaired: *repaired,
        left_out: report.left_out.get(cache).cloned(),
    });
    let unlooked = report.left_out.iter().filter(|(cache, _)| !report.caches.contains_key(*cache));
    let left_out = unlooked.map(|(cache, why)| DriftCache {
        cache: cache.clone(),
        found: 0,
        repaired: 0,
        left_out: Some(why.clone()),
    });
    DriftSide {
        asked: report.asked,
        checked: report.checked,
        caches: found.chain(left_out).collect(),
        records: report.records.iter().map(record).collect(),
    }
}

fn record(lacked: &Lacked) -> DriftRecord {
    let kind = match lacked.kind {
        Kind::Live => "live",
        Kind::Tombstone => "removed",
        Kind::Mark => "expired",
        Kind::Clear => "cleared",
    };
    let holds = match lacked.held {
        None => "nothing",
        Some(held) if held == lacked.version => "other",
        Some(_) => "older",
    };
    DriftRecord {
        cache: lacked.cache.clone(),
        key: lacked.key.clone(),
        kind: kind.into(),
        version: lacked.version.to_string(),
        holds: holds.into(),
        held: lacked.held.map(|held| held.to_string()),
    }
}
