//! What V does not speak for: caches that have not always replicated with a peer.
//!
//! V is one for all caches. While a cache does not replicate on a link, V advances past its records all the same; so once
//! it does, they would count as known. The receiver therefore keeps, with its cursor, which caches it lacks: those that
//! don't replicate now, and those that do by now, until it has read the peer's log from its beginning through the head
//! of the handshake. It says so in the handshake; the sender sends what it holds of them whatever the receiver's V covers,
//! and lets no tombstone of them go meanwhile; the receiver merges what comes, and has a reconcile decide nothing by V.
//!
//! With three sites V comes by others, too. So while a cache does not replicate with a peer, or is lacked of it, and does
//! with another site, V takes from the peer's vectors what they say of its own writes alone, and a reconcile from it is not
//! taken; who lacks some of a cache claims own writes alone; and to one who does, what its V covers of the writes of a site
//! whose log it lacks is sent all the same, and a tombstone among that is kept until it has it: it may have been sent what
//! the tombstone has ended.
//!
//! Nor does V speak for them to listeners: what is published with V says of which sites' logs caches are lacked.

use std::collections::BTreeSet;

use landbridge_protocol::{
    name::{CacheName, SiteName},
    position::Through,
    vector::Vector,
    version::Version,
};

use super::{
    command::Published,
    group::Group,
    guards::Guard,
    header::PeerCursor,
    peer::PeerReport,
    replica::{Core, Replica, ReplicaConfig, Replicate},
};

impl Replica {
    /// The committed state, for those who wait on the log.
    pub fn published(&self) -> Published {
        let lacks = |(peer, cursor): (&SiteName, &PeerCursor)| -> Vec<_> {
            cursor.lacks.iter().map(|cache| (*peer, cache.clone())).collect()
        };
        let lacks = self.core.cursors.iter().flat_map(lacks).collect();
        Published { head: self.core.head, seen: self.core.seen.clone(), lacks }
    }

    /// Caches that replicate and are not had in whole, and the site whose log has them.
    pub(crate) fn lacked(&self) -> Vec<(SiteName, CacheName)> {
        let of = |peer: &SiteName, cache: &CacheName| self.replicates(cache, peer).then(|| (*peer, cache.clone()));
        let all =
            self.core.cursors.iter().flat_map(|(peer, cursor)| cursor.lacks.iter().map(move |cache| (peer, cache)));
        all.filter_map(|(peer, cache)| of(peer, cache)).collect()
    }

    /// Caches that are known and don't replicate with the peer.
    fn apart(&self, report: Option<&PeerReport>) -> BTreeSet<CacheName> {
        let theirs = report.into_iter().flat_map(|report| report.caches.keys());
        let all = self.config.caches.keys().chain(theirs);
        all.filter(|cache| !self.replicates_by(report, cache)).cloned().collect()
    }
}

/// What a peer's V did not speak for in a handshake: caches that it lacked, by the site whose log has them, and that V.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Unspoken {
    caches: BTreeSet<(SiteName, CacheName)>,
    seen: Vector,
}

impl Unspoken {
    pub(crate) fn of(lacks: &[(SiteName, CacheName)], seen: &Vector) -> Self {
        let seen = if lacks.is_empty() { Vector::new() } else { seen.clone() };
        Self { caches: lacks.iter().cloned().collect(), seen }
    }

    /// Whether that V spoke for all.
    pub(crate) fn is_empty(&self) -> bool {
        self.caches.is_empty()
    }

    /// Whether that V covered this version in this cache and did not speak for it.
    pub(crate) fn has(&self, cache: &CacheName, version: &Version) -> bool {
        self.seen.covers(version) && self.caches.contains(&(version.origin.site, cache.clone()))
    }
}

impl Core {
    /// Where a configuration begins to hold: what stays in the site is not had from anybody, should it ever replicate. A
    /// cursor from before it stayed does not know of that, and is not gone on from.
    pub(crate) fn lack_local(&mut self, config: &ReplicaConfig) {
        let local = config.caches.iter().filter(|(_, cache)| cache.replicate == Replicate::Local);
        let local: BTreeSet<CacheName> = local.map(|(name, _)| name.clone()).collect();
        for cursor in self.cursors.values_mut().filter(|cursor| !cursor.lacks.is_superset(&local)) {
            cursor.lacks.extend(local.iter().cloned());
            cursor.digest = 0;
        }
    }
}

impl Group<'_> {
    /// Whether V does not speak for what the peer sends of this cache.
    pub(crate) fn lacks(&self, peer: &SiteName, cache: &CacheName) -> bool {
        self.core.cursors.get(peer).is_some_and(|cursor| cursor.lacks.contains(cache))
    }

    /// A cache that is lacked of the peer's log and replicates with another site: what the peer's V says of other sites' writes
    /// is not so for that cache. One that neither this relay nor the other site declares goes to nobody.
    pub(crate) fn unspoken_for(&self, peer: &SiteName) -> Option<&CacheName> {
        let elsewhere = |cache: &CacheName| {
            let mut others = self.core.peers.iter().filter(|(site, _)| *site != peer);
            let declared = self.base.declares(cache);
            others.any(|(_, report)| {
                (declared || report.caches.contains_key(cache)) && self.base.replicates_by(Some(report), cache)
            })
        };
        let lacks = &self.core.cursors.get(peer)?.lacks;
        lacks.iter().find(|cache| elsewhere(cache)).filter(|_| self.guards().hold(Guard::Hearsay))
    }

    /// What V is joined with of a peer's vector.
    pub(crate) fn believed(&self, peer: &SiteName, vector: &Vector) -> Vector {
        match self.unspoken_for(peer) {
            Some(_) => vector.iter().filter(|(origin, _)| origin.site == *peer).collect(),
            None => vector.clone(),
        }
    }

    /// What is lacked once the cursor of the peer's log is there.
    pub(crate) fn lacked_at(&self, peer: &SiteName, through: Through) -> BTreeSet<CacheName> {
        let report = self.core.peers.get(peer);
        let whole = report.is_some_and(|report| through.direct.min(through.complete) >= report.head);
        let mut lacks = self.base.apart(report);
        if let Some(before) = self.core.cursors.get(peer).filter(|_| !whole) {
            lacks.extend(before.lacks.iter().cloned());
        }
        lacks
    }
}
