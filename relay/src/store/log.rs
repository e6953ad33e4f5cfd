//! The durable part behind a small interface: an ordered map from a commit's first sequence to its bytes.
//!
//! Two implementations: [`super::sled_log::SledLog`] for production, [`super::memory_log::MemoryLog`] for simulation
//! and tests. A third over a distributed engine would fit here. What they must keep:
//!
//! - Operations become durable in the order in which they were given: after a crash, a prefix of them is there.
//! - What was given before a [`Log::flush`] that returned is there after a crash.
//! - After an error nothing is promised, and the store takes no more writes.

use std::{fmt, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use landbridge_protocol::position::Sequence;

use super::error::OpenError;

/// Why the log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system said no.
    #[error("the log's storage failed: {0}")]
    Io(#[source] io::Error),
    /// The engine found its own files damaged.
    #[error("the log's storage is damaged: {0}")]
    Corrupt(String),
    /// A fault that a test asked for.
    #[error("a fault was asked for")]
    Asked,
}

/// The writing side: owned by the writer alone.
pub trait Log: Send {
    /// Adds a commit after all others.
    fn append(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError>;

    /// Replaces the commit under `first`.
    fn rewrite(&mut self, first: Sequence, bytes: Bytes) -> Result<(), LogError>;

    /// Takes out the commit under `first`.
    fn remove(&mut self, first: Sequence) -> Result<(), LogError>;

    /// Makes all that was given so far survive a kill of the process and, where `fsync` is on, a power cut.
    fn flush(&mut self) -> Result<(), LogError>;

    /// The end in order: like [`Log::flush`] with `fsync` on, and what the implementation notes for the next start.
    fn close(&mut self, head: Sequence) -> Result<(), LogError>;

    /// Keeps a note under a number, beside the commits. Durable with the next flush.
    fn keep_note(&mut self, number: u64, bytes: Bytes) -> Result<(), LogError>;

    /// Takes out a note.
    fn drop_note(&mut self, number: u64) -> Result<(), LogError>;

    /// At a start, before anything reads: lets go of storage far beyond the so many bytes that its commits have.
    fn tidy(self: Box<Self>, held_bytes: u64) -> Result<Box<dyn Log>, OpenError>;

    /// The reading side.
    fn reader(&self) -> Arc<dyn LogReader>;
}

/// The reading side: shared, and never waits for the writer. It sees appended commits before they are durable, so
/// those who read on behalf of others stop at the published head.
pub trait LogReader: Send + Sync {
    /// The commit with the greatest first sequence that is not after `at`.
    fn covering(&self, at: Sequence) -> Result<Option<(Sequence, Bytes)>, LogError>;

    /// The commit with the least first sequence that is after `after`.
    fn following(&self, after: Sequence) -> Result<Option<(Sequence, Bytes)>, LogError>;

    /// Bytes that the storage has left; `None` where it can't tell.
    fn free_bytes(&self) -> Option<u64>;

    /// The least and the greatest number of a note; `None` where there is none.
    fn notes(&self) -> Result<Option<(u64, u64)>, LogError>;

    /// The note under a number.
    fn read_note(&self, number: u64) -> Result<Option<Bytes>, LogError>;

    /// Where the log lies, for messages.
    fn place(&self) -> Place;
}

/// Where a log lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this directory.
    Directory(PathBuf),
    /// In memory.
    Memory,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Directory(path) => write!(f, "{}", path.display()),
            Place::Memory => f.write_str("memory"),
        }
    }
}
