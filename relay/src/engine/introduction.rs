//! What this relay says of itself in a handshake.

use landbridge_protocol::{
    frame::{OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, peer::Introduction},
    time::Timestamp,
    version::Origin,
};

use super::{digest::digest_of, replica::Replica};

impl Replica {
    /// What this relay says of itself in a handshake.
    pub fn introduction(&self, now: Timestamp, software: &str) -> Introduction {
        Introduction {
            version_min: OLDEST_PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            site: self.config.site,
            run: self.core.run,
            wall: now,
            seen: self.core.seen.clone(),
            dropped: self.core.dropped.clone(),
            head: self.core.head,
            runs: self.present_runs(),
            caches: self.config.caches.iter().map(|(name, cache)| digest_of(name, cache)).collect(),
            filling: !self.core.filled,
            lacks: self.lacked(),
            sites: self.config.sites().collect(),
            former_sites: self.config.former_sites.iter().copied().collect(),
            software: software.to_owned(),
        }
    }

    /// The present runs of the sites, this one's included, as far as a handshake has told.
    pub fn present_runs(&self) -> Vec<Origin> {
        let peers = self.core.peers.iter().filter_map(|(site, report)| Some(Origin { site: *site, run: report.run? }));
        std::iter::once(self.origin()).chain(peers).collect()
    }
}
