//! How a peer's configuration differs from this relay's in what must be equal, in words: by its last handshake.

use std::collections::BTreeSet;

use landbridge_protocol::{
    frame::peer::CacheDigest,
    name::{CacheName, SiteName},
};

use super::{
    digest::digest_with,
    peer::PeerReport,
    replica::{CacheConfig, Replica, Replicate},
};

impl Replica {
    /// Each difference as a sentence; none where there is none, or where the peer has not yet said anything.
    pub fn differences(&self, peer: &SiteName) -> Vec<String> {
        let Some(report) = self.report(peer).filter(|report| report.run.is_some()) else { return Vec::new() };
        let mut found = self.differences_of_caches(peer, report);
        found.extend(self.differences_of_sites(peer, report));
        found
    }

    fn differences_of_caches(&self, peer: &SiteName, report: &PeerReport) -> Vec<String> {
        let all: BTreeSet<&CacheName> = self.config.caches.keys().chain(report.caches.keys()).collect();
        let between = |name: &CacheName| match (self.config.caches.get(name), report.caches.get(name)) {
            (Some(ours), Some(theirs)) => between(peer, name, ours, theirs),
            (Some(ours), None) if ours.replicate == Replicate::Async => {
                Some(format!("cache {name}: configured here, not at {peer}, which keeps its entries and serves none"))
            }
            (None, Some(theirs)) if replicate_of(theirs) == Some(Replicate::Async) => Some(format!(
                "cache {name}: configured at {peer}, not here, where its entries are kept and none is served"
            )),
            _ => None,
        };
        all.into_iter().filter_map(between).collect()
    }

    fn differences_of_sites(&self, peer: &SiteName, report: &PeerReport) -> Vec<String> {
        if report.sites.is_empty() {
            return Vec::new(); // an older relay, which does not say
        }
        let sites: BTreeSet<SiteName> = self.config.sites().collect();
        let stands = |site: &SiteName, sites: &BTreeSet<SiteName>, former: &BTreeSet<SiteName>| match (
            sites.contains(site),
            former.contains(site),
        ) {
            (true, _) => "configured",
            (false, true) => "decommissioned",
            (false, false) => "not configured",
        };
        let former = &self.config.former_sites;
        let all: BTreeSet<&SiteName> =
            [&sites, former, &report.sites, &report.former_sites].into_iter().flatten().collect();
        let between = |site: &&SiteName| {
            let (here, there) = (stands(site, &sites, former), stands(site, &report.sites, &report.former_sites));
            (here != there).then(|| format!("site {site}: {here} here, {there} at {peer}"))
        };
        all.iter().filter_map(between).collect()
    }
}

fn between(peer: &SiteName, name: &CacheName, ours: &CacheConfig, theirs: &CacheDigest) -> Option<String> {
    let apart = "it does not replicate between the two";
    if ours.merge != theirs.merge {
        let (here, there) = (ours.merge.as_str(), theirs.merge.as_str());
        return Some(format!("cache {name}: merge is {here} here, {there} at {peer}; {apart}"));
    }
    let there = replicate_of(theirs);
    (there != Some(ours.replicate)).then(|| {
        let there = there.map_or("something that this version does not know", Replicate::as_str);
        format!("cache {name}: replicate is {} here, {there} at {peer}; {apart}", ours.replicate.as_str())
    })
}

/// Where a peer's cache goes, by its digest; `None`: it means something that this version does not know.
fn replicate_of(theirs: &CacheDigest) -> Option<Replicate> {
    [Replicate::Async, Replicate::Local]
        .into_iter()
        .find(|replicate| digest_with(&theirs.cache, theirs.merge, *replicate) == theirs.digest)
}
