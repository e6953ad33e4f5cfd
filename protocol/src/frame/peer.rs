//! Frames between the relays of two sites.
//!
//! A link is one direction: the dialling relay is the sender. It opens a bidirectional stream per handshake: [`Hello`],
//! answered by [`Welcome`] or a refusal; then [`Start`], [`Batch`]es and [`Heartbeat`]s, answered by [`Ack`]s and heartbeats. Where
//! the receiver must be reconciled first, [`ReconcileBegin`] and [`ReconcileChunk`]s, the last of which says so,
//! and a new handshake after.
//!
//! The drift check goes over the same stream, between batches, one question at a time: whether the receiver holds what the
//! sender does. [`DriftSums`] of each cache are answered by [`DriftUnequal`], [`DriftPart`]s of the buckets that are unequal by
//! [`DriftFound`], and where it is to be mended, [`DriftRepair`]s by [`DriftRepaired`]. [`DriftEnd`] ends it. A receiver that wants
//! the other way to be checked says so by its own link, with [`DriftAsk`].

use serde::{Deserialize, Serialize};

use super::{DRIFT_BUCKETS, MAX_BATCH_RECORDS, MAX_CACHES, MAX_LACKS, MAX_PRESENT_RUNS, MAX_SITES};
use crate::{
    bounded,
    name::{CacheName, SiteName},
    position::{Cursor, Sequence, Through},
    record::{Key, Merge, Record},
    time::Timestamp,
    vector::Vector,
    version::{Origin, RunId, Version},
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

/// What the sender holds of a cache, in sums: see "Drift" in `WIRE.md`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DriftSums {
    /// The cache.
    pub cache: CacheName,
    /// One sum per bucket, [`DRIFT_BUCKETS`] of them.
    #[serde(deserialize_with = "bounded::vec::<_, _, DRIFT_BUCKETS>")]
    pub sums: Vec<u64>,
}

/// The answer to [`DriftSums`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DriftUnequal {
    /// The buckets in which the receiver's sums are others.
    #[serde(deserialize_with = "bounded::vec::<_, _, DRIFT_BUCKETS>")]
    pub buckets: Vec<u8>,
    /// Why drift of this cache can't be told at the moment, in words; then there are no buckets.
    pub left_out: Option<String>,
}

/// Some of what the sender holds of a cache: every record of the unequal buckets in a range of keys, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DriftPart {
    /// The cache.
    pub cache: CacheName,
    /// The sender's V at the moment at which it held these.
    pub seen: Vector,
    /// Of each record, the checksum of its value.
    pub checksums: Vec<u32>,
    /// The records, without value, context, token and node.
    pub records: Vec<Record>,
}

/// The answer to [`DriftPart`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DriftFound {
    /// What the receiver should hold and does not.
    #[serde(deserialize_with = "bounded::vec::<_, _, MAX_BATCH_RECORDS>")]
    pub findings: Vec<DriftFinding>,
    /// As in [`DriftUnequal`].
    pub left_out: Option<String>,
}

/// One record that the receiver should hold and does not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DriftFinding {
    /// Which of the part's records.
    pub at: u32,
    /// What the receiver holds of the key; the version of the record itself where the two differ in what they say.
    pub held: Option<Version>,
}

/// Records that the receiver was found to lack, for it to take where it still lacks them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DriftRepair {
    /// The cache.
    pub cache: CacheName,
    /// The sender's V at the moment at which it held these.
    pub seen: Vector,
    /// The records.
    pub records: Vec<Record>,
}

/// The answer to [`DriftRepair`], once what was taken is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DriftRepaired {
    /// How many were taken.
    pub taken: u32,
}

/// The check is done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DriftEnd {
    /// The [`DriftAsk`] for which it was done; 0: for none.
    pub ask: u64,
    /// The one cache that it was of; else all.
    pub cache: Option<CacheName>,
}

/// Asks the receiver to check, by its own link, whether the sender holds what the receiver does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DriftAsk {
    /// Comes back with [`DriftEnd`]; counts up.
    pub ask: u64,
    /// This cache only.
    pub cache: Option<CacheName>,
    /// Whether what is lacked is to be sent.
    pub repair: bool,
}
