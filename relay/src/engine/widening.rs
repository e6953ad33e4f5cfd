//! What V does not speak for: caches that have not always replicated with a peer.
//!
//! V is one for all caches. While a cache does not replicate on a link, V advances past its records all the same; so once
//! it does, they would count as known. The receiver therefore keeps, with its cursor, which caches it lacks: those that
//! don't replicate now, and those that do by now, until it has read the peer's log from its beginning through the head
//! of the handshake. It says so in the handshake; the sender sends what it holds of them whatever the receiver's V covers,
//! and lets no tombstone of them go meanwhile; the receiver merges what comes, and has a reconcile decide nothing by V.
//!
//! Nor does V speak for them to listeners: what is published with V says of which sites' logs caches are lacked.

use std::collections::BTreeSet;

use landbridge_protocol::{
    name::{CacheName, SiteName},
    position::Through,
};

use super::{
    command::Published,
    group::Group,
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
