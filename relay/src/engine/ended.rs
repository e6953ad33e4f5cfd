//! Closing of ended runs: an ended run can't advance V any more, so V is raised to what is held of it, once no site can
//! have more of it for this one.

use std::collections::BTreeSet;

use landbridge_protocol::{
    name::SiteName,
    version::{Origin, RunId},
};

use super::{group::Group, guards::Guard};

impl Group<'_> {
    /// Closes the runs of which every site, since it learnt of the newer run, has had nothing unsent for this relay.
    ///
    /// What such a site held of the run at that time is here, or outgrown; and from then on it takes nothing of the run
    /// but from sites for which the same is asked.
    pub(crate) fn close_ended(&mut self) {
        if !self.guards().hold(Guard::NoClose) {
            return;
        }
        let closable = |origin: &Origin| {
            !self.core.closed.contains(origin)
                && match self.present_run(&origin.site) {
                    Some(run) => run != origin.run && self.all_past(&origin.site, run),
                    None => self.all_left(&origin.site),
                }
        };
        let known: BTreeSet<Origin> =
            self.base.index.origins().iter().copied().chain(self.staged().map(|slot| slot.version.origin)).collect();
        let ended: Vec<Origin> = known.into_iter().filter(|origin| closable(origin)).collect();
        if ended.is_empty() {
            return;
        }
        let mut highest = self.base.index.highest();
        for slot in self.staged() {
            let clock = highest.entry(slot.version.origin).or_default();
            *clock = (*clock).max(slot.version.clock);
        }
        for origin in ended {
            if let Some(clock) = highest.get(&origin) {
                self.durable |= self.core.seen.raise(origin, *clock);
            }
            self.core.closed.insert(origin);
        }
    }

    fn present_run(&self, site: &SiteName) -> Option<RunId> {
        if *site == self.base.config.site { Some(self.core.run) } else { self.core.peers.get(site)?.run }
    }

    /// Whether the site was decommissioned, and every other one has had nothing unsent since it knew: none takes anything
    /// from that site any more, so that all of its runs have ended for them.
    fn all_left(&self, site: &SiteName) -> bool {
        self.base.config.former_sites.contains(site)
            && self.core.peers.values().all(|peer| peer.caught_up.is_some() && peer.former_sites.contains(site))
    }

    fn all_past(&self, site: &SiteName, run: RunId) -> bool {
        self.core.peers.values().all(|peer| {
            let known = peer.caught_up.as_ref().and_then(|runs| runs.get(site));
            known == Some(&run)
        })
    }
}
