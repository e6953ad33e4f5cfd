//! Another configuration while the relay runs: caches, sites and numbers of replication change between two groups.
//!
//! Where what links go by has changed (the sites, or what a cache means to replication), both streams with every peer
//! begin with a handshake, as after a restart: what is under way in an older stream was chosen by what the former
//! configuration said, and is refused. What is held is not touched: a cache that is not declared any more is kept as one
//! that peers have and this relay has not, and what a decommissioned site wrote stays.

use std::collections::BTreeSet;

use landbridge_protocol::{
    error::{ErrorCode, Refusal},
    name::{CacheName, SiteName},
    record::Merge,
};

use super::{
    command::{Answer, Decided},
    group::Group,
    index::MAX_CACHES,
    replica::{CacheConfig, Replica, ReplicaConfig},
};

/// Sites, and former ones, that a configuration and a handshake may name.
pub const MAX_SITES: usize = landbridge_protocol::frame::MAX_SITES;

/// Why a configuration can't be taken over while the relay runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// What is held of the cache was decided by another merge.
    #[error(
        "cache {cache}: `merge` is {} for what is held, and would be {}: restart the relay with it, at all sites; until \
         then it does not replicate between those that differ",
        held.as_str(), wanted.as_str()
    )]
    Merge {
        /// The cache.
        cache: CacheName,
        /// The merge of what is held.
        held: Merge,
        /// The other one.
        wanted: Merge,
    },
    /// Something that is held was written at that site.
    #[error(
        "site {0} is neither in `peers` nor in `former_sites`, and what it wrote is held here: put it back under \
         `[[peers]]`, or name it in `former_sites` to decommission it"
    )]
    Stranger(SiteName),
    /// With those of which something is held.
    #[error("there would be {0} caches, those included of which something is held; there may be {MAX_CACHES}")]
    Caches(usize),
}

impl Replica {
    /// Why this configuration can't be taken over while the relay runs; nothing where it can.
    pub fn unfit(&self, config: &ReplicaConfig) -> Vec<Unfit> {
        let merges = config.caches.iter().filter_map(|(name, cache)| {
            let held = self.index.cache(name).filter(|held| !held.is_empty() && held.merge() != cache.merge)?;
            Some(Unfit::Merge { cache: name.clone(), held: held.merge(), wanted: cache.merge })
        });
        let mut unfit: Vec<Unfit> = merges.collect();
        unfit.extend(self.strangers(config).into_iter().map(Unfit::Stranger));
        let caches = self.index.caches_with(config.caches.keys());
        unfit.extend((caches > MAX_CACHES).then_some(Unfit::Caches(caches)));
        unfit
    }

    /// What a reload would refuse of the configuration that holds, as a start takes it all the same: sites whose writes are
    /// held here and that it does not know.
    pub fn strange(&self) -> Vec<Unfit> {
        self.strangers(&self.config).into_iter().map(Unfit::Stranger).collect()
    }

    /// Sites that wrote what is held here and that the configuration does not know.
    fn strangers(&self, config: &ReplicaConfig) -> BTreeSet<SiteName> {
        let claimed = self.core.seen.iter().chain(self.core.dropped.iter()).map(|(origin, _)| origin.site);
        let written = self.index.origins().iter().map(|origin| origin.site);
        let known: BTreeSet<SiteName> = config.sites().chain(config.former_sites.iter().copied()).collect();
        claimed.chain(written).filter(|site| !known.contains(site)).collect()
    }

    /// Counts the configurations since the start by which links had to begin anew.
    pub fn generation(&self) -> u64 {
        self.core.generation
    }

    /// What was decided on holds.
    pub(crate) fn take_over(&mut self, config: ReplicaConfig) {
        for (name, cache) in &config.caches {
            self.index.open(name, cache.merge);
        }
        self.config = config.into();
    }
}

impl Group<'_> {
    pub(crate) fn reconfigure(&mut self, config: ReplicaConfig) -> Decided {
        let unfit: Vec<String> = self.base.unfit(&config).iter().map(Unfit::to_string).collect();
        if !unfit.is_empty() {
            return Err(Refusal::new(ErrorCode::BadArgument, unfit.join("; ")));
        }
        if !is_same_to_links(&config, &self.base.config) {
            self.begin_links_anew(&config);
        }
        self.core.sweep_at = Some(self.now);
        self.config = Some(config);
        Ok(Answer::Done)
    }

    fn begin_links_anew(&mut self, config: &ReplicaConfig) {
        let core = &mut self.core;
        core.generation += 1;
        core.round = None;
        let mut reports = std::mem::take(&mut core.peers);
        let added: BTreeSet<SiteName> =
            config.peers.iter().filter(|site| !reports.contains_key(site)).copied().collect();
        let anew = |site: &SiteName| (*site, reports.remove(site).unwrap_or_default().begun_anew());
        core.peers = config.peers.iter().map(anew).collect();
        // A site that comes back may go on with a run that was closed when it left.
        core.closed.retain(|origin| !added.contains(&origin.site));
        core.cursors.retain(|peer, _| core.peers.contains_key(peer));
        core.lack_local(config);
        core.filled |= core.peers.is_empty();
        self.durable = true;
    }
}

/// Whether handshakes tell the same.
fn is_same_to_links(one: &ReplicaConfig, other: &ReplicaConfig) -> bool {
    let sites = |config: &ReplicaConfig| config.sites().collect::<BTreeSet<_>>();
    let means = |(name, cache): (&CacheName, &CacheConfig)| (name.clone(), cache.merge, cache.replicate);
    sites(one) == sites(other)
        && one.former_sites == other.former_sites
        && one.caches.iter().map(means).eq(other.caches.iter().map(means))
}
