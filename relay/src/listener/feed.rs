//! What a subscription needs of the store.

use landbridge_protocol::{
    error::Refusal,
    name::{CacheName, SiteName},
    position::Sequence,
    record::{Key, Merge, Record},
    time::Timestamp,
    vector::Vector,
    version::Origin,
};
use tokio::sync::watch;

use crate::engine::command::Published;

/// A part of the log.
#[derive(Debug, Clone)]
pub struct Read {
    /// It has been read through here.
    pub through: Sequence,
    /// What lies there; superseded records may be among it.
    pub records: Vec<(Sequence, Record)>,
}

/// Live entries in the order of their keys, as the records that made them.
#[derive(Debug, Clone)]
pub struct SnapshotPage {
    /// The records.
    pub records: Vec<Record>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// The store as a subscription sees it. All of it is committed state.
pub trait Feed: Send + Sync + 'static {
    /// The relay's present run.
    fn origin(&self) -> Origin;

    /// Whether a position in the log of that run is good in the present one: it is this run, or one of this store that ended
    /// in order with none between that did not.
    fn continues(&self, origin: &Origin) -> bool;

    /// Whether this store has that run, and the sequence lies within it. Not so: the store is another one, or has lost its end.
    fn had(&self, origin: &Origin, sequence: Sequence) -> bool;

    /// The run before the present one, and its last sequence.
    fn former(&self) -> Option<(Origin, Sequence)>;

    /// This relay's site.
    fn site(&self) -> SiteName {
        self.origin().site
    }

    /// Whether changes of the cache go between this site and that one.
    fn replicates(&self, cache: &CacheName, site: SiteName) -> bool;

    /// How records of the cache are merged.
    fn merge(&self, cache: &CacheName) -> Merge;

    /// Whether entries of the cache are messages, each to be told before it expires.
    fn has_messages(&self, cache: &CacheName) -> bool;

    /// G: what tombstones were let go. A token whose V does not cover it may have missed removals that can't be told.
    fn dropped(&self) -> Vector;

    /// The head of the log and V as of it.
    fn published(&self) -> watch::Receiver<Published>;

    /// The log after that position, about so many bytes of it.
    fn read(&self, after: Sequence, max_bytes: usize) -> impl Future<Output = Result<Read, Refusal>> + Send;

    /// Whether a record of the log is still what the relay holds of its key; else the head at the moment of this look: what
    /// superseded the record lies at or before it.
    fn holds(&self, sequence: Sequence, record: &Record) -> Result<(), Sequence>;

    /// Live entries of the cache with keys after that one.
    fn page(
        &self,
        cache: &CacheName,
        after: Option<&Key>,
        max_bytes: usize,
    ) -> impl Future<Output = Result<SnapshotPage, Refusal>> + Send;

    /// The time.
    fn now(&self) -> Timestamp;
}
