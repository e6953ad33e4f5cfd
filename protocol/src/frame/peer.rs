//! Frames between the relays of two sites.
//!
//! A link is one direction: the dialling relay is the sender. It opens a bidirectional stream per handshake: [`Hello`],
//! answered by [`Welcome`] or a refusal; then [`Start`], [`Batch`]es and [`Heartbeat`]s, answered by [`Ack`]s and heartbeats. Where
//! the receiver must be reconciled first, [`ReconcileBegin`] and [`ReconcileChunk`]s, the last of which says so,
//! and a new handshake after.

use serde::{Deserialize, Serialize};

use super::{MAX_CACHES, MAX_LACKS, MAX_PRESENT_RUNS, MAX_SITES};
use crate::{
    bounded,
    name::{CacheName, SiteName},
    position::{Cursor, Sequence, Through},
    record::{Key, Merge, Record},
    time::Timestamp,
    vector::Vector,
    version::{Origin, RunId},
};

/// What decides the replication of one cache; limits don't.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CacheDigest {
    /// The cache.
    pub cache: CacheName,
    /// How its records are merged.
    pub merge: Merge,
    /// Hash of all that decides: merge, replicate, sites, atomic.
    pub digest: u64,
}

/// What either side says of itself in a handshake.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Introduction {
    /// The lowest protocol version that the relay speaks.
    pub version_min: u16,
    /// The highest.
    pub version_max: u16,
    /// The relay's site.
    pub site: SiteName,
    /// The relay's run.
    pub run: RunId,
    /// Its wall clock.
    pub wall: Timestamp,
    /// Its V.
    pub seen: Vector,
    /// Its G.
    pub dropped: Vector,
    /// The head of its log.
    pub head: Sequence,
    /// The present runs of the sites that it knows of, its own included.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_PRESENT_RUNS>")]
    pub runs: Vec<Origin>,
    /// Its caches.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_CACHES>")]
    pub caches: Vec<CacheDigest>,
    /// Whether its store is filling.
    pub filling: bool,
    /// Caches that replicate and that it does not have in whole from the log of that site, whatever its V says: what their
    /// sites meant by them differed before. An older relay says nothing of it.
    #[serde(default, deserialize_with = "bounded::vec::<_, _, MAX_LACKS>")]
    pub lacks: Vec<(SiteName, CacheName)>,
    /// The sites that it is configured with, its own included. An older relay says nothing of them.
    #[serde(default, deserialize_with = "bounded::vec::<_, _, MAX_SITES>")]
    pub sites: Vec<SiteName>,
    /// The sites that were decommissioned, as it is configured: it takes what others hold of them, and nothing from them.
    #[serde(default, deserialize_with = "bounded::vec::<_, _, MAX_SITES>")]
    pub former_sites: Vec<SiteName>,
    /// Name and version of the software, for the log.
    pub software: String,
}

/// The sender's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hello {
    /// Who dials.
    pub sender: Introduction,
    /// The site that it takes the receiver for.
    pub to: SiteName,
}

/// The receiver's answer to a [`Hello`]. The receiver is the authority for its cursor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version of the stream.
    pub version: u16,
    /// Who answers.
    pub receiver: Introduction,
    /// How far it has the sender's log; `None` if it has nothing of it.
    pub cursor: Option<Cursor>,
    /// Hash of the caches that replicated on the link when the cursor was read; a wider set means a transfer.
    pub cursor_digest: u64,
}

/// The sender's word on where it goes on: the cursor of the [`Welcome`] where that is good, zero where it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Start {
    /// The `after` of the first batch.
    pub after: Through,
}

/// Records after the receiver's cursor, and what they amount to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Batch {
    /// The receiver's cursor before.
    pub after: Through,
    /// And after.
    pub through: Through,
    /// Components of V that the receiver may join once it has applied the records; only those that it was not told.
    pub vector: Vector,
    /// Whether with this batch nothing is unsent to this receiver.
    pub caught_up: bool,
    /// Present runs of sites that changed since last said.
    pub runs: Vec<Origin>,
    /// The records, in log order.
    pub records: Vec<Record>,
}

/// The receiver has committed through here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ack {
    /// The cursor now.
    pub through: Through,
}

/// Sent by both sides, also when idle.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The wall clock of who sends it.
    pub wall: Timestamp,
    /// From the link's sender: all its own records of before this time are sent. Zero: not so.
    pub past: Timestamp,
    /// In an answer: the `wall` of the heartbeat that it answers; zero otherwise.
    pub echo: Timestamp,
    /// In an answer: components of the receiver's V, those that it has not said on this stream; empty otherwise. What they
    /// cover need not be passed on to it.
    pub seen: Vector,
}

/// A reconcile begins; V as taken before the scan, and G.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReconcileBegin {
    /// The sender's V before the scan.
    pub seen: Vector,
    /// The sender's G.
    pub dropped: Vector,
    /// The head of the sender's log before the scan: the receiver's cursor afterwards.
    pub head: Sequence,
}

/// All that the sender holds in a range of keys, by cache then key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReconcileChunk {
    /// The range begins after this place; `None`: at the beginning.
    pub after: Option<Place>,
    /// The range ends with this place; `None`: it goes to the end, and this is the last chunk.
    pub through: Option<Place>,
    /// The records.
    pub records: Vec<Record>,
}

/// A place in the order of reconcile: by cache name, then its clear record (`key` is `None`), then keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The cache.
    pub cache: CacheName,
    /// The key.
    pub key: Option<Key>,
}

/// A range of a reconcile is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReconcileAck {
    /// Whether it was the last one: handshakes come next, in both directions.
    pub done: bool,
}

/// Asks the peer to hold G durably before the asker drops, and what it has of the isolated site (forced drop).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DropProposal {
    /// Names the round.
    pub round: u64,
    /// The site that is left to reconcile.
    pub isolated: SiteName,
    /// The G that the asker will have.
    pub dropped: Vector,
    /// The asker's V for the isolated site's origins; the peer agrees only if its own is equal.
    pub isolated_seen: Vector,
}

/// The answer to a [`DropProposal`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DropAnswer {
    /// The round.
    pub round: u64,
    /// Whether the peer holds the new G durably, is cut from the isolated site too, and has the same V for its origins.
    pub agreed: bool,
    /// The peer's V for the isolated site's origins.
    pub isolated_seen: Vector,
}
