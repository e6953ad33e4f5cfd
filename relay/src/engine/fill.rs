//! Whether the store may serve: a fresh one first takes in what its peers hold.

use landbridge_protocol::{name::SiteName, time::Timestamp};

use super::{
    group::Group,
    guards::Guard,
    replica::{Core, Replica, ReplicaConfig},
};

impl Replica {
    /// Whether the relay serves nodes.
    pub fn ready(&self, now: Timestamp) -> bool {
        is_ready(&self.config, &self.core, now)
    }

    /// When a fresh store serves if it reaches no peer until then.
    pub(crate) fn serves_at(&self) -> Option<Timestamp> {
        let alone = !self.core.filled && self.core.peers.values().all(|peer| peer.run.is_none());
        alone.then(|| self.core.fresh_since.after(self.config.fill_wait))
    }

    /// The peers that a filling store waits for; empty where it waits for any.
    pub fn awaited(&self, now: Timestamp) -> Vec<SiteName> {
        if self.ready(now) { Vec::new() } else { owed(&self.config, &self.core, now) }
    }
}

/// Peers that a fresh store must have been filled from: those that have dropped what its V does not cover and, where it
/// was wiped (a peer knows a former run of this site), those that have not said what they dropped. Whether it was may be
/// known to one peer only: so all are waited for at first.
fn owed(config: &ReplicaConfig, core: &Core, now: Timestamp) -> Vec<SiteName> {
    if !config.guards.hold(Guard::FillOne) {
        return Vec::new();
    }
    let former = |peer: &super::replica::PeerReport| {
        peer.seen.iter().any(|(origin, _)| origin.site == config.site && origin.run != core.run)
    };
    let early = now < core.fresh_since.after(config.fill_wait);
    let wait = early || core.peers.values().any(former);
    let owes = |peer: &super::replica::PeerReport| (wait && peer.run.is_none()) || !core.seen.includes(&peer.dropped);
    core.peers.iter().filter(|(_, peer)| owes(peer)).map(|(site, _)| *site).collect()
}

impl Group<'_> {
    /// What ends filling becomes durable, so that the store serves at once after a restart, and stays ready when a peer
    /// is reached only after `fill_wait`.
    pub(crate) fn latch_filled(&mut self) {
        if !self.core.filled && is_ready(&self.base.config, &self.core, self.now) {
            self.core.filled = true;
            self.durable = true;
        }
    }
}

pub(crate) fn is_ready(config: &ReplicaConfig, core: &Core, now: Timestamp) -> bool {
    if core.filled || core.peers.is_empty() {
        return true;
    }
    let reached = core.peers.values().any(|peer| peer.run.is_some());
    if !reached {
        return now >= core.fresh_since.after(config.fill_wait);
    }
    // Two fresh ones fill each other at once: neither has anything.
    let filled = |peer: &super::replica::PeerReport| peer.filled || (peer.filling && peer.seen.is_empty());
    core.peers.values().any(filled) && owed(config, core, now).is_empty()
}
