//! What a relay holds in memory about a peer; gone when it restarts.

use std::collections::{BTreeMap, BTreeSet};

use landbridge_protocol::{
    frame::peer::{CacheDigest, Place},
    name::{CacheName, SiteName},
    position::{Sequence, Through},
    time::Timestamp,
    vector::Vector,
    version::RunId,
};

use super::widening::Unspoken;

/// What a peer has said. Changed by commands only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PeerReport {
    /// Its run, from the last handshake; `None`: no handshake yet.
    pub run: Option<RunId>,
    /// Its reported V: what need not be sent to it.
    pub seen: Vector,
    /// The V that came in its own stream: what tombstones and the gate of reconcile go by.
    pub heard: Vector,
    /// Its G.
    pub dropped: Vector,
    /// Time up to which its stream was heard.
    pub past: Timestamp,
    /// Its wall clock less this relay's, in milliseconds.
    pub skew_ms: Option<i64>,
    /// When that was found to be too much, by this relay's wall clock; zero where it is not.
    pub(crate) skewed_at: Timestamp,
    /// Whether its own stream to this relay is open.
    pub incoming: bool,
    /// Whether this relay's stream to it is open.
    pub outgoing: bool,
    /// Whether its store is filling.
    pub filling: bool,
    /// How far it has acknowledged the log of this run.
    pub acknowledged: Through,
    /// The head of its log when its own stream was opened, where this relay lacks something of it.
    pub(crate) head: Sequence,
    /// Caches that it lacks of this relay's log; `None` before it has answered a handshake of this relay's link.
    pub(crate) lacks: Option<BTreeSet<CacheName>>,
    /// What its V did not speak for when this relay's stream to it began.
    pub(crate) unspoken: Unspoken,
    /// Once it has this relay's log through here, it lacks nothing.
    pub(crate) lacks_until: Sequence,
    /// Its caches, by its last handshake.
    pub(crate) caches: BTreeMap<CacheName, CacheDigest>,
    /// The runs that it knows to be present, by what it said in its stream.
    pub(crate) runs: BTreeMap<SiteName, RunId>,
    /// The same, when it last had nothing unsent.
    pub(crate) caught_up: Option<BTreeMap<SiteName, RunId>>,
    /// Its V when its own stream was opened.
    pub(crate) began: Vector,
    /// Whether this store has been filled from it since it was fresh.
    pub(crate) filled: bool,
    pub(crate) reconcile: Option<Incoming>,
    /// Its stream was opened before this relay was configured anew: nothing more is taken from that.
    pub(crate) stale: bool,
    /// The sites that it is configured with, by its last handshake; none where it does not say.
    pub(crate) sites: BTreeSet<SiteName>,
    /// The sites that it knows to be decommissioned.
    pub(crate) former_sites: BTreeSet<SiteName>,
}

/// A reconcile that is coming in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Incoming {
    pub(crate) run: RunId,
    pub(crate) seen: Vector,
    pub(crate) dropped: Vector,
    pub(crate) head: Sequence,
    /// What has been taken of it.
    pub(crate) place: Option<Place>,
}

impl PeerReport {
    /// The report when this relay is configured anew: what it has said stays, and both streams begin with a handshake.
    pub(crate) fn begun_anew(self) -> Self {
        let stale = self.incoming;
        Self { stale, acknowledged: Through::default(), lacks: None, caught_up: None, reconcile: None, ..self }
    }

    /// The peer's cursor of this relay's log, as far as both of its parts go.
    pub fn acknowledged_all(&self) -> Sequence {
        self.acknowledged.direct.min(self.acknowledged.complete)
    }

    /// Cut from this relay both ways.
    pub fn is_isolated(&self) -> bool {
        !self.incoming && !self.outgoing
    }
}

/// A round of asking the others before tombstones are forced out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Round {
    pub(crate) number: u64,
    pub(crate) isolated: SiteName,
    /// The G of afterwards.
    pub(crate) dropped: Vector,
    pub(crate) isolated_seen: Vector,
    pub(crate) agreed: BTreeSet<SiteName>,
    pub(crate) begun: Timestamp,
}
