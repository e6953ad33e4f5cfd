//! What a store is opened with.

use std::{path::PathBuf, time::Duration};

use landbridge_protocol::version::RunId;

use crate::engine::replica::ReplicaConfig;

/// Bounds of the writer. Each is counted when it is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Commands that wait for the writer; those who submit more wait for a place.
    pub max_inbox_commands: usize,
    /// Commands decided in one group.
    pub max_group_commands: usize,
    /// Bytes of one group, about.
    pub max_group_bytes: usize,
    /// Free bytes of the disk below which puts are refused.
    pub min_free_bytes: u64,
    /// A start that reads the log for longer says how far it is, and then again so often.
    pub progress_every: Duration,
    /// Conflicts that are kept; the oldest go first.
    pub max_conflicts: u64,
    /// Bytes of commits that one step of compaction reads at least, where there are as many.
    pub compaction_step_bytes: u64,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            max_inbox_commands: 8192,
            max_group_commands: 1024,
            max_group_bytes: 1024 * 1024,
            min_free_bytes: 256 * 1024 * 1024,
            progress_every: Duration::from_secs(1),
            max_conflicts: 1000,
            compaction_step_bytes: 512 * 1024,
        }
    }
}

/// What a store is opened with.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The directory.
    pub dir: PathBuf,
    /// Whether an acknowledged write survives a power cut, and not only a kill.
    pub fsync: bool,
    /// Whether a damaged log is set aside, for the peers to fill an empty one.
    pub recover: bool,
    /// The replica's.
    pub replica: ReplicaConfig,
    /// This run: drawn at random.
    pub run: RunId,
    /// Bounds.
    pub limits: StoreLimits,
}
