//! What sessions need of the store.

use bytes::Bytes;
use landbridge_protocol::{
    error::Refusal,
    frame::node::{Entry, Page},
    name::CacheName,
    record::Key,
    version::{Clock, RunId},
};

use tokio::sync::oneshot;

use crate::engine::command::{Command, Decided};

/// A page of entries that is asked for.
#[derive(Debug, Clone)]
pub struct PageOf {
    /// The cache.
    pub cache: CacheName,
    /// Keys that begin so.
    pub prefix: Bytes,
    /// Keys after this one.
    pub after: Option<Key>,
    /// Entries at most.
    pub entries: usize,
    /// Bytes of keys and values after which the page is closed; one entry is in it whatever its size.
    pub bytes: usize,
    /// Whether with values.
    pub values: bool,
}

/// The store as a session sees it: committed state to read, and one door for writes. Behind it stands the real store, or one
/// in memory where sessions are tested by themselves.
pub trait Shelf: Send + Sync + 'static {
    /// The present run.
    fn run(&self) -> RunId;

    /// The relay's clock now.
    fn clock(&self) -> Clock;

    /// Why entries can be neither read nor written at the moment, where that is so.
    fn ready(&self) -> Result<(), Refusal>;

    /// The live entry of that key.
    fn entry(&self, cache: &CacheName, key: &Key) -> Result<Option<Entry>, Refusal>;

    /// Whether there is one; costs no reading of the log.
    fn contains(&self, cache: &CacheName, key: &Key) -> bool;

    /// Bytes of the live entry's value, 0 where there is none; costs no reading of the log.
    fn value_bytes(&self, cache: &CacheName, key: &Key) -> usize;

    /// How many live entries there are.
    fn size(&self, cache: &CacheName) -> u64;

    /// Live entries in the order of their keys.
    fn page(&self, of: PageOf) -> impl Future<Output = Result<Page, Refusal>> + Send;

    /// Through the writer's door: resolves when the command has its place in the queue, which waits while the queue is full.
    /// The receiver has the outcome when what the command changed is durable; it has none where the writer is gone.
    /// Commands are decided in the order of their places.
    fn place(&self, command: Command) -> impl Future<Output = oneshot::Receiver<Decided>> + Send;
}
