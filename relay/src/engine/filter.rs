//! Which caches replicate with a peer: those by which both mean the same.

use std::collections::BTreeSet;

use landbridge_protocol::name::{CacheName, SiteName};

use super::{
    digest::{FNV_BASIS, digest_of, digest_with, fnv},
    peer::PeerReport,
    replica::{Replica, Replicate},
};

impl Replica {
    /// Whether records of the cache go over the link with this peer: both must mean the same by it.
    pub fn replicates(&self, cache: &CacheName, peer: &SiteName) -> bool {
        self.replicates_by(self.report(peer), cache)
    }

    pub(crate) fn replicates_by(&self, report: Option<&PeerReport>, cache: &CacheName) -> bool {
        let Some(report) = report else { return false };
        let theirs = report.caches.get(cache);
        match (self.config.caches.get(cache), theirs) {
            (Some(mine), _) if mine.replicate == Replicate::Local => false,
            (Some(mine), Some(theirs)) => digest_of(cache, mine).digest == theirs.digest,
            (None, Some(theirs)) => {
                theirs.digest == digest_with(cache, theirs.merge, Replicate::Async)
                    && self.index.cache(cache).is_none_or(|mine| mine.is_empty() || mine.merge() == theirs.merge)
            }
            (_, None) => true,
        }
    }

    /// Caches that both have and that don't replicate on this link as they are configured differently.
    pub fn mismatched(&self, peer: &SiteName) -> Vec<CacheName> {
        let Some(report) = self.report(peer) else { return Vec::new() };
        let differs = |name: &&CacheName| {
            let mine = self.config.caches.get(*name).map(|mine| digest_of(name, mine).digest);
            mine.is_some_and(|mine| mine != report.caches[*name].digest)
        };
        report.caches.keys().filter(differs).cloned().collect()
    }

    /// Hash of the caches that replicate on the link with this peer.
    pub fn digest_with(&self, peer: &SiteName) -> u64 {
        self.digest_by(self.report(peer))
    }

    pub(crate) fn digest_by(&self, report: Option<&PeerReport>) -> u64 {
        let theirs = report.into_iter().flat_map(|report| report.caches.keys());
        let all: BTreeSet<&CacheName> = self.config.caches.keys().chain(theirs).collect();
        all.into_iter()
            .filter(|cache| self.replicates_by(report, cache))
            .fold(FNV_BASIS, |hash, name| fnv(hash, name.as_str()))
    }
}
